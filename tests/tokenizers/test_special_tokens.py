"""Ids of special tokens and add-flags, from every file that speaks of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conch_ollama.tokenizers.special_tokens import SpecialTokens, as_ids, read_special_tokens
from conch_ollama.tokenizers.token_list import read_token_ids
from conch_ollama.tokenizers.tokenizer_files import read_tokenizer_files
from tests.tokenizers.folders import VOCABULARY, tokenizer_json, write_folder

ROWS = VOCABULARY + 8
END_OF_TEXT, IM_START, IM_END = VOCABULARY, VOCABULARY + 1, VOCABULARY + 2


def special(folder: Path, post_processor: Any = None, *, rows: int = ROWS, **files: Any) -> SpecialTokens:
    files.setdefault("tokenizer_config", {})
    parsed = read_tokenizer_files(write_folder(folder, tokenizer_json(post_processor=post_processor), **files))
    return read_special_tokens(parsed, read_token_ids(parsed, rows)[0], rows)


def token(text: str) -> dict[str, Any]:
    return {"SpecialToken": {"id": text, "type_id": 0}}


A, B = {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}


def template(single: list[Any], pair: list[Any] | None = None) -> dict[str, Any]:
    return {"type": "TemplateProcessing", "single": single, "pair": pair or [A, B], "special_tokens": {}}


def test_by_text_as_string_or_object(tmp_path: Path) -> None:
    config = {
        "bos_token": "<|im_start|>",
        "eos_token": {"content": "<|im_end|>", "__type": "AddedToken"},
        "unk_token": None,
    }
    assert special(tmp_path, tokenizer_config=config).ids == {"bos": IM_START, "eos": IM_END}


def test_special_tokens_map_fills_what_tokenizer_config_lacks(tmp_path: Path) -> None:
    files = {
        "tokenizer_config": {"eos_token": "<|im_end|>"},
        "special_tokens_map": {"eos_token": "<|endoftext|>", "pad_token": {"content": "<|endoftext|>"}},
    }
    assert special(tmp_path, **files).ids == {"eos": IM_END, "pad": END_OF_TEXT}


def test_config_and_generation_config_come_last(tmp_path: Path) -> None:
    files = {
        "config": {"bos_token_id": IM_START, "eos_token_id": END_OF_TEXT, "pad_token_id": None},
        "generation_config": {"bos_token_id": 1, "pad_token_id": END_OF_TEXT},
        "tokenizer_config": {"eos_token": "<|im_end|>"},
    }
    assert special(tmp_path, **files).ids == {"bos": IM_START, "eos": IM_END, "pad": END_OF_TEXT}


def test_the_first_of_a_list_of_eos_ids_and_text_config(tmp_path: Path) -> None:
    assert special(tmp_path / "a", config={"eos_token_id": [IM_END, END_OF_TEXT]}).ids == {"eos": IM_END}
    assert special(tmp_path / "b", config={"text_config": {"eos_token_id": IM_END}}).ids == {"eos": IM_END}


def test_ids_outside_the_vocabulary_are_left_out_with_a_warning(tmp_path: Path) -> None:
    found = special(
        tmp_path,
        rows=VOCABULARY + 3,
        config={"bos_token_id": ROWS + 5},
        tokenizer_config={"pad_token": "<new>", "eos_token": "<|im_end|>"},
    )
    assert found.ids == {"eos": IM_END}
    assert [str(ROWS + 5) in found.warnings[0], "'<new>'" in found.warnings[1]] == [True, True]


@pytest.mark.parametrize(
    ("value", "ids"),
    [(3, (3,)), ([3, 4], (3, 4)), (None, ()), (-1, ()), ([None, 2, True], (2,)), ("3", ()), (True, ())],
)
def test_as_ids(value: Any, ids: tuple[int, ...]) -> None:
    assert as_ids(value) == ids


def test_no_post_processor_decides_nothing(tmp_path: Path) -> None:
    assert special(tmp_path, {"type": "ByteLevel"}).add == {}


def test_configured_flags_win_over_the_post_processor(tmp_path: Path) -> None:
    config = {"bos_token": "<|im_start|>", "add_bos_token": False, "add_eos_token": True}
    found = special(tmp_path, template([token("<|im_start|>"), A]), tokenizer_config=config)
    assert found.add == {"bos": False, "eos": True}


def test_bos_by_template(tmp_path: Path) -> None:
    """Llama 3.1: a second BOS in the pair form is no separator."""
    post_processor = {
        "type": "Sequence",
        "processors": [
            {"type": "ByteLevel"},
            template([token("<|im_start|>"), A], [token("<|im_start|>"), A, token("<|im_start|>"), B]),
        ],
    }
    config = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    assert special(tmp_path, post_processor, tokenizer_config=config).add == {"bos": True, "sep": False}


def test_bos_known_to_the_template_only(tmp_path: Path) -> None:
    found = special(tmp_path, template([token("<|im_start|>"), A]))
    assert (found.ids["bos"], found.add) == (IM_START, {"bos": True})


def test_eos_by_template_turns_the_named_eos_into_eot(tmp_path: Path) -> None:
    found = special(tmp_path, template([A, token("<|endoftext|>")]), tokenizer_config={"eos_token": "<|im_end|>"})
    assert found.ids == {"eos": END_OF_TEXT, "eot": IM_END}
    assert found.add == {"eos": True}


def test_separator_between_pairs(tmp_path: Path) -> None:
    pair = [token("<|im_start|>"), A, token("<|im_end|>"), B]
    found = special(
        tmp_path,
        template([token("<|im_start|>"), A], pair),
        tokenizer_config={"bos_token": "<|im_start|>", "sep_token": "<|im_end|>"},
    )
    assert found.add == {"bos": True, "sep": True}
    assert found.ids == {"bos": IM_START, "eos": IM_END, "sep": IM_END}


def test_roberta(tmp_path: Path) -> None:
    post_processor = {"type": "RobertaProcessing", "sep": ["<|im_end|>", IM_END], "cls": ["<|im_start|>", IM_START]}
    assert special(tmp_path, post_processor).add == {"bos": True, "eos": True, "sep": True}
