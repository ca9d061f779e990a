"""A GGUF read backwards: its configuration, its tensors in Hugging Face names, and forwards again to the same file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from conch_ollama.architectures.outputs import config_for_gguf, hugging_face_outputs, names_for_gguf, outputs
from conch_ollama.architectures.table import architecture_by_name, architecture_for
from conch_ollama.errors import BadGGUFError, UnconsumedTensorError, UnhandledConfigError
from conch_ollama.formats.tensors import TensorInfo
from tests.architectures.checkpoints import CHECKPOINTS

Plain = dict[str, Any]
Shapes = dict[str, tuple[int, ...]]


def converted(name: str) -> tuple[Plain, Shapes, dict[str, Any]]:
    """A checkpoint as a GGUF has it: plain metadata, shapes, and (source, order) of every output."""
    checkpoint = CHECKPOINTS[name]
    architecture = architecture_for(checkpoint.config)
    sources = {key: TensorInfo(key, "BF16", shape) for key, shape in checkpoint.shapes().items()}
    found = outputs(architecture, checkpoint.config, sources)
    metadata = architecture.metadata(checkpoint.config)
    plain = {"general.architecture": architecture.name}
    plain.update({key: as_stored(value.data) for key, value in metadata.items()})
    return plain, {output.name: output.shape for output in found}, {output.name: output for output in found}


def as_stored(data: Any) -> Any:
    return np.float32(data).item() if isinstance(data, float) else data


def backwards(plain: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return architecture_by_name(plain["general.architecture"], plain).config(plain, shapes)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_there_and_back_keeps_metadata_names_and_rows(name: str) -> None:
    plain, shapes, forwards = converted(name)
    config = backwards(plain, shapes)
    architecture = architecture_for(config)
    names = names_for_gguf(architecture, config, shapes)
    original = architecture_for(CHECKPOINTS[name].config).metadata(CHECKPOINTS[name].config)

    again = architecture.metadata(config)
    assert {key: value.type for key, value in again.items()} == {key: value.type for key, value in original.items()}
    for key, value in original.items():
        assert as_stored(again[key].data) == as_stored(value.data), key
    assert set(names) - {"rope_freqs.weight"} == set(CHECKPOINTS[name].shapes())
    sources = {key: TensorInfo(key, "F32", shapes[gguf]) for key, (gguf, _) in names.items()}
    for output in outputs(architecture, config, sources):
        gguf, back = names[str(output.source)]
        assert gguf == output.name
        rows = np.arange(output.shape[0])
        presented = rows if back is None else rows[back]
        assert (presented if output.order is None else presented[output.order]).tolist() == rows.tolist()
        assert (back is None) == (forwards[gguf].order is None)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_configuration_comes_back(name: str) -> None:
    plain, shapes, _ = converted(name)
    config = backwards(plain, shapes)
    original = CHECKPOINTS[name].config
    for key in ("hidden_size", "num_hidden_layers", "vocab_size", "max_position_embeddings", "rms_norm_eps"):
        assert config[key] == original[key]
    for key in ("tie_word_embeddings", "attention_bias", "mlp_bias"):
        assert config.get(key, False) == original.get(key, False)
    assert architecture_for(config).warnings(config) == []


def test_without_shapes_the_vocabulary_says_the_size_and_nothing_is_said_of_tying() -> None:
    plain, _, _ = converted("qwen2-tied")
    config = architecture_by_name("qwen2", plain).config({**plain, "tokenizer.ggml.tokens": ["a"] * 7})
    assert config["vocab_size"] == 7
    assert "tie_word_embeddings" not in config


@pytest.mark.parametrize("name", ["llama-3.1", "llama-3.2-transformers-5"])
def test_llama3s_rope_scaling_is_read_from_its_tensor(name: str) -> None:
    plain, shapes, forwards = converted(name)
    architecture = architecture_for(CHECKPOINTS[name].config)
    config = config_for_gguf(architecture, plain, shapes, lambda tensor: forwards[tensor].values)
    original = CHECKPOINTS[name].config
    wanted = {**(original.get("rope_scaling") or original["rope_parameters"])}
    wanted.pop("rope_theta", None)
    assert config["rope_scaling"] == wanted
    (generated,) = architecture.generated
    assert (generated.values(config) == forwards["rope_freqs.weight"].values).all()


def test_a_hugging_face_folder_holds_no_generated_tensor() -> None:
    plain, shapes, forwards = converted("llama-3.1")
    architecture = architecture_by_name("llama", plain)
    config = config_for_gguf(architecture, plain, shapes, lambda tensor: forwards[tensor].values)
    kept = hugging_face_outputs(architecture, config, forwards.values())
    assert {output.name for output in kept} == shapes.keys() - {"rope_freqs.weight"}


@pytest.mark.bad_input("GGUF with rope factors that config.json cannot say, to a Hugging Face folder")
def test_rope_factors_of_ones_own_have_no_configuration() -> None:
    plain, shapes, _ = converted("llama-3.1")
    architecture = architecture_by_name("llama", plain)
    config = config_for_gguf(architecture, plain, shapes, lambda _: np.linspace(1, 3, 32, dtype=np.float32))
    assert "rope_scaling" not in config
    names = names_for_gguf(architecture, config, shapes)
    found = outputs(
        architecture, config, {key: TensorInfo(key, "F32", shapes[gguf]) for key, (gguf, _) in names.items()}
    )
    assert [output.source for output in found if output.generated] == ["rope_freqs.weight"]
    with pytest.raises(UnhandledConfigError) as caught:
        hugging_face_outputs(architecture, config, found)
    assert caught.value.code == "unhandled-config"
    assert "rope_freqs.weight" in caught.value.message


def test_token_ids_come_along() -> None:
    plain, shapes, _ = converted("qwen3")
    config = backwards({**plain, "tokenizer.ggml.eos_token_id": 151645, "tokenizer.ggml.bos_token_id": 0}, shapes)
    assert (config["bos_token_id"], config["eos_token_id"]) == (0, 151645)


def test_keys_that_older_files_lack_have_their_defaults() -> None:
    plain, shapes, _ = converted("llama-2")
    optional = ("key_length", "value_length", "head_count_kv", "freq_base", "dimension_count", "vocab_size")
    older = {key: value for key, value in plain.items() if not key.endswith(optional)}
    config = backwards(older, shapes)
    architecture = architecture_for(config)
    assert architecture.metadata(config) == architecture_for(CHECKPOINTS["llama-2"].config).metadata(
        CHECKPOINTS["llama-2"].config
    )


@pytest.mark.bad_input("GGUF without a required key")
def test_a_missing_key_is_named() -> None:
    plain, shapes, _ = converted("qwen3")
    del plain["qwen3.block_count"]
    with pytest.raises(BadGGUFError) as caught:
        backwards(plain, shapes)
    assert caught.value.code == "bad-gguf"
    assert "`qwen3.block_count`" in caught.value.message


@pytest.mark.bad_input("GGUF with a key of a wrong type")
def test_a_wrong_type_is_named() -> None:
    plain, shapes, _ = converted("qwen3")
    with pytest.raises(BadGGUFError) as caught:
        backwards({**plain, "qwen3.embedding_length": "32"}, shapes)
    assert "`qwen3.embedding_length`" in caught.value.message
    assert "'32'" in caught.value.message


@pytest.mark.bad_input("GGUF of a mixture of experts, or with other sizes in each layer")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("llama.expert_count", 8),
        ("llama.attention.head_count_kv", [2, 4]),
        ("llama.rope.dimension_count", 4),
        ("llama.attention.value_length", 4),
    ],
)
def test_what_is_not_handled_is_named(key: str, value: Any) -> None:
    plain, shapes, _ = converted("llama-2")
    with pytest.raises(UnhandledConfigError) as caught:
        backwards({**plain, key: value}, shapes)
    assert caught.value.code == "unhandled-config"
    assert f"`{key}`" in caught.value.message


@pytest.mark.bad_input("GGUF with tensors that its architecture does not have")
def test_foreign_tensors_are_named() -> None:
    plain, shapes, _ = converted("qwen2-tied")
    config = backwards(plain, shapes)
    with pytest.raises(UnconsumedTensorError) as caught:
        names_for_gguf(architecture_for(config), config, [*shapes, "blk.0.ffn_gate_exps.weight"])
    assert caught.value.code == "unconsumed-tensor"
    assert "blk.0.ffn_gate_exps.weight" in caught.value.message
