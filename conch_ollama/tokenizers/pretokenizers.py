"""Recognises a pre-tokenizer by what it does: the tokenizer's own normalizer and pre-tokenizer are run on probe texts
and their pieces compared with those of every row of the table. Names, hashes and class names play no part.

llama.cpp has no normalizer for byte-level BPE: NFC is a known gap (a warning), any other change of text is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from conch_ollama.errors import BadConfigError, UnknownPreTokenizerError
from conch_ollama.tokenizers.pretokenizer_table import GAPS, PRE_TOKENIZERS, PreTokenizer, known_names, row_of
from conch_ollama.tokenizers.tokenizer_files import TokenizerFiles

# Every text tells some rows apart; all are NFC. U+0085 is left out: llama.cpp's `\s` differs there from everybody's.
PROBES: tuple[str, ...] = (
    "Hello world, you're what I've been; they'll say it's I'm he'd don't. YOU'RE THEY'LL IT'S I'M HE'D DON'T We'Ve",
    "'s't're've'm'll'd 'S 'T rock'n'roll l'été türkiye'de o'clock 'told 'Round",
    "a'sit a'tap a'rex a'vet a'my a'llama a'dog a'SIT a'TAP a'REX a'VET a'MY a'LLAMA a'DOG a'Rex a'lLama a'Vet 1'd2",
    "1 12 123 1234 12345 123456 1234567 12345678 3.14 1,000,000 v2.0 a1b22c333d4444 ½ ² Ⅷ ٣٤٥ 一二三 １２３４",
    "a  b   c    d\t\te \t f\n\n g\r\n\r\nh \n i\n  j   \n\n\n   k     ",
    "   leading and trailing   ",
    "\n\n\t\tint main(void) {\n\treturn 0; // done\n}\n\nif (x!=y) { a[i]+=1; }",
    'x = foo.bar(1, \'two\', "three") -> #tag @user $5 100% a/b\\c ~`^|<>= ... !!! ??? -- ==== `````` """',
    "end.\nNext!\n\nMore?\r\nAnd (this);\n- one\n/ two",
    "我想在apple工作1314151天～你好，世界！《书》、「引用」……",
    "繁體中文：請問你是誰？ 　全形　空格",
    "こんにちは、カタカナとひらがな123。東京ﾊﾝｶｸ",
    "안녕하세요 세계! 한국어ㄱㄴㄷ 조사는",
    "ㄅㄆㄇ 注音 “quoted” ‘single’ — dash",
    "مرحبا بالعالم، كيف حالك؟ ۱۲۳ السَّلامُ",
    "สวัสดีชาวโลก ภาษาไทย กี่",
    "हिन्दी में नमस्ते दुनिया। বাংলা தமிழ்",
    "कान्हा x\u030cy\u030c q\u0303 m\u0304n\u0308 👩🏽\u200d🚀👨\u200d👩\u200d👧 🚀 😶\u200d🌫️ ✅🦙🦙 ❤️",
    "Привет МИР ПРИВЕТМир ΑΘΗΝΑ Ελλάδα ÉCOLE École camelCase XMLHttpRequest iPhone ALLCAPS Ǆ ǅ",
    "nbsp\u00a0here\u2003em\u3000wide\u2028line zero\u200bwidth soft\u00adhyphen",
    "<|im_start|>user\nhi<|im_end|> </s> <think> [INST] {{x}} __init__ https://a.b/c?d=e&f=1 /usr/bin/x\n/\n",
    "€100 £5 ©®™ ±×÷ °C → ⇒ ∑ √2 µm ﬁ \u00c5 \u03a9",
    "don’t l’eau ‘quoted’ ’s",
    "word \n\nword\t\nword \r\nword" + " " * 9 + "x" + " " * 17 + "\n" + " " * 5,
    "a;\n/b c!\n//d (e)\r\n/*f*/ g.\n\n/h i\rj k \r l\r\rm \r\n\rn?\ro  \r  p .\r/q",
    "½½ a½b ½! ²³$ x²+y² ⅧⅨⅩⅪ ①②③④⑤ ₂₃ ٣٤٥٦ 1½ 一1二 ④4",
    "中龰文鿰字 가가각 힣ㅎ ゟ゠ヿ 々〆 ｱ㐀㐁 豈",
    "a  12  b   3456    7 \t8\n9\n\n10  ٣٤  ５６",
    "Don\u02bct naïve façade coöperate ʼn ǆ Ωmega",
)

# NFC composes the first, and only NFC of all normalizers that are met leaves the second alone.
_DECOMPOSED, _COMPOSED = "e\u0301 u\u0308 \u1112\u1161\u11ab \u304b\u3099", "\u00e9 \u00fc \ud55c \u304c"
_SENSITIVE = "Ａ ﬁ ① ｶﾞ É Straße  two  spaces \t\n x"


@dataclass(frozen=True)
class Recognised:
    """The name to write into `tokenizer.ggml.pre`, its row (None for a name without one), and known gaps."""

    name: str
    row: PreTokenizer | None
    warnings: tuple[str, ...]
    gaps: frozenset[str]  # keys of GAPS


def recognise(files: TokenizerFiles, *, pre: str | None = None, has_bos: bool = False) -> Recognised:
    """Finds the row that splits as the tokenizer does; `pre` names one instead (then differences are warnings).

    Raises UnknownPreTokenizerError when nothing splits like it or `pre` is no name of llama.cpp's, BadConfigError when
    the tokenizers library refuses the pre-tokenizer.
    """
    ignore_merges = bool(files.model.get("ignore_merges"))
    probe = _load(files)
    warnings, gaps = _check_normalizer(files, probe, forced=pre is not None)
    pieces = _pieces(files, probe)
    if pre is not None:
        row = _named(pre)
        if row is not None and _table_pieces(row.patterns) != pieces:
            warnings.append(f"pre-tokenizer {pre!r} was asked for and splits otherwise than {files.path.name} does")
        return _result(pre, row, ignore_merges, warnings, gaps)
    rows = [row for row in PRE_TOKENIZERS if _table_pieces(row.patterns) == pieces]
    if not rows:
        raise UnknownPreTokenizerError(
            f"{files.path}: no pre-tokenizer of llama.cpp splits text as this one; {_nearest(pieces)}",
            hint=f"If you know which it is, name it: --pre NAME, one of {', '.join(known_names())}.",
        )
    row = min(rows, key=lambda row: (row.ignore_merges != ignore_merges, not (has_bos or not row.add_bos)))
    return _result(row.names[0], row, ignore_merges, warnings, gaps)


def _named(pre: str) -> PreTokenizer | None:
    if pre not in known_names():
        raise UnknownPreTokenizerError(
            f"{pre!r} is not a pre-tokenizer of llama.cpp", hint=f"--pre takes one of {', '.join(known_names())}."
        )
    return row_of(pre)


def _result(
    name: str, row: PreTokenizer | None, ignore_merges: bool, warnings: list[str], gaps: set[str]
) -> Recognised:
    if row is not None and row.gap:
        gaps.add(row.gap)
        warnings.append(f"pre-tokenizer {name!r}: {GAPS[row.gap]}")
    if row is not None and row.ignore_merges != ignore_merges:
        does, original = ("skips", "applies") if row.ignore_merges else ("applies", "skips")
        warnings.append(
            f"llama.cpp's pre-tokenizer {name!r} {does} merges for a word that is a token, the original {original} them"
        )
    return Recognised(name, row, tuple(warnings), frozenset(gaps))


def _load(files: TokenizerFiles) -> Any:
    """The tokenizer without its vocabulary: normalizer and pre-tokenizer only, which loads in no time."""
    return _tokenizer(files.tokenizer.get("normalizer"), files.tokenizer.get("pre_tokenizer"), str(files.path))


def _tokenizer(normalizer: Any, pre_tokenizer: Any, name: str) -> Any:
    from tokenizers import Tokenizer

    parts: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": None,
        "model": {"type": "BPE", "vocab": {}, "merges": []},
    }
    try:
        return Tokenizer.from_str(json.dumps(parts))
    except Exception as err:  # the library raises bare Exception
        raise BadConfigError(
            f"{name}: the tokenizers library refuses its normalizer or pre_tokenizer: {err}",
            hint="The file may be of a newer version: update the tokenizers package.",
        ) from err


def _check_normalizer(files: TokenizerFiles, probe: Any, *, forced: bool) -> tuple[list[str], set[str]]:
    normalizer = probe.normalizer
    if normalizer is None:
        return [], set()
    changed = next((text for text in (*PROBES, _SENSITIVE) if normalizer.normalize_str(text) != text), None)
    if changed is not None:
        message = f"{files.path}: the normalizer changes text ({_change(normalizer, changed)}); llama.cpp does not"
        if not forced:
            raise UnknownPreTokenizerError(
                message, hint="Only NFC is accepted. To go on all the same, name the pre-tokenizer: --pre NAME."
            )
        return [message], {"normalizer"}
    if normalizer.normalize_str(_DECOMPOSED) == _COMPOSED:
        return [GAPS["nfc"]], {"nfc"}
    return [], set()


def _change(normalizer: Any, text: str) -> str:
    word = next((word for word in text.split() if normalizer.normalize_str(word) != word), text)
    return f"{word!r} becomes {normalizer.normalize_str(word)!r}"


Pieces = tuple[tuple[str, ...], ...]


def _pieces(files: TokenizerFiles, probe: Any) -> Pieces:
    if probe.pre_tokenizer is None:
        raise UnknownPreTokenizerError(
            f"{files.path}: byte-level BPE without a pre_tokenizer: llama.cpp always splits text first",
            hint=f"--pre NAME names one of {', '.join(known_names())}.",
        )
    return _split(probe)


def _split(probe: Any) -> Pieces:
    pre_tokenizer = probe.pre_tokenizer
    return tuple(tuple(piece for piece, _ in pre_tokenizer.pre_tokenize_str(text)) for text in PROBES)


@cache
def _table_pieces(patterns: tuple[str, ...]) -> Pieces:
    return _split(_tokenizer(None, as_pre_tokenizer(patterns), "table of pre-tokenizers"))


def as_pre_tokenizer(patterns: Sequence[str]) -> Mapping[str, Any]:
    """The `pre_tokenizer` of a tokenizer.json that splits by these patterns and encodes bytes as GPT-2 does."""
    splits = [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        for pattern in patterns
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [*splits, byte_level]}


def _nearest(pieces: Pieces) -> str:
    """The row with most texts split alike, and the first text where it differs."""

    def alike(row: PreTokenizer) -> int:
        return sum(ours == theirs for ours, theirs in zip(_table_pieces(row.patterns), pieces, strict=True))

    row = max(PRE_TOKENIZERS, key=alike)
    theirs = _table_pieces(row.patterns)
    index = next(index for index, text in enumerate(pieces) if text != theirs[index])
    return f"the nearest, {row.names[0]!r}, differs on {PROBES[index][:40]!r} and {len(PROBES) - alike(row) - 1} more"
