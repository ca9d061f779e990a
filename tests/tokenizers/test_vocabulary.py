"""The whole vocabulary: metadata of a folder, and a GGUF's carried over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conch_ollama.errors import BadConfigError, BadGGUFError
from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.formats.metadata import ValueType, array, boolean, string, strings, u32
from conch_ollama.tokenizers.pretokenizer_table import row_of
from conch_ollama.tokenizers.pretokenizers import as_pre_tokenizer
from conch_ollama.tokenizers.vocabulary import Vocabulary, read_vocabulary, vocabulary_from_gguf
from tests.tokenizers.folders import CHATML, VOCABULARY, added_token, tokenizer_json, write_folder
from tests.tokenizers.llama_cpp_ids import write_model

ROWS = VOCABULARY + 8
END_OF_TEXT, IM_START, IM_END = VOCABULARY, VOCABULARY + 1, VOCABULARY + 2


def read(folder: Path, source: dict[str, Any] | None = None, **files: Any) -> Vocabulary:
    return read_vocabulary(write_folder(folder, source, **files), vocab_size=ROWS)


def test_metadata_of_a_folder(tmp_path: Path) -> None:
    config = {
        "bos_token": "<|endoftext|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "add_bos_token": False,
        "chat_template": [{"name": "default", "template": CHATML}, {"name": "tool_use", "template": "{{ tools }}"}],
    }
    vocabulary = read(tmp_path, tokenizer_config=config)
    metadata = vocabulary.metadata()
    assert {key: value for key, value in metadata.items() if value.items is None} == {
        "tokenizer.ggml.model": string("gpt2"),
        "tokenizer.ggml.pre": string("qwen2"),
        "tokenizer.ggml.bos_token_id": u32(END_OF_TEXT),
        "tokenizer.ggml.eos_token_id": u32(IM_END),
        "tokenizer.ggml.padding_token_id": u32(END_OF_TEXT),
        "tokenizer.ggml.add_bos_token": boolean(False),
        "tokenizer.chat_template": string(CHATML),
        "tokenizer.chat_template.tool_use": string("{{ tools }}"),
    }
    assert metadata["tokenizer.chat_templates"] == strings(["tool_use"])
    assert metadata["tokenizer.ggml.tokens"] == strings(vocabulary.tokens)
    assert metadata["tokenizer.ggml.token_type"] == array(ValueType.INT32, vocabulary.types)
    assert metadata["tokenizer.ggml.merges"] == strings(vocabulary.merges)
    assert len(metadata) == 12
    assert (vocabulary.bos_text, vocabulary.eos_text) == ("<|endoftext|>", "<|im_end|>")
    assert (vocabulary.token_id("<|im_start|>"), vocabulary.token_id("<no>")) == (IM_START, None)
    assert (vocabulary.bos, vocabulary.eos, vocabulary.eot, vocabulary.unk, vocabulary.pad) == (
        *(END_OF_TEXT, IM_END),
        *(None, None, END_OF_TEXT),
    )
    assert vocabulary.stop_strings == ("<|im_end|>",)


def test_a_model_that_ends_turns_with_another_token_than_eos(tmp_path: Path) -> None:
    vocabulary = read(tmp_path, tokenizer_config={"eos_token": "<|endoftext|>", "chat_template": CHATML})
    assert (vocabulary.eos, vocabulary.eot) == (END_OF_TEXT, IM_END)
    metadata = vocabulary.metadata()
    assert metadata["tokenizer.ggml.eot_token_id"] == u32(IM_END)
    assert metadata["tokenizer.ggml.eos_token_ids"] == array(ValueType.INT32, (IM_END, END_OF_TEXT))


def test_stops_of_generation_config(tmp_path: Path) -> None:
    vocabulary = read(tmp_path, generation_config={"eos_token_id": [IM_END, END_OF_TEXT]})
    assert vocabulary.stop_ids == (IM_END, END_OF_TEXT)
    assert vocabulary.stop_strings == ("<|im_end|>", "<|endoftext|>")


def test_files_as_transformers_5_saves_them(tmp_path: Path) -> None:
    """No class that means anything, no added_tokens_decoder, template beside, extra tokens as a list."""
    config = {
        "backend": "tokenizers",
        "eos_token": "<|im_end|>",
        "extra_special_tokens": ["<conch>"],
        "is_local": True,
        "model_max_length": 1000000000000000019884624838656,
        "tokenizer_class": "TokenizersBackend",
    }
    source = tokenizer_json()
    source["added_tokens"].append(added_token(VOCABULARY + 3, "<conch>"))
    write_folder(tmp_path, source, tokenizer_config=config)
    (tmp_path / "chat_template.jinja").write_text(CHATML, encoding="utf-8")
    vocabulary = read_vocabulary(tmp_path, vocab_size=ROWS)
    assert vocabulary.types[VOCABULARY + 3] == 3
    assert (vocabulary.chat_template, vocabulary.eos, vocabulary.pre) == (CHATML, IM_END, "qwen2")


def test_tokenizer_json_alone(tmp_path: Path) -> None:
    vocabulary = read(tmp_path, tokenizer_config=None)
    assert (vocabulary.chat_template, vocabulary.eos, vocabulary.add) == (None, None, {"bos": False})
    assert any("no end of text is known" in warning for warning in vocabulary.warnings)


def test_an_adapter_s_tokenizer_takes_ids_from_the_model_s_configuration(tmp_path: Path) -> None:
    model = write_folder(tmp_path / "model", config={"bos_token_id": END_OF_TEXT})
    adapter = write_folder(tmp_path / "adapter")
    assert read_vocabulary(adapter, vocab_size=ROWS, model_folder=model).bos == END_OF_TEXT
    assert read_vocabulary(adapter, vocab_size=ROWS).bos is None


@pytest.mark.parametrize(
    ("config", "flag", "add_bos"),
    [
        ({"bos_token": "<|endoftext|>"}, False, False),
        ({"bos_token": "<|endoftext|>", "add_bos_token": True}, True, True),
        ({}, False, False),
        ({"add_bos_token": True}, False, False),
    ],
)
def test_bos_is_added_only_where_the_original_adds_it(
    tmp_path: Path, config: dict[str, Any], flag: bool | None, add_bos: bool
) -> None:
    """llama.cpp adds it by default for this pre-tokenizer, Ollama's own engine always: so it is always written down."""
    row = row_of("llama-bpe")
    assert row is not None
    source = tokenizer_json(as_pre_tokenizer(row.patterns), ignore_merges=True)
    vocabulary = read_vocabulary(write_folder(tmp_path, source, tokenizer_config=config), vocab_size=ROWS, pre="llama3")
    assert (vocabulary.add["bos"], vocabulary.add_bos) == (flag, add_bos)


def test_warnings_of_tokens(tmp_path: Path) -> None:
    source = tokenizer_json()
    source["model"]["dropout"] = 0.1
    source["model"]["vocab"]["</s>"] = VOCABULARY  # ordinary here
    source["added_tokens"] = [added_token(VOCABULARY + 1, "<|im_end|>", rstrip=True)]
    vocabulary = read(tmp_path, source)
    assert [word for word in ("dropout", "white space", "</s>") if word not in " ".join(vocabulary.warnings)] == []
    assert vocabulary.gaps == {"text:</s>"}


SENTENCEPIECE = {
    "general.architecture": string("llama"),
    "tokenizer.ggml.model": string("llama"),
    "tokenizer.ggml.pre": string("default"),
    "tokenizer.ggml.tokens": strings(["<unk>", "<s>", "</s>", "<0x0A>", "▁a", "<end_of_turn>"]),
    "tokenizer.ggml.scores": array(ValueType.FLOAT32, [0.0, 0.0, 0.0, 0.0, -1.0, -2.0]),
    "tokenizer.ggml.token_type": array(ValueType.INT32, [2, 3, 3, 6, 1, 3]),
    "tokenizer.ggml.bos_token_id": u32(1),
    "tokenizer.ggml.eos_token_id": u32(2),
    "tokenizer.ggml.add_space_prefix": boolean(False),
    "tokenizer.chat_template": string("{{ message['content'] + '<end_of_turn>' }}"),
    "tokenizer.chat_template.rag": string("r"),
    "tokenizer.chat_templates": strings(["rag"]),
}


def test_a_gguf_is_carried_over_as_it_is(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf", SENTENCEPIECE)
    with GGUFFile(path) as file:
        vocabulary = vocabulary_from_gguf(file.metadata)
        metadata = vocabulary.metadata()
        assert list(metadata) == [key for key in SENTENCEPIECE if key.startswith("tokenizer.")]
        assert all(metadata[key] is file.metadata[key] for key in metadata)
    assert (vocabulary.model, vocabulary.bos, vocabulary.eos, vocabulary.eot) == ("llama", 1, 2, None)
    assert (vocabulary.add_bos, vocabulary.bos_text) == (True, "<s>")
    assert vocabulary.chat_templates == {"rag": "r"}
    assert (vocabulary.stop_ids, vocabulary.stop_strings) == ((5, 2), ("<end_of_turn>", "</s>"))
    assert vocabulary.token_id("▁a") == 4


@pytest.mark.parametrize(
    ("model", "pre", "key", "add_bos"),
    [
        ("llama", "default", None, True),
        ("llama", "default", False, False),
        ("gpt2", "smollm", None, False),
        ("gpt2", "llama-bpe", None, True),
        ("gpt2", "tekken", False, False),
        ("gpt2", "never-heard-of", None, False),
        ("t5", "default", None, False),
    ],
)
def test_add_bos_as_llama_cpp_decides(model: str, pre: str, key: bool | None, add_bos: bool) -> None:
    metadata = {**SENTENCEPIECE, "tokenizer.ggml.model": string(model), "tokenizer.ggml.pre": string(pre)}
    if key is not None:
        metadata["tokenizer.ggml.add_bos_token"] = boolean(key)
    assert vocabulary_from_gguf(metadata).add_bos is add_bos


@pytest.mark.parametrize(
    ("model", "pre", "warns"),
    [("gpt2", None, True), ("gpt2", "default", True), ("gpt2", "qwen2", False), ("llama", None, False)],
)
def test_a_gguf_without_a_pre_tokenizer_is_a_warning(model: str, pre: str | None, warns: bool) -> None:
    metadata = {**SENTENCEPIECE, "tokenizer.ggml.model": string(model)}
    del metadata["tokenizer.ggml.pre"]
    if pre is not None:
        metadata["tokenizer.ggml.pre"] = string(pre)
    assert any("names no pre-tokenizer" in warning for warning in vocabulary_from_gguf(metadata).warnings) is warns


def test_a_folder_s_vocabulary_survives_the_file(tmp_path: Path) -> None:
    vocabulary = read(tmp_path / "folder")
    with GGUFFile(write_model(tmp_path / "model.gguf", vocabulary.metadata())) as file:
        again = vocabulary_from_gguf(file.metadata)
    assert list(again.tokens) == list(vocabulary.tokens)
    assert list(again.merges) == list(vocabulary.merges)
    assert (again.special, again.add, again.chat_template) == (
        vocabulary.special,
        vocabulary.add,
        vocabulary.chat_template,
    )
    assert (again.stop_ids, again.add_bos) == (vocabulary.stop_ids, vocabulary.add_bos)


@pytest.mark.bad_input("a GGUF without a vocabulary")
def test_no_vocabulary() -> None:
    with pytest.raises(BadGGUFError, match="holds no vocabulary") as caught:
        vocabulary_from_gguf({"general.architecture": string("llama")})
    assert caught.value.code == "bad-gguf"
    assert "tokenizer.ggml.tokens" in caught.value.message


@pytest.mark.bad_input("a GGUF with more tokens than types")
def test_types_do_not_fit_tokens() -> None:
    with pytest.raises(BadGGUFError, match="1 entries for 6 tokens"):
        vocabulary_from_gguf({**SENTENCEPIECE, "tokenizer.ggml.token_type": array(ValueType.INT32, [1])})


@pytest.mark.bad_input("vocabulary and merges of different tokenizers")
def test_merges_of_another_tokenizer(tmp_path: Path) -> None:
    source = tokenizer_json()
    source["model"]["merges"] = [["海", "螺"]]
    with pytest.raises(BadConfigError, match="names '海'"):
        read(tmp_path, source)
