r"""The pre-tokenizers of llama.cpp: for each, how it splits, as patterns of the `tokenizers` library.

Source: `llm_tokenizer_bpe` and `llama_vocab::impl::load` in llama.cpp's src/llama-vocab.cpp. The patterns are those of
the models' own tokenizers, which llama.cpp adapts to its regex engine; where the adaptation splits otherwise, `gap`
says so. Every pattern is a `Split` of behaviour "Isolated": what it matches and what lies between become pieces, which
the next pattern splits further. `tests/tokenizers/test_against_llama_cpp.py` proves each row against llama.cpp.

Rows with the same splits are told apart by what llama.cpp ties to the name; among names that do the same the oldest
stands first and is chosen, because older runtimes know it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Known differences between llama.cpp and an original tokenizer, in words.
GAPS: Mapping[str, str] = {
    "nfc": "the tokenizer normalises to NFC and llama.cpp does not: decomposed text gets other ids",
    "normalizer": "the tokenizer changes text before it splits it, llama.cpp does not",
    "capitals": "llama.cpp splits capitals and combining marks outside ASCII as if they were small letters and symbols",
    "spaces": "llama.cpp splits letters after no-break, wide and other non-ASCII spaces otherwise",
}


@dataclass(frozen=True)
class PreTokenizer:
    """One behaviour of llama.cpp: `names` (the first is written), patterns in order, and what the name brings along."""

    names: tuple[str, ...]
    patterns: tuple[str, ...]
    ignore_merges: bool = False  # a word that is a token is taken whole, without merges
    add_bos: bool = False  # what llama.cpp does without `tokenizer.ggml.add_bos_token`
    default_bos: bool = True  # without `bos_token_id` llama.cpp takes id 11 (False: none)
    gap: str | None = None  # where llama.cpp's adaptation differs from the patterns: a key of GAPS


_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_DIGIT = r"\p{N}"
_DIGITS_3 = r"\p{N}{1,3}"
_SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_NEWLINES_AND_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_CL100K = (
    rf"{_SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_NEWLINES_AND_SPACES}"
)
_QWEN2 = rf"{_SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_NEWLINES_AND_SPACES}"
_QWEN35 = (
    rf"{_SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|"
    rf"{_NEWLINES_AND_SPACES}"
)
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*|\p{{N}}|"
    rf" ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_NEWLINES_AND_SPACES}"
)
_O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_SUFFIX}?|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_SUFFIX}?|"
    rf"\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_NEWLINES_AND_SPACES}"
)

_HAN_KANA = "[一-龥\u3040-ゟ゠-ヿ]+"
_HAN_HANGUL = "[一-龥ࠀ-一가-\ud7ff]+"
_DEEPSEEK_V3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"
    + _NEWLINES_AND_SPACES
)
# Escaped: letters that a normalising editor would change into others.
_DEEPSEEK_LLM_LETTERS = (
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1f7dᾀ"
    "-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+"
)
_BLOOM = " ?[^(\\s|.,!?…。，、।۔،)]+"

PRE_TOKENIZERS: tuple[PreTokenizer, ...] = (
    PreTokenizer(
        ("gpt-2", "mpt", "olmo", "jais", "phi-2", "gigachat", "trillion", "exaone4", "modern-bert", "granite-docling"),
        (_GPT2,),
    ),
    PreTokenizer(
        ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"),
        (_DIGIT, _GPT2),
    ),
    PreTokenizer(
        ("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"),
        (_CL100K,),
        ignore_merges=True,
        add_bos=True,
    ),
    PreTokenizer(("glm4", "glm5"), (_CL100K,), ignore_merges=True, default_bos=False),
    PreTokenizer(("dbrx", "smaug-bpe"), (_CL100K,)),
    PreTokenizer(("chatglm-bpe",), (_CL100K,), default_bos=False),
    PreTokenizer(
        (
            *("qwen2", "stablelm2", "deepseek-r1-qwen", "megrez", "hunyuan", "grok-2", "kormo", "f2llmv2"),
            *("bailingmoe", "bailingmoe2", "llada-moe", "solar-open"),
        ),
        (_QWEN2,),
    ),
    PreTokenizer(("qwen35",), (_QWEN35,)),
    PreTokenizer(
        ("deepseek-llm",),
        (
            r"[\r\n]",
            _DEEPSEEK_LLM_LETTERS,
            "\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+",
            r"\s+$",
            _HAN_HANGUL,
            r"\p{N}+",
        ),
        gap="spaces",
    ),
    PreTokenizer(("deepseek-coder",), (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _HAN_HANGUL, _DIGIT), gap="spaces"),
    PreTokenizer(("deepseek-v3", "hunyuan-dense", "joyai-llm"), (_DIGITS_3, _HAN_KANA, _DEEPSEEK_V3)),
    PreTokenizer(("falcon",), (r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, "[0-9][0-9][0-9]")),
    PreTokenizer(("poro-chat", "bloom", "gpt3-finnish"), (_BLOOM,)),
    PreTokenizer(("viking",), (_BLOOM, _DIGIT)),
    PreTokenizer(("tekken",), (_TEKKEN,), ignore_merges=True, add_bos=True, gap="capitals"),
    PreTokenizer(("gpt-4o", "llama4", "kanana2", "minimax-m2"), (_O200K,), gap="capitals"),
    PreTokenizer(
        ("seed-coder",),
        (rf"{_SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{_NEWLINES_AND_SPACES}",),
    ),
    PreTokenizer(
        ("jais-2",),
        (
            rf"{_SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|"
            r"\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|"
            r"\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}",
        ),
    ),
    PreTokenizer(
        ("exaone-moe",),
        (
            rf"{_SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+|\p{{N}}|"
            r" ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+",
        ),
    ),
    PreTokenizer(("minicpm5",), (_DIGITS_3, _CL100K.replace(r"\p{N}{1,3}", r"\p{N}+")), ignore_merges=True),
    PreTokenizer(
        ("ufakzeka",),
        (rf"[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_NEWLINES_AND_SPACES}",),
    ),
    PreTokenizer(("laguna",), (r"[^\n]+|[\n]+", _QWEN2)),
)

# Names that llama.cpp knows and whose splits are not described above: `--pre` takes them, nothing recognises them.
OTHER_NAMES: tuple[str, ...] = (
    "default",
    "afmoe",
    "a.x-4.0",
    "chameleon",
    "granite-embed-multi-97m",
    "jina-de",
    "jina-es",
    "jina-v1-en",
    "jina-v2-code",
    "jina-v2-de",
    "jina-v2-es",
    "kimi-k2",
    "mellum",
    "roberta-bpe",
    "superbpe",
    "tiny_aya",
    "youtu",
)


def known_names() -> tuple[str, ...]:
    """Every name that `--pre` takes, sorted."""
    return tuple(sorted({name for row in PRE_TOKENIZERS for name in row.names} | set(OTHER_NAMES)))


def row_of(name: str) -> PreTokenizer | None:
    """The row of a name, None for one of OTHER_NAMES or an unknown name."""
    return next((row for row in PRE_TOKENIZERS if name in row.names), None)
