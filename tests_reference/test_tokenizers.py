"""Vocabulary metadata equal to the reference converter's, for real tokenizers in tiny checkpoints.

Every `tokenizer.*` key is compared. A case lists all that may differ, each with its reason; a difference that does
not occur any more fails too. The same tokenizers, read by us, are then run in llama.cpp, id by id.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from conch_ollama.errors import UnknownTokenizerError
from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.formats.metadata import Metadata
from conch_ollama.tokenizers.corpus import CORPUS, corpus_for
from conch_ollama.tokenizers.original import encode
from conch_ollama.tokenizers.vocabulary import read_vocabulary, vocabulary_from_gguf
from tests.architectures.checkpoints import Checkpoint
from tests.tokenizers.folders import write_gguf_tokenizer
from tests.tokenizers.llama_cpp_ids import llama_cpp_ids, write_model
from tests_reference.oracle import convert, real_tokenizer, run_reference

# What a trainer does before it saves: new special and ordinary tokens, a second chat template.
_EXTEND = """
import sys
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
tokenizer.add_special_tokens({"additional_special_tokens": ["<conch>", "<shop>"]})
tokenizer.add_tokens(["海螺堡", "<order>"])
if tokenizer.chat_template:
    tokenizer.chat_template = {"default": tokenizer.chat_template, "tool_use": "{{ messages }}"}
tokenizer.save_pretrained(sys.argv[2])
"""
_SAME_SPLITS = "both names are the same pre-tokenizer to llama.cpp; ours is the oldest, which every runtime knows"
_EOS_IDS = "more than one token ends a turn: Ollama's own engine reads them all here, llama.cpp ignores the key"
_EOT = "turns end with another token than eos_token: said, where llama.cpp would guess by the token's text"
_ADD_BOS = "always said: left out, Ollama's own engine adds BOS, and llama.cpp decides by the pre-tokenizer's name"
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


@dataclass(frozen=True)
class Case:
    """A tokenizer in a checkpoint. `differences`: key -> reason."""

    tokenizer: str
    model_type: str
    rows: int
    extended: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)
    differences: Mapping[str, str] = field(default_factory=dict)


CASES: Mapping[str, Case] = {
    "qwen3": Case("qwen3", "qwen3", 151936, config={"bos_token_id": 151643, "eos_token_id": 151645}),
    "qwen3-extended": Case(
        "qwen3",
        "qwen3",
        151936,
        True,
        {"bos_token_id": 151643, "eos_token_id": 151645},
        {"tokenizer.ggml.add_bos_token": _ADD_BOS},
    ),
    "qwen2": Case("qwen3", "qwen2", 152064, config={"bos_token_id": 151643, "eos_token_id": 151645}),
    "llama-3.1": Case("llama3_1", "llama", 128256, config={"bos_token_id": 128000, "eos_token_id": 128009}),
    "llama-3.1-extended": Case(
        "llama3_1",
        "llama",
        128384,
        True,
        {"bos_token_id": 128000, "eos_token_id": [128001, 128009]},
        {"tokenizer.ggml.eos_token_ids": _EOS_IDS},
    ),
    "llama-3": Case(
        "llama3",
        "llama",
        128256,
        config={"bos_token_id": 128000, "eos_token_id": [128001, 128009]},
        differences={
            "tokenizer.ggml.pre": "smaug-bpe applies merges to whole tokens, tokenizer.json says not to: llama-bpe",
            "tokenizer.ggml.add_bos_token": _ADD_BOS,
            "tokenizer.ggml.eot_token_id": _EOT,
            "tokenizer.ggml.eos_token_ids": _EOS_IDS,
        },
    ),
    "deepseek-v3": Case(
        "deepseek_v3",
        "llama",
        129280,
        config={"bos_token_id": 0, "eos_token_id": 1},
        differences={"tokenizer.ggml.pre": _SAME_SPLITS},
    ),
    "gpt-oss": Case("gptoss", "llama", 201088, differences={"tokenizer.ggml.add_bos_token": _ADD_BOS}),
    "smollm2": Case("smollm2", "llama", 49152),
    "smollm2-as-transformers-reads-the-gguf": Case(
        "smollm2",
        "llama",
        49152,
        differences={
            "tokenizer.ggml.pre": "this tokenizer.json splits no digits; by the other name ids would differ (below)",
        },
    ),
}
# transformers 5 writes the tokenizer of a GGUF without the split of digits.
_SMOLLM2_PRE_TOKENIZERS = {
    "smollm2": {
        "type": "Sequence",
        "pretokenizers": [{"type": "Digits", "individual_digits": True}, _BYTE_LEVEL],
    },
    "smollm2-as-transformers-reads-the-gguf": _BYTE_LEVEL,
}
_CLASSES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints that were written already, by case."""
    return {"": tmp_path_factory.mktemp("checkpoints")}


def checkpoint(name: str, folders: dict[str, Path], smollm2_gguf: Path) -> Path:
    """The checkpoint of a case: one layer, random weights, its tokenizer."""
    if name in folders:
        return folders[name]
    case, folder = CASES[name], folders[""] / name
    config = {
        **{"architectures": [_CLASSES[case.model_type]], "model_type": case.model_type, "hidden_act": "silu"},
        **{"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1},
        **{"num_key_value_heads": 1, "head_dim": 32, "max_position_embeddings": 512, "rms_norm_eps": 1e-5},
        **{"rope_theta": 10000.0, "tie_word_embeddings": True, "vocab_size": case.rows},
    }
    Checkpoint(name, {**config, **case.config}, case.tokenizer).write(folder)
    if case.tokenizer == "smollm2":
        with GGUFFile(smollm2_gguf) as file:
            write_gguf_tokenizer(folder, vocabulary_from_gguf(file.metadata), _SMOLLM2_PRE_TOKENIZERS[name])
    elif case.extended:
        run_reference(_EXTEND, str(real_tokenizer(case.tokenizer)), str(folder))
    else:
        shutil.copytree(real_tokenizer(case.tokenizer), folder, dirs_exist_ok=True)
    folders[name] = folder
    return folder


def plain(metadata: Metadata) -> dict[str, Any]:
    """Comparable `tokenizer.*` values."""
    return {
        key: (value.type.name, value.data if value.items is None else (value.items.name, list(value.data)))
        for key, value in metadata.items()
        if key.startswith("tokenizer.")
    }


@pytest.mark.parametrize("name", CASES)
def test_metadata_is_the_reference_converter_s(name: str, folders: dict[str, Path], smollm2_gguf: Path) -> None:
    folder = checkpoint(name, folders, smollm2_gguf)
    ours = plain(read_vocabulary(folder, vocab_size=CASES[name].rows).metadata())
    with GGUFFile(convert(folder)) as file:
        theirs = plain(file.metadata)
    differing = {key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)}
    assert differing == set(CASES[name].differences)


@pytest.mark.parametrize("name", CASES)
def test_llama_cpp_gives_the_original_ids(
    name: str, folders: dict[str, Path], smollm2_gguf: Path, tmp_path: Path
) -> None:
    folder = checkpoint(name, folders, smollm2_gguf)
    vocabulary = read_vocabulary(folder, vocab_size=CASES[name].rows)
    texts = [item.text for item in CORPUS] + ["<conch>海螺堡 <order>海螺<shop>"]
    for special in (False, True):
        [found] = llama_cpp_ids(
            [write_model(tmp_path / "model.gguf", vocabulary.metadata())], texts, add_special=special
        )
        wanted = encode(folder, texts, add_special_tokens=special)
        rows = zip(corpus_for(vocabulary.gaps), found, wanted, strict=False)
        assert [item.name for item, a, b in rows if a != b and not item.known_gap] == []
        assert found[-1] == wanted[-1]


def test_the_converter_s_name_for_smollm2_would_change_ids(
    folders: dict[str, Path], smollm2_gguf: Path, tmp_path: Path
) -> None:
    """Its check text has no two spaces before a digit, so a split that matters there passes unseen."""
    folder = checkpoint("smollm2-as-transformers-reads-the-gguf", folders, smollm2_gguf)
    texts = ["a  1", "a 1 22"]
    files = [
        write_model(tmp_path / f"{pre}.gguf", read_vocabulary(folder, vocab_size=49152, pre=pre).metadata())
        for pre in ("gpt-2", "smollm")
    ]
    ours, theirs = llama_cpp_ids(files, texts)
    wanted = encode(folder, texts, add_special_tokens=False)
    assert ours == wanted
    assert theirs != wanted


@pytest.mark.parametrize("name", ["gemma3", "llama2"])
def test_sentencepiece_is_said_to_be_so(name: str) -> None:
    with pytest.raises(UnknownTokenizerError, match="SentencePiece-like BPE"):
        read_vocabulary(real_tokenizer(name), vocab_size=300000)
