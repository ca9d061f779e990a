"""Tokens, types, padding, added tokens and merges."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from conch_ollama.errors import BadConfigError
from conch_ollama.tokenizers.original import load
from conch_ollama.tokenizers.token_list import TokenList, TokenType, read_merges, read_token_ids, read_token_list
from conch_ollama.tokenizers.tokenizer_files import read_tokenizer_files
from tests.tokenizers.folders import SPECIALS, VOCABULARY, added_token, tokenizer_json, write_folder

ROWS = VOCABULARY + 8


def token_list(folder: Path, source: Mapping[str, Any] | None = None, *, rows: int = ROWS, **files: Any) -> TokenList:
    return read_token_list(read_tokenizer_files(write_folder(folder, source, **files)), rows)


def test_rows_without_a_token_are_unused_padding(tmp_path: Path) -> None:
    listed = token_list(tmp_path)
    assert len(listed.tokens) == len(listed.types) == ROWS
    assert listed.tokens[VOCABULARY : VOCABULARY + 4] == (*SPECIALS, f"[PAD{VOCABULARY + 3}]")
    assert listed.types[VOCABULARY - 1 : VOCABULARY + 4] == (1, 3, 3, 3, 5)
    assert "[PAD" not in "".join(listed.ids)


def test_a_vocabulary_as_large_as_the_embedding_needs_no_padding(tmp_path: Path) -> None:
    assert TokenType.UNUSED not in token_list(tmp_path, rows=VOCABULARY + 3).types


@pytest.mark.parametrize(
    ("content", "special", "kind"),
    [
        ("<conch>", True, TokenType.CONTROL),
        ("<think>", False, TokenType.USER_DEFINED),
        ("海螺", False, TokenType.USER_DEFINED),
        ("<|fim_prefix|>", False, TokenType.CONTROL),
        ("<｜tool▁sep｜>", False, TokenType.CONTROL),
        ("<unused7>", False, TokenType.CONTROL),
        ("<pad>", False, TokenType.CONTROL),
        ("▁a é", False, TokenType.USER_DEFINED),
    ],
)
def test_type_of_an_added_token(tmp_path: Path, content: str, special: bool, kind: TokenType) -> None:
    source = tokenizer_json(added_tokens=[added_token(VOCABULARY, content, special=special)])
    listed = token_list(tmp_path, source, tokenizer_config={})
    assert (listed.tokens[VOCABULARY], listed.types[VOCABULARY]) == (content, kind)


def test_tokens_of_the_vocabulary_can_be_added_tokens_too(tmp_path: Path) -> None:
    source = tokenizer_json()
    text = next(text for text, index in source["model"]["vocab"].items() if index == 300)
    source["added_tokens"].insert(0, added_token(300, text, special=False))
    listed = token_list(tmp_path, source)
    assert listed.types[300] == TokenType.USER_DEFINED
    assert listed.ids["<|im_end|>"] == VOCABULARY + 2


@pytest.mark.parametrize("key", ["additional_special_tokens", "extra_special_tokens"])
@pytest.mark.parametrize(
    "value", [["<conch>"], [{"content": "<conch>", "special": True}], {"conch_token": "<conch>"}], ids=str
)
def test_extra_special_tokens_as_list_or_dict(tmp_path: Path, key: str, value: Any) -> None:
    source = tokenizer_json(specials=[*SPECIALS, "<conch>"])
    source["added_tokens"][-1]["special"] = False
    assert token_list(tmp_path / "a", source, tokenizer_config={}).types[VOCABULARY + 3] == TokenType.USER_DEFINED
    assert token_list(tmp_path / "b", source, tokenizer_config={key: value}).types[VOCABULARY + 3] == TokenType.CONTROL


def test_a_named_special_token_without_id_gets_the_next_as_in_transformers(tmp_path: Path) -> None:
    listed = token_list(tmp_path, tokenizer_config={"pad_token": "<pad-new>"})
    assert listed.ids["<pad-new>"] == VOCABULARY + 3
    assert listed.types[VOCABULARY + 3] == TokenType.CONTROL


def test_a_named_special_token_beyond_the_embedding_stays_out(tmp_path: Path) -> None:
    listed = token_list(tmp_path, rows=VOCABULARY + 3, tokenizer_config={"pad_token": "<pad-new>"})
    assert "<pad-new>" not in listed.ids


def test_added_tokens_decoder_adds_tokens_and_changes_flags(tmp_path: Path) -> None:
    decoder = {
        str(VOCABULARY + 2): {"content": "<|im_end|>", "special": True, "rstrip": True},
        str(VOCABULARY + 3): {"content": "<extra>", "special": False},
    }
    listed = token_list(tmp_path, tokenizer_config={"added_tokens_decoder": decoder})
    assert listed.added["<|im_end|>"].trims
    assert listed.types[VOCABULARY + 3] == TokenType.USER_DEFINED


def test_ids_are_those_of_the_library(tmp_path: Path) -> None:
    source = tokenizer_json()
    source["added_tokens"].append(added_token(VOCABULARY + 3, "海螺", special=False, normalized=True))
    folder = write_folder(tmp_path, source, tokenizer_config={"pad_token": "<pad-new>", "eos_token": "<|im_end|>"})
    ids, _ = read_token_ids(read_tokenizer_files(folder))
    assert ids == load(folder).get_vocab(with_added_tokens=True)


@pytest.mark.parametrize("form", ["pairs", "strings"])
def test_merges_as_pairs_and_as_strings(tmp_path: Path, form: str) -> None:
    source = tokenizer_json()
    pairs = source["model"]["merges"]
    assert isinstance(pairs[0], list)
    if form == "strings":
        source["model"]["merges"] = [" ".join(pair) for pair in pairs]
    files = read_tokenizer_files(write_folder(tmp_path, source))
    assert read_merges(files, source["model"]["vocab"]) == tuple(" ".join(pair) for pair in pairs)


def test_spaces_in_merges_are_written_as_llama_cpp_reads_them(tmp_path: Path) -> None:
    source = tokenizer_json()
    source["model"]["merges"] = [["a b", "c"]]
    files = read_tokenizer_files(write_folder(tmp_path, source))
    assert read_merges(files, {"a b": 0, "c": 1, "a bc": 2}) == ("aĠb c",)


@pytest.mark.bad_input("a vocabulary larger than the embedding")
def test_larger_than_the_embedding(tmp_path: Path) -> None:
    with pytest.raises(BadConfigError, match="larger than the embedding") as caught:
        token_list(tmp_path, rows=VOCABULARY + 1)
    assert caught.value.code == "bad-config"
    assert f"'<|im_start|>' has id {VOCABULARY + 1}" in caught.value.message
    assert f"{VOCABULARY + 1} rows (2 tokens too many)" in caught.value.message


@pytest.mark.bad_input("two tokens with one id")
def test_duplicate_ids(tmp_path: Path) -> None:
    source = tokenizer_json()
    source["model"]["vocab"]["twice"] = 5
    with pytest.raises(BadConfigError, match="'twice' have the same id 5"):
        token_list(tmp_path, source)


@pytest.mark.bad_input("added tokens whose ids leave a hole")
def test_added_token_after_a_hole(tmp_path: Path) -> None:
    source = tokenizer_json(added_tokens=[added_token(VOCABULARY + 4, "<conch>")])
    with pytest.raises(BadConfigError, match=f"'<conch>' says id {VOCABULARY + 4}.*gives it {VOCABULARY}$"):
        token_list(tmp_path, source, tokenizer_config={})


@pytest.mark.bad_input("an id that is no number")
@pytest.mark.parametrize("index", ["7", -1, 1.5, True, None])
def test_ids_that_are_no_row(tmp_path: Path, index: Any) -> None:
    source = tokenizer_json()
    source["model"]["vocab"]["odd"] = index
    with pytest.raises(BadConfigError, match="'odd' has the id"):
        token_list(tmp_path, source)


@pytest.mark.bad_input("a token that is called as padding would be")
def test_token_named_like_padding(tmp_path: Path) -> None:
    source = tokenizer_json(specials=[*SPECIALS, f"[PAD{VOCABULARY + 6}]"])
    with pytest.raises(BadConfigError, match=rf"\[PAD{VOCABULARY + 6}\]"):
        token_list(tmp_path, source)


@pytest.mark.bad_input("a merge of unknown tokens")
def test_merge_of_unknown_tokens(tmp_path: Path) -> None:
    source = tokenizer_json()
    source["model"]["merges"].insert(3, ["a", "海螺"])
    files = read_tokenizer_files(write_folder(tmp_path, source))
    with pytest.raises(BadConfigError, match=r"merge 3 .* names '海螺'"):
        read_merges(files, source["model"]["vocab"])


@pytest.mark.bad_input("a merge that is not two tokens")
@pytest.mark.parametrize("merge", ["a", "a b c", ["a"], ["a", ""], [1, 2], None], ids=repr)
def test_malformed_merges(tmp_path: Path, merge: Any) -> None:
    source = tokenizer_json()
    source["model"]["merges"] = [merge]
    files = read_tokenizer_files(write_folder(tmp_path, source))
    with pytest.raises(BadConfigError, match="merge 0 is"):
        read_merges(files, source["model"]["vocab"])


@pytest.mark.bad_input("tokenizer parts of a wrong type")
@pytest.mark.parametrize(
    ("source", "config", "says"),
    [
        ({"added_tokens": {"a": 1}}, {}, "`added_tokens` must be a list"),
        ({"added_tokens": [{"id": 1}]}, {}, "without `content` or `id`"),
        ({}, {"added_tokens_decoder": ["<conch>"]}, "`added_tokens_decoder` must be an object"),
        ({}, {"added_tokens_decoder": {"x": {"content": "<conch>"}}}, "`added_tokens_decoder` must be an object"),
    ],
)
def test_wrong_types(tmp_path: Path, source: dict[str, Any], config: dict[str, Any], says: str) -> None:
    with pytest.raises(BadConfigError, match=says):
        token_list(tmp_path, tokenizer_json(**source), tokenizer_config=config)


@pytest.mark.bad_input("a tokenizer without a vocabulary")
@pytest.mark.parametrize("vocab", [None, {}, [["a", 0.0]]])
def test_no_vocabulary(tmp_path: Path, vocab: Any) -> None:
    source = tokenizer_json()
    source["model"]["vocab"] = vocab
    with pytest.raises(BadConfigError, match=r"`model\.vocab` must be"):
        token_list(tmp_path, source)


@pytest.mark.bad_input("a tokenizer without merges")
def test_no_merges(tmp_path: Path) -> None:
    source = tokenizer_json()
    del source["model"]["merges"]
    files = read_tokenizer_files(write_folder(tmp_path, source))
    with pytest.raises(BadConfigError, match=r"`model\.merges` must be a list"):
        read_merges(files, {})
