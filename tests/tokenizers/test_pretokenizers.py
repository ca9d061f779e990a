"""Recognition of pre-tokenizers by what they do."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from conch_ollama.errors import BadConfigError, UnknownPreTokenizerError
from conch_ollama.tokenizers.pretokenizer_table import GAPS, OTHER_NAMES, PRE_TOKENIZERS, known_names, row_of
from conch_ollama.tokenizers.pretokenizers import PROBES, Recognised, as_pre_tokenizer, recognise
from conch_ollama.tokenizers.tokenizer_files import read_tokenizer_files
from tests.tokenizers.folders import QWEN2, tokenizer_json, write_folder

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
NO_REGEX = {**BYTE_LEVEL, "use_regex": False}


def recognised(
    folder: Path, pre_tokenizer: Any, *, pre: str | None = None, has_bos: bool = True, **parts: Any
) -> Recognised:
    files = read_tokenizer_files(write_folder(folder, tokenizer_json(pre_tokenizer, **parts)))
    return recognise(files, pre=pre, has_bos=has_bos)


def split(pattern: str, behavior: str = "Isolated", *, invert: bool = False) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


def sequence(*parts: Any) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(parts)}


def splits_of(patterns: Sequence[str]) -> list[list[str]]:
    """The pieces of all probes, by the library itself; a pattern that it refuses gives none."""
    from tokenizers import Regex, pre_tokenizers

    try:
        splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    except Exception:  # the library raises bare Exception
        return []
    splitter = pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return [[piece for piece, _ in splitter.pre_tokenize_str(text)] for text in PROBES]


def test_probes_are_composed_so_that_nfc_leaves_them_alone() -> None:
    assert [text for text in PROBES if not unicodedata.is_normalized("NFC", text)] == []


def test_names_stand_once_in_the_table() -> None:
    names = [name for row in PRE_TOKENIZERS for name in row.names]
    assert len(set(names)) == len(names)
    assert not set(names) & set(OTHER_NAMES)
    assert {row.gap for row in PRE_TOKENIZERS} <= {*GAPS, None}


@pytest.mark.parametrize("row", PRE_TOKENIZERS, ids=lambda row: row.names[0])
def test_every_row_is_recognised_by_its_splits(tmp_path: Path, row: Any) -> None:
    found = recognised(
        tmp_path, as_pre_tokenizer(row.patterns), ignore_merges=row.ignore_merges, has_bos=row.default_bos
    )
    assert found.row is not None
    assert (found.row.patterns, found.row.ignore_merges) == (row.patterns, row.ignore_merges)
    if row.names[0] != "chatglm-bpe":  # does what dbrx does
        assert found.name == row.names[0]


@pytest.mark.parametrize(
    ("name", "pre_tokenizer"),
    [
        ("gpt-2", BYTE_LEVEL),
        ("smollm", sequence({"type": "Digits", "individual_digits": True}, BYTE_LEVEL)),
        ("qwen2", sequence(split(QWEN2), NO_REGEX)),
        ("qwen2", sequence(split(QWEN2, "Removed", invert=True), NO_REGEX)),
        ("qwen2", sequence(sequence(split(QWEN2)), {**NO_REGEX, "trim_offsets": False})),
        ("qwen2", sequence(split(QWEN2.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)", "'(?i:[stmd]|re|ve|ll)")), NO_REGEX)),
        (
            "deepseek-coder",
            sequence(
                split(r"[\r\n]"),
                split(r"\s?\p{L}+"),
                split(r"\s?\p{P}+"),
                split("[一-龥ࠀ-一가-\ud7ff]+"),
                {"type": "Digits", "individual_digits": True},
                NO_REGEX,
            ),
        ),
    ],
)
def test_the_same_behaviour_in_another_spelling(tmp_path: Path, name: str, pre_tokenizer: Any) -> None:
    assert recognised(tmp_path, pre_tokenizer).name == name


@pytest.mark.parametrize(
    ("ignore_merges", "has_bos", "name"),
    [(True, True, "llama-bpe"), (True, False, "glm4"), (False, True, "dbrx"), (False, False, "dbrx")],
)
def test_flags_choose_among_rows_with_the_same_splits(
    tmp_path: Path, ignore_merges: bool, has_bos: bool, name: str
) -> None:
    llama = row_of("llama-bpe")
    assert llama is not None
    found = recognised(tmp_path, as_pre_tokenizer(llama.patterns), ignore_merges=ignore_merges, has_bos=has_bos)
    assert (found.name, found.warnings) == (name, ())


def test_merges_that_llama_cpp_treats_otherwise_are_a_warning(tmp_path: Path) -> None:
    found = recognised(tmp_path, sequence(split(QWEN2), NO_REGEX), ignore_merges=True)
    assert found.name == "qwen2"
    assert "applies merges" in found.warnings[0]


def test_a_gap_of_the_row_is_a_warning(tmp_path: Path) -> None:
    row = row_of("tekken")
    assert row is not None
    found = recognised(tmp_path, as_pre_tokenizer(row.patterns), ignore_merges=True)
    assert (found.gaps, GAPS["capitals"] in found.warnings[0]) == ({"capitals"}, True)


@pytest.mark.parametrize("normalizer", [{"type": "NFC"}, {"type": "Sequence", "normalizers": [{"type": "NFC"}]}])
def test_nfc_is_a_known_gap(tmp_path: Path, normalizer: Any) -> None:
    found = recognised(tmp_path, BYTE_LEVEL, normalizer=normalizer)
    assert (found.name, found.gaps, found.warnings) == ("gpt-2", {"nfc"}, (GAPS["nfc"],))


def test_an_empty_normalizer_is_none(tmp_path: Path) -> None:
    assert recognised(tmp_path, BYTE_LEVEL, normalizer={"type": "Sequence", "normalizers": []}).gaps == set()


def test_a_named_one_that_fits(tmp_path: Path) -> None:
    found = recognised(tmp_path, BYTE_LEVEL, pre="olmo")
    assert (found.name, found.warnings) == ("olmo", ())


def test_a_named_one_that_splits_otherwise_is_a_warning(tmp_path: Path) -> None:
    found = recognised(tmp_path, BYTE_LEVEL, pre="qwen2")
    assert found.name == "qwen2"
    assert "splits otherwise" in found.warnings[0]


def test_a_named_one_that_is_not_described(tmp_path: Path) -> None:
    found = recognised(tmp_path, sequence(split("."), NO_REGEX), pre="superbpe")
    assert (found.name, found.row) == ("superbpe", None)


@pytest.mark.parametrize("part", ["'s|", "'t|", "'re|", "'ve|", "'m|", "'ll|", "?i:", "|'d"])
def test_every_contraction_and_its_case_matters(tmp_path: Path, part: str) -> None:
    with pytest.raises(UnknownPreTokenizerError):
        recognised(tmp_path, sequence(split(QWEN2.replace(part, "?:" if part == "?i:" else "")), NO_REGEX))


# Small changes to a pattern: (what, by what). One that a probe does not show would be taken for the row itself.
CHANGES = (
    *((r"[\r\n]*", by) for by in ("", r"[\n]*", r"[\r\n/]*")),
    *((r"\s*[\r\n]+", by) for by in (r"[\r\n]+", r"\s*\n+")),
    *((r"\p{N}{1,3}", by) for by in (r"\p{N}{1,2}", r"\p{N}{1,4}", r"\d{1,3}")),
    *((r"\p{N}|", by) for by in (r"\p{N}+|", "[0-9]|")),
    *((r"[^\r\n\p{L}\p{N}]?", by) for by in ("", " ?", r"[^\s\p{L}\p{N}]?")),
    *((part, "") for part in (r"\s*[\r\n]+|", r"|\s+(?!\S)", r"\p{S}", r"\p{M}", r"\p{Lm}", r"\p{Lt}", "゠-ヿ")),
    (r"\p{L}+", r"[\p{L}\p{M}]+"),
    (r"\p{L}", "[A-Za-z]"),
    (r"\p{P}", "[!-/]"),
    ("[A-Za-z]+", r"\p{L}+"),
    (" ?[^", "[^"),
    ("(?i:", "(?:"),
    ("一-龥", "一-鿿"),
    ("가-", "각-"),
)


@pytest.mark.parametrize("row", PRE_TOKENIZERS, ids=lambda row: row.names[0])
def test_small_changes_are_noticed(row: Any) -> None:
    unnoticed = []
    for index, pattern in enumerate(row.patterns):
        for what, by in CHANGES:
            if what in pattern:
                changed = [*row.patterns[:index], pattern.replace(what, by), *row.patterns[index + 1 :]]
                if splits_of(changed) == splits_of(row.patterns):
                    unnoticed.append((what, by))
    assert unnoticed == []


@pytest.mark.bad_input("an unknown pre-tokenizer")
def test_unknown_splits(tmp_path: Path) -> None:
    almost = QWEN2.replace("|'ll", "")
    with pytest.raises(UnknownPreTokenizerError) as caught:
        recognised(tmp_path, sequence(split(almost), NO_REGEX))
    assert caught.value.code == "unknown-pre-tokenizer"
    assert str(tmp_path / "tokenizer.json") in caught.value.message
    assert "nearest, 'qwen2', differs on" in caught.value.message
    assert "--pre NAME" in (caught.value.hint or "")
    assert all(name in (caught.value.hint or "") for name in known_names())


@pytest.mark.bad_input("a space put before every text")
def test_prefix_space(tmp_path: Path) -> None:
    with pytest.raises(UnknownPreTokenizerError):
        recognised(tmp_path, {**BYTE_LEVEL, "add_prefix_space": True})


@pytest.mark.bad_input("a pre-tokenizer name that llama.cpp does not know")
def test_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(UnknownPreTokenizerError, match="'qwen9' is not a pre-tokenizer") as caught:
        recognised(tmp_path, BYTE_LEVEL, pre="qwen9")
    assert "qwen2" in (caught.value.hint or "")


@pytest.mark.bad_input("byte-level BPE without a pre-tokenizer")
def test_no_pre_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(UnknownPreTokenizerError, match="without a pre_tokenizer"):
        recognised(tmp_path, None)


@pytest.mark.bad_input("a normalizer that changes text")
@pytest.mark.parametrize(
    ("normalizer", "change"),
    [
        ({"type": "Lowercase"}, "'Hello' becomes 'hello'"),
        ({"type": "NFKC"}, "becomes"),
        ({"type": "NFD"}, "becomes"),
        ({"type": "Replace", "pattern": {"String": "É"}, "content": "E"}, "becomes"),
        ({"type": "Prepend", "prepend": "▁"}, "'Hello' becomes '▁Hello'"),
    ],
)
def test_other_normalizers(tmp_path: Path, normalizer: Any, change: str) -> None:
    with pytest.raises(UnknownPreTokenizerError, match="the normalizer changes text") as caught:
        recognised(tmp_path, BYTE_LEVEL, normalizer=normalizer)
    assert change in caught.value.message
    forced = recognised(tmp_path, BYTE_LEVEL, normalizer=normalizer, pre="gpt-2")
    assert forced.gaps == {"normalizer"}
    assert "changes text" in forced.warnings[0]


@pytest.mark.bad_input("a pre-tokenizer that the library does not know")
def test_pre_tokenizer_of_another_version(tmp_path: Path) -> None:
    with pytest.raises(BadConfigError, match="refuses its normalizer or pre_tokenizer") as caught:
        recognised(tmp_path, {"type": "Telepathy"})
    assert caught.value.code == "bad-config"
    assert str(tmp_path / "tokenizer.json") in caught.value.message
