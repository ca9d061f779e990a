"""What can't be an adapter GGUF is refused by the name of the tensor, and nothing is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conch_ollama.errors import ConchError
from conch_ollama.formats.safetensors import SafetensorsFile
from conch_ollama.workflows.adapter_export import export_adapter
from tests.parts.tiny import config, write_adapter, write_model, write_safetensors


def refused(tmp_path: Path, base: Path, adapter: Path, **options: Any) -> ConchError:
    with pytest.raises(ConchError) as caught:
        export_adapter(base, adapter, out=tmp_path / "out", **options)
    assert not list((tmp_path / "out").glob("*"))
    return caught.value


def with_tensors(adapter: Path, **added: np.ndarray) -> Path:
    """The adapter with tensors more, named from the model on, `__` for a dot."""
    with SafetensorsFile(adapter / "adapter_model.safetensors") as given:
        tensors = {name: given.read(name) for name in given.tensors}
    tensors |= {f"base_model.model.{name.replace('__', '.')}": value for name, value in added.items()}
    write_safetensors(adapter / "adapter_model.safetensors", tensors)
    return adapter


def must_be_merged(error: ConchError, tensor: str) -> None:
    assert error.code == "adapter-kind" and tensor in error.message
    assert "without --adapter-only" in (error.hint or "")


@pytest.mark.bad_input("an adapter GGUF of DoRA")
def test_dora(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    adapter = write_adapter(tmp_path / "adapter", config(), use_dora=True)
    magnitudes = {
        f"model__layers__{n}__{module}__lora_magnitude_vector__weight": np.ones(64, dtype=np.float32)
        for n in range(2)
        for module in ("self_attn__q_proj", "mlp__down_proj")
    }
    error = refused(tmp_path, base, with_tensors(adapter, **magnitudes))
    must_be_merged(error, "model.layers.0.self_attn.q_proj.lora_magnitude_vector")


@pytest.mark.bad_input("an adapter GGUF of a tensor that was trained as a whole")
def test_modules_to_save(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    adapter = write_adapter(tmp_path / "adapter", config(), modules_to_save=["lm_head"])
    head = np.zeros((320, 64), dtype=np.float32)
    must_be_merged(refused(tmp_path, base, with_tensors(adapter, lm_head__weight=head)), "lm_head.weight")


@pytest.mark.bad_input("an adapter GGUF of a resized or another embedding")
def test_another_embedding(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    adapter = write_adapter(tmp_path / "adapter", config())
    other = np.zeros((320, 64), dtype=np.float32)
    error = refused(tmp_path, base, with_tensors(adapter, model__embed_tokens__weight=other))
    must_be_merged(error, "model.embed_tokens.weight")


@pytest.mark.bad_input("an adapter GGUF of a trained bias")
@pytest.mark.parametrize("kind", ["lora_bias", "bias"])
def test_biases(tmp_path: Path, kind: str) -> None:
    base = write_model(tmp_path / "base", "qwen2")
    adapter = write_adapter(tmp_path / "adapter", config("qwen2"), lora_bias=kind == "lora_bias")
    end = "lora_B__bias" if kind == "lora_bias" else "base_layer__bias"
    bias = {f"model__layers__1__self_attn__q_proj__{end}": np.full(64, 3, dtype=np.float32)}
    must_be_merged(refused(tmp_path, base, with_tensors(adapter, **bias)), "layers.1.self_attn.q_proj")


@pytest.mark.bad_input("an adapter GGUF of trained token rows")
def test_token_rows(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    adapter = write_adapter(tmp_path / "adapter", config(), trainable_token_indices={"embed_tokens": [5, 9]})
    rows = {"model__embed_tokens__token_adapter__trainable_tokens_delta": np.zeros((2, 64), dtype=np.float32)}
    must_be_merged(refused(tmp_path, base, with_tensors(adapter, **rows)), "trainable_tokens_delta")


@pytest.mark.bad_input("an adapter GGUF over an output that is the embedding")
@pytest.mark.parametrize("end", ["embed_tokens", "lm_head"])
def test_tied_ends(tmp_path: Path, end: str) -> None:
    base = write_model(tmp_path / "base", tie_word_embeddings=True)
    adapter = write_adapter(tmp_path / "adapter", config())
    a, b = np.ones((4, 320), dtype=np.float32), np.ones((64, 4), dtype=np.float32)
    parts = {"model__embed_tokens__lora_embedding_A": a, "model__embed_tokens__lora_embedding_B": b}
    if end == "lm_head":
        parts = {"lm_head__lora_A__weight": b.T.copy(), "lm_head__lora_B__weight": a.T.copy()}
    error = refused(tmp_path, base, with_tensors(adapter, **parts))
    must_be_merged(error, f"{end}.lora_")


@pytest.mark.bad_input("an adapter GGUF of a type that holds blocks")
def test_other_types(tmp_path: Path) -> None:
    error = refused(tmp_path, tmp_path / "base", tmp_path / "adapter", type="q8_0")
    assert error.code == "usage" and "q8_0" in error.message


@pytest.mark.bad_input("an adapter that half precision can't hold, and f16 asked for")
def test_too_large_for_half_precision(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    adapter = write_adapter(tmp_path / "adapter", config())
    wide = {"model__layers__0__mlp__down_proj__lora_A__weight": np.full((4, 96), 1e5, dtype=np.float32)}
    error = refused(tmp_path, base, with_tensors(adapter, **wide), type="f16")
    assert error.code == "non-finite" and "blk.0.ffn_down.weight.lora_a" in error.message


@pytest.mark.bad_input("an adapter GGUF that is already there")
def test_an_output_that_is_there(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    adapter = write_adapter(tmp_path / "adapter", config())
    there = tmp_path / "out" / "adapter.lora.f16.gguf"
    there.parent.mkdir()
    there.write_bytes(b"mine")
    with pytest.raises(ConchError) as caught:
        export_adapter(base, adapter, out=tmp_path / "out")
    assert caught.value.code == "output-exists" and there.name in caught.value.message
    assert there.read_bytes() == b"mine" and len(list(there.parent.iterdir())) == 1
