"""Which kind of tokenizer a folder holds, and files that are missing or damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conch_ollama.errors import BadConfigError, NotFoundError, UnknownTokenizerError
from conch_ollama.tokenizers.tokenizer_files import check_byte_level_bpe, components, read_tokenizer_files
from conch_ollama.tokenizers.vocabulary import read_vocabulary
from tests.tokenizers.folders import VOCABULARY, tokenizer_json, write_folder

SENTENCEPIECE_DECODER = {
    "type": "Sequence",
    "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}],
}


def test_the_kind_is_read_from_the_file_not_from_class_names(tmp_path: Path) -> None:
    config = {"tokenizer_class": "LlamaTokenizer", "eos_token": "<|im_end|>"}
    files = read_tokenizer_files(write_folder(tmp_path, tokenizer_config=config))
    check_byte_level_bpe(files)  # raises if not


def test_a_model_without_type_is_bpe_when_it_has_merges(tmp_path: Path) -> None:
    source = tokenizer_json()
    del source["model"]["type"]
    check_byte_level_bpe(read_tokenizer_files(write_folder(tmp_path, source)))


def test_config_and_generation_config_come_from_the_model_folder_if_the_tokenizer_s_has_none(tmp_path: Path) -> None:
    model = write_folder(tmp_path / "model", config={"eos_token_id": 7}, generation_config={"eos_token_id": [7, 8]})
    adapter = write_folder(tmp_path / "adapter", generation_config={"eos_token_id": 9})
    files = read_tokenizer_files(adapter, model)
    assert files.config == {"eos_token_id": 7}
    assert files.generation_config == {"eos_token_id": 9}


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    write_folder(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_tokenizer_files(tmp_path).tokenizer_config["eos_token"] == "<|im_end|>"


def test_components_opens_sequences_in_order() -> None:
    part = {
        "type": "Sequence",
        "pretokenizers": [{"type": "A"}, {"type": "Sequence", "pretokenizers": [{"type": "B"}]}],
    }
    assert [component["type"] for component in components(part)] == ["A", "B"]
    assert list(components(None)) == []


@pytest.mark.bad_input("a folder without any tokenizer")
def test_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no tokenizer\.json") as caught:
        read_vocabulary(tmp_path, vocab_size=10)
    assert caught.value.code == "not-found"
    assert str(tmp_path) in caught.value.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.bad_input("a SentencePiece model without tokenizer.json")
def test_only_a_sentencepiece_model(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"\n\x0e\n\x05<unk>")
    with pytest.raises(UnknownTokenizerError) as caught:
        read_vocabulary(tmp_path, vocab_size=10)
    assert caught.value.code == "unknown-tokenizer"
    assert "tokenizer.model" in caught.value.message
    assert "save_pretrained" in (caught.value.hint or "")


@pytest.mark.bad_input("slow tokenizer files only")
def test_only_slow_tokenizer_files(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UnknownTokenizerError, match=r"vocab\.json") as caught:
        read_vocabulary(tmp_path, vocab_size=10)
    assert caught.value.code == "unknown-tokenizer"


@pytest.mark.bad_input("a tokenizer.json that was cut off")
def test_broken_json(tmp_path: Path) -> None:
    path = write_folder(tmp_path) / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8")[:5000], encoding="utf-8")
    with pytest.raises(BadConfigError, match="not valid JSON") as caught:
        read_vocabulary(tmp_path, vocab_size=VOCABULARY + 8)
    assert caught.value.code == "bad-config"
    assert str(path) in caught.value.message


@pytest.mark.bad_input("a tokenizer_config.json that is no object")
def test_json_of_another_type(tmp_path: Path) -> None:
    write_folder(tmp_path, tokenizer_config=["eos_token"])
    with pytest.raises(BadConfigError, match="holds a list") as caught:
        read_vocabulary(tmp_path, vocab_size=VOCABULARY + 8)
    assert str(tmp_path / "tokenizer_config.json") in caught.value.message


@pytest.mark.bad_input("a tokenizer file that is not UTF-8")
def test_another_encoding(tmp_path: Path) -> None:
    write_folder(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_bytes(json.dumps({"eos_token": "海螺"}, ensure_ascii=False).encode("gbk"))
    with pytest.raises(BadConfigError, match="not valid JSON") as caught:
        read_vocabulary(tmp_path, vocab_size=VOCABULARY + 8)
    assert str(path) in caught.value.message


@pytest.mark.bad_input("a SentencePiece-like tokenizer.json")
@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"type": "BPE", "byte_fallback": True, "vocab": {"<unk>": 0}, "merges": []}, "SentencePiece-like BPE"),
        ({"type": "BPE", "vocab": {"a": 0}, "merges": []}, "not byte-level"),
        ({"type": "Unigram", "vocab": [["<unk>", 0.0]], "unk_id": 0}, "Unigram (SentencePiece)"),
        ({"type": "WordPiece", "vocab": {"[UNK]": 0}}, "WordPiece (BERT)"),
        ({"type": "WordLevel", "vocab": {"a": 0}}, "WordLevel"),
    ],
)
def test_other_kinds_are_named(tmp_path: Path, model: dict[str, object], says: str) -> None:
    source = {"added_tokens": [], "model": model, "pre_tokenizer": None, "decoder": SENTENCEPIECE_DECODER}
    write_folder(tmp_path, source)
    with pytest.raises(UnknownTokenizerError) as caught:
        read_vocabulary(tmp_path, vocab_size=10)
    assert caught.value.code == "unknown-tokenizer"
    assert says in caught.value.message
    assert str(tmp_path / "tokenizer.json") in caught.value.message


@pytest.mark.bad_input("BPE with suffixes of words")
def test_end_of_word_suffix(tmp_path: Path) -> None:
    source = tokenizer_json()
    source["model"]["end_of_word_suffix"] = "</w>"
    write_folder(tmp_path, source)
    with pytest.raises(UnknownTokenizerError, match="end_of_word_suffix"):
        read_vocabulary(tmp_path, vocab_size=VOCABULARY + 8)


@pytest.mark.bad_input("a tokenizer.json without a model")
def test_no_model(tmp_path: Path) -> None:
    write_folder(tmp_path, {"added_tokens": []})
    with pytest.raises(BadConfigError, match="no `model` object"):
        read_vocabulary(tmp_path, vocab_size=10)
