"""The folder to train on: special tokens from the GGUF, and the tokenizer as its authors published it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from conch_ollama.errors import NotFoundError, NotSupportedError, OutputExistsError
from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.formats.gguf_writer import GGUFWriter
from conch_ollama.formats.metadata import string, strings, u32
from conch_ollama.training.base import base_from_gguf, correct_folder, special_tokens

SPECIAL = {
    "bos_token": "<|im_start|>",
    "eos_token": "<|im_end|>",
    "unk_token": "<|endoftext|>",
    "pad_token": "<|im_end|>",
}
#: What transformers makes of SmolLM2's GGUF, but for the vocabulary.
BYTES = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324))]
CONVERTED: dict[str, Any] = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": {"type": "Sequence", "normalizers": []},
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True},
    "post_processor": None,
    "decoder": {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
    "model": {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": True,
        "ignore_merges": False,
        "vocab": {token: number for number, token in enumerate([*BYTES, "12"])},
        "merges": [["1", "2"]],
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tokenizer.json").write_text(json.dumps(CONVERTED), encoding="utf-8")
    config = {"max_position_embeddings": 8192, "_model_name_or_path": "/home/someone/x"}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<|im_start|>"}', encoding="utf-8")
    return tmp_path


def test_every_digit_becomes_a_token_of_its_own(folder: Path) -> None:
    before = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("a12").tokens
    correct_folder(folder, SPECIAL)
    after = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert before == ["a", "12"]
    assert after.encode("a12").tokens == ["a", "1", "2"]


@pytest.mark.parametrize("text", ["蟹堡王 18元", " two  spaces\n", "▁kept", "🐚"])
def test_text_comes_back_as_it_was(folder: Path, text: str) -> None:
    correct_folder(folder, SPECIAL)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_the_token_that_ends_a_turn_is_put_right_and_no_path_is_left(folder: Path) -> None:
    correct_folder(folder, SPECIAL)
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["eos_token"] == "<|im_end|>"
    assert config["model_max_length"] == 8192
    assert "/home" not in (folder / "config.json").read_text(encoding="utf-8")


def test_special_tokens_of_the_real_file(smollm2_gguf: Path) -> None:
    with GGUFFile(smollm2_gguf) as file:
        assert special_tokens(smollm2_gguf, file.metadata) == SPECIAL


@pytest.mark.bad_input("a GGUF to train on whose pre-tokenizer is not SmolLM's")
def test_another_pre_tokenizer(tmp_path: Path) -> None:
    path = tmp_path / "other.gguf"
    metadata = {
        "general.architecture": string("llama"),
        "tokenizer.ggml.pre": string("qwen2"),
        "tokenizer.ggml.tokens": strings(["a", "b"]),
        "tokenizer.ggml.eos_token_id": u32(1),
    }
    with GGUFWriter(path, metadata, []):
        pass
    with pytest.raises(NotSupportedError) as caught:
        base_from_gguf(path, tmp_path / "out")
    assert caught.value.code == "not-supported"
    assert "qwen2" in caught.value.message
    assert str(path) in caught.value.message
    assert not (tmp_path / "out").exists()


@pytest.mark.bad_input("a folder to train on written over another one")
def test_a_folder_is_not_overwritten(tmp_path: Path, smollm2_gguf: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_bytes(b"mine")
    with pytest.raises(OutputExistsError) as caught:
        base_from_gguf(smollm2_gguf, out)
    assert caught.value.code == "output-exists"
    assert str(out) in caught.value.message
    assert [path.name for path in out.iterdir()] == ["mine"]


@pytest.mark.bad_input("a folder to put right that has no tokenizer.json")
def test_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        correct_folder(tmp_path, SPECIAL)
    assert caught.value.code == "not-found"
    assert str(tmp_path / "tokenizer.json") in caught.value.message
    assert list(tmp_path.iterdir()) == []
