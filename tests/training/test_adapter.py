"""Releasing an adapter: the matrices to bfloat16, the base by its name, nothing of the machine it was trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from conch_ollama.errors import BadConfigError, BadFileError, ConchError, NotFoundError, OutputExistsError
from conch_ollama.formats.safetensors import SafetensorsFile, SafetensorsWriter
from conch_ollama.formats.tensors import TensorInfo
from conch_ollama.training.adapter import release_adapter

BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
CONFIG: dict[str, Any] = {
    "peft_type": "LORA",
    "r": 2,
    "lora_alpha": 4,
    "target_modules": ["v_proj", "k_proj", "up_proj"],
    "base_model_name_or_path": "/home/someone/models/base",
}


def tensors() -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(5)
    prefix = "base_model.model.model.layers.0.self_attn.v_proj"
    return {
        f"{prefix}.lora_B.weight": random.standard_normal((8, 2), dtype=np.float32),
        f"{prefix}.lora_A.weight": random.standard_normal((2, 6), dtype=np.float32),
    }


def write_run(run: Path, config: Mapping[str, Any] = CONFIG) -> Path:
    run.mkdir()
    (run / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    (run / "README.md").write_text("base_model: /home/someone/models/base\n", encoding="utf-8")
    (run / "tokenizer.json").write_text("{}", encoding="utf-8")
    values = tensors()
    infos = [TensorInfo(name, "F32", value.shape) for name, value in values.items()]
    with SafetensorsWriter(run / "adapter_model.safetensors", infos) as writer:
        for value in values.values():
            writer.write(value.tobytes())
    return run


def release(run: Path, folder: Path, training: Path | None = None) -> Path:
    return release_adapter(run, folder, base_name=BASE, training=training)


def test_matrices_are_kept_to_half_a_unit_of_bfloat16(tmp_path: Path) -> None:
    folder = release(write_run(tmp_path / "run"), tmp_path / "海螺 adapter")
    with SafetensorsFile(folder / "adapter_model.safetensors") as file:
        assert {info.dtype for info in file.tensors.values()} == {"BF16"}
        assert file.metadata == {"format": "pt"}
        assert set(file.tensors) == set(tensors())
        for name, value in tensors().items():
            assert np.all(np.abs(file.read(name) - value) <= np.abs(value) * 2.0**-8)


def test_only_what_belongs_to_the_adapter_is_released(tmp_path: Path) -> None:
    folder = release(write_run(tmp_path / "run"), tmp_path / "out")
    assert sorted(path.name for path in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    assert config == CONFIG | {
        "base_model_name_or_path": BASE,
        "target_modules": ["k_proj", "up_proj", "v_proj"],
    }


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    first = release(write_run(tmp_path / "run"), tmp_path / "first")
    turned = CONFIG | {"target_modules": CONFIG["target_modules"][::-1]}
    second = release(write_run(tmp_path / "again", turned), tmp_path / "second")
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()


def test_the_training_configuration_is_kept_with_the_name_of_the_base(tmp_path: Path) -> None:
    yaml = tmp_path / "train.yaml"
    yaml.write_text("# how\n\nmodel_name_or_path: saves/base\ntemplate: smollm2\n", encoding="utf-8")
    folder = release(write_run(tmp_path / "run"), tmp_path / "out", yaml)
    kept = (folder / "training_args.yaml").read_text(encoding="utf-8")
    assert kept == f"model_name_or_path: {BASE}\ntemplate: smollm2\n"


def refused(error: type[ConchError], run: Path, out: Path, training: Path | None = None) -> ConchError:
    """The error, after a look that nothing was written."""
    before = {path: path.read_bytes() for path in out.glob("*")}
    with pytest.raises(error) as caught:
        release(run, out, training)
    assert {path: path.read_bytes() for path in out.glob("*")} == before
    return caught.value


@pytest.mark.parametrize(
    "line", ["dataset_dir: /home/me/data", "output_dir: 'C:\\saves\\x'", "cache_dir: ~/cache", "x: \\\\server\\y"]
)
@pytest.mark.bad_input("a local path in what is to be released")
def test_a_local_path_is_refused(tmp_path: Path, line: str) -> None:
    yaml = tmp_path / "train.yaml"
    yaml.write_text(f"template: smollm2\n{line}\n", encoding="utf-8")
    error = refused(BadFileError, write_run(tmp_path / "run"), tmp_path / "out", yaml)
    assert error.code == "bad-file"
    assert line in error.message
    assert "training_args.yaml" in error.message
    assert not (tmp_path / "out").exists()


@pytest.mark.bad_input("an adapter released over another one")
def test_an_adapter_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "adapter_model.safetensors").write_bytes(b"mine")
    error = refused(OutputExistsError, write_run(tmp_path / "run"), out)
    assert error.code == "output-exists"
    assert str(out) in error.message


@pytest.mark.bad_input("a folder to release that is no LoRA run")
def test_no_adapter(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    error = refused(NotFoundError, run, tmp_path / "out")
    assert error.code == "not-found"
    assert str(run / "adapter_config.json") in error.message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"peft_type": "IA3"}'])
@pytest.mark.bad_input("a run to release whose adapter is no LoRA")
def test_another_kind_of_adapter(tmp_path: Path, text: str) -> None:
    run = write_run(tmp_path / "run")
    (run / "adapter_config.json").write_text(text, encoding="utf-8")
    error = refused(BadConfigError, run, tmp_path / "out")
    assert error.code == "bad-config"
    assert str(run / "adapter_config.json") in error.message
    assert not (tmp_path / "out").exists()


@pytest.mark.bad_input("a run to release without its matrices")
def test_no_matrices(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "adapter_model.safetensors").unlink()
    error = refused(NotFoundError, run, tmp_path / "out")
    assert error.code == "not-found"
    assert "adapter_model.safetensors" in error.message
    assert not (tmp_path / "out").exists()
