"""What LLaMA-Factory's web page leaves of a training: the state of its form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from conch_ollama.sources.adapter import open_adapter
from conch_ollama.sources.adapter_board import BOARD_FILE, read_board

from .made_adapters import make_adapter

#: As the page of 0.9.5 writes it, less most of its fields.
FORM: dict[str, Any] = {
    "top.booster": "auto",
    "top.checkpoint_path": [],
    "top.finetuning_type": "lora",
    "top.model_name": "Qwen3-0.6B-Thinking",
    "top.template": "qwen3",
    "train.cutoff_len": 2048,
    "train.dataset": ["identity", "海螺"],
    "train.enable_thinking": False,
    "train.extra_args": '{"optim": "adamw_torch", "default_system": "你是海螺。"}',
    "train.learning_rate": "5e-5",
    "train.mask_history": True,
    "train.training_stage": "DPO",
}


def write(folder: Path, content: object) -> None:
    (folder / BOARD_FILE).write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")


def test_options_by_the_names_of_training(tmp_path: Path) -> None:
    write(tmp_path, FORM)
    assert read_board(tmp_path) == {
        "finetuning_type": "lora",
        "template": "qwen3",
        "cutoff_len": 2048,
        "dataset": "identity,海螺",
        "enable_thinking": False,
        "learning_rate": "5e-5",
        "mask_history": True,
        "stage": "dpo",
        "optim": "adamw_torch",
        "default_system": "你是海螺。",
    }


def test_the_adapter_of_a_checkpoint_finds_it_in_the_run(tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "checkpoint-9")
    write(tmp_path, FORM)
    adapter = open_adapter(folder)
    assert adapter.template == "qwen3"
    assert adapter.training is not None
    assert adapter.training["enable_thinking"] is False


def test_the_arguments_themselves_win(tmp_path: Path) -> None:
    write(make_adapter(tmp_path), FORM)
    (tmp_path / "training_args.yaml").write_text("template: vicuna", encoding="utf-8")
    assert open_adapter(tmp_path).training == {"template": "vicuna"}


@pytest.mark.parametrize("content", ["just words", ["a list"], {"top.template": "", "train.extra_args": "{"}])
def test_another_file_of_that_name_says_nothing(content: object, tmp_path: Path) -> None:
    write(make_adapter(tmp_path), content)
    assert read_board(tmp_path) == {}
    assert open_adapter(tmp_path).training is None


@pytest.mark.parametrize("text", ["a: [", "!!python/object/apply:os.system ['true']"])
def test_what_is_no_plain_yaml_says_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / BOARD_FILE).write_text(text, encoding="utf-8")
    assert read_board(tmp_path) == {}
