"""The original tokenizer as the truth, and the texts of the check."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from conch_ollama.errors import BadConfigError
from conch_ollama.tokenizers.corpus import CORPUS, corpus_for
from conch_ollama.tokenizers.original import encode
from tests.tokenizers.folders import SPECIALS, VOCABULARY, added_token, tokenizer_json, write_folder


def test_special_tokens_in_text_are_parsed(tmp_path: Path) -> None:
    ids = encode(write_folder(tmp_path), ["<|im_start|>a<|im_end|>"], add_special_tokens=False)
    assert (ids[0][0], ids[0][-1]) == (VOCABULARY + 1, VOCABULARY + 2)


def test_what_configuration_adds(tmp_path: Path) -> None:
    config = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "add_bos_token": True, "add_eos_token": True}
    folder = write_folder(tmp_path, tokenizer_config=config)
    plain, framed = (encode(folder, ["海螺"], add_special_tokens=flag)[0] for flag in (False, True))
    assert framed == [VOCABULARY + 1, *plain, VOCABULARY + 2]


def test_tokens_that_only_the_configuration_knows(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, tokenizer_config={"pad_token": "<new>"})
    assert encode(folder, ["<new>"], add_special_tokens=False) == [[VOCABULARY + len(SPECIALS)]]


@pytest.mark.bad_input("a tokenizer that the library refuses")
def test_refused_by_the_library(tmp_path: Path) -> None:
    source = tokenizer_json(added_tokens=[{**added_token(VOCABULARY, "<x>"), "lstrip": "yes"}])
    with pytest.raises(BadConfigError, match="refuses it") as caught:
        encode(write_folder(tmp_path, source, tokenizer_config={}), ["a"], add_special_tokens=False)
    assert str(tmp_path / "tokenizer.json") in caught.value.message


def test_texts_of_the_check() -> None:
    assert len({item.name for item in CORPUS}) == len(CORPUS)
    composed = {item.name for item in CORPUS if unicodedata.is_normalized("NFC", item.text)}
    assert {item.name for item in CORPUS if "nfc" in item.gaps} == {item.name for item in CORPUS} - composed


def test_gaps_apply_only_to_a_vocabulary_that_has_them() -> None:
    assert [item.name for item in corpus_for(frozenset()) if item.known_gap] == []
    assert {item.name for item in corpus_for(frozenset({"nfc"})) if item.known_gap} == {
        item.name for item in CORPUS if item.name.startswith("decomposed")
    }
    strike = next(item for item in corpus_for(frozenset({"text:</s>"})) if item.known_gap)
    assert (strike.name, strike.known_gap) == ("strike-through", "llama.cpp takes '</s>' for a special token")
