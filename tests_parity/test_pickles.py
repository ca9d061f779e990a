"""`.bin` checkpoints through torch's weights_only loader: same values as safetensors, and no code of a pickle runs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from conch_ollama.errors import BadFileError, UnsafePickleError
from conch_ollama.sources.folder import HuggingFaceFolder


def test_a_pickled_checkpoint_reads_as_the_model_holds_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    config.save_pretrained(tmp_path)
    state = model.state_dict()
    state["model.norm.weight"] = state["model.norm.weight"].half()
    torch.save(state, tmp_path / "pytorch_model.bin")
    source = HuggingFaceFolder(tmp_path)
    assert {name: info.shape for name, info in source.tensors.items()} == {n: tuple(t.shape) for n, t in state.items()}
    assert source.tensors["model.norm.weight"].dtype == "F16"
    assert source.tensors["lm_head.weight"].dtype == "BF16"
    for name, tensor in state.items():
        rows = source.read(name, 1, source.tensors[name].rows)
        assert np.array_equal(rows, tensor[1:].float().numpy())
        rows += 1  # is nobody else's
        assert np.array_equal(source.read(name, 1, source.tensors[name].rows), tensor[1:].float().numpy())
    source.close()


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.bad_input("pickle that would run code")
def test_code_in_a_pickle_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    torch.save({"w": torch.zeros(2), "x": Payload(tmp_path / "ran")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UnsafePickleError, match=r"pytorch_model\.bin") as caught:
        HuggingFaceFolder(tmp_path)
    assert caught.value.code == "unsafe-pickle"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"<html>"])
@pytest.mark.bad_input("`.bin` file that is none")
def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    with pytest.raises((BadFileError, UnsafePickleError), match=r"pytorch_model\.bin"):
        HuggingFaceFolder(tmp_path)


def test_a_checkpoint_that_is_no_table_of_tensors_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    torch.save([torch.zeros(2)], tmp_path / "pytorch_model.bin")
    with pytest.raises(BadFileError, match="no table of tensors"):
        HuggingFaceFolder(tmp_path)
