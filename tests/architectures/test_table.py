"""Finding an architecture, by model_type and by GGUF name."""

from __future__ import annotations

import pytest

from conch_ollama.architectures.table import ARCHITECTURES, architecture_by_name, architecture_for
from conch_ollama.errors import BadConfigError, BadGGUFError, UnknownArchitectureError


def test_each_model_type_has_its_architecture() -> None:
    names = {model_type: architecture.name for model_type, architecture in ARCHITECTURES.items()}
    assert names == {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
    assert all(architecture_for({"model_type": model_type}).name == name for model_type, name in names.items())


def test_a_llama_gguf_is_read_as_llama_whoever_wrote_it() -> None:
    assert architecture_by_name("llama", {"general.type": "model"}) is ARCHITECTURES["llama"]
    assert architecture_by_name("qwen3", {}) is ARCHITECTURES["qwen3"]


@pytest.mark.bad_input("model_type that is not known")
def test_unknown_model_type_lists_the_known() -> None:
    with pytest.raises(UnknownArchitectureError) as caught:
        architecture_for({"model_type": "gemma3_text"})
    assert caught.value.code == "unknown-architecture"
    assert "'gemma3_text'" in caught.value.message
    assert "llama, mistral, qwen2, qwen3" in caught.value.message


@pytest.mark.bad_input("config.json without model_type")
def test_missing_model_type() -> None:
    with pytest.raises(BadConfigError) as caught:
        architecture_for({"hidden_size": 8})
    assert caught.value.code == "bad-config"
    assert "`model_type`" in caught.value.message


@pytest.mark.bad_input("GGUF of an unknown architecture")
def test_unknown_gguf_architecture_lists_the_known() -> None:
    with pytest.raises(UnknownArchitectureError) as caught:
        architecture_by_name("mistral3", {})
    assert caught.value.code == "unknown-architecture"
    assert "'mistral3'" in caught.value.message
    assert "llama, qwen2, qwen3" in caught.value.message


@pytest.mark.bad_input("GGUF that is an adapter, not a model")
def test_an_adapters_gguf_is_no_base() -> None:
    with pytest.raises(BadGGUFError) as caught:
        architecture_by_name("llama", {"general.type": "adapter"})
    assert caught.value.code == "bad-gguf"
    assert "'adapter'" in caught.value.message


@pytest.mark.bad_input("GGUF in several parts")
def test_one_part_of_several_is_no_base() -> None:
    with pytest.raises(BadGGUFError) as caught:
        architecture_by_name("llama", {"split.count": 3})
    assert caught.value.code == "bad-gguf"
    assert "3 parts" in caught.value.message


@pytest.mark.bad_input("GGUF without general.architecture")
def test_gguf_without_a_name() -> None:
    with pytest.raises(BadGGUFError) as caught:
        architecture_by_name(None, {})
    assert "`general.architecture`" in caught.value.message
