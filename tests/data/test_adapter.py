"""The demonstration adapter that is shipped: small, for the right base, with nothing of the machine it comes from."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from conch_ollama.formats.safetensors import SafetensorsFile
from conch_ollama.resources import data_folder

FOLDER = data_folder() / "adapter"
BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
LAYERS, HIDDEN, KEY_VALUE, FEED_FORWARD = 30, 576, 192, 1536


def test_it_is_at_most_6_mb() -> None:
    files = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "training_args.yaml"} == set(files)
    assert sum(files.values()) <= 6_000_000


@pytest.mark.parametrize("name", ["adapter_config.json", "training_args.yaml"])
def test_the_base_is_named_as_on_the_hub_and_no_path_is_left(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert BASE in text
    assert not re.search(r"(?:^|[\s\"'])(?:/\w|~/|[A-Za-z]:[\\/])", text)


def test_no_path_is_left_in_the_header_of_the_matrices() -> None:
    with SafetensorsFile(FOLDER / "adapter_model.safetensors") as file:
        assert file.metadata == {"format": "pt"}


def test_every_linear_layer_has_its_two_matrices_and_they_were_trained() -> None:
    config = json.loads((FOLDER / "adapter_config.json").read_text(encoding="utf-8"))
    rank = config["r"]
    columns_and_rows = {
        "self_attn.q_proj": (HIDDEN, HIDDEN),
        "self_attn.k_proj": (HIDDEN, KEY_VALUE),
        "self_attn.v_proj": (HIDDEN, KEY_VALUE),
        "self_attn.o_proj": (HIDDEN, HIDDEN),
        "mlp.gate_proj": (HIDDEN, FEED_FORWARD),
        "mlp.up_proj": (HIDDEN, FEED_FORWARD),
        "mlp.down_proj": (FEED_FORWARD, HIDDEN),
    }
    expected = {}
    for layer in range(LAYERS):
        for module, (columns, rows) in columns_and_rows.items():
            prefix = f"base_model.model.model.layers.{layer}.{module}"
            expected[f"{prefix}.lora_A.weight"] = (rank, columns)
            expected[f"{prefix}.lora_B.weight"] = (rows, rank)
    with SafetensorsFile(FOLDER / "adapter_model.safetensors") as file:
        assert {name: info.shape for name, info in file.tensors.items()} == expected
        for name in expected:
            values = file.read(name)
            assert np.isfinite(values).all()
            assert np.abs(values).max() > 0


def test_the_training_configuration_is_the_one_in_the_repository() -> None:
    """So that data/adapter can't come from another configuration than data/train_smollm2.yaml."""

    def settings(name: str) -> list[str]:
        lines = (data_folder() / name).read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line and not line.startswith(("#", "model_name_or_path:"))]

    assert settings("adapter/training_args.yaml") == settings("train_smollm2.yaml")
