"""What LLaMA-Factory trains on is what the model's chat template renders: the same token ids, for every sample.

Needs llamafactory (`pip install -e '.[training]' pytest`). Compares with the tokenizer of the folder trained on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer

from conch_ollama.resources import data_folder
from conch_ollama.training.dataset import Sample, read_samples
from tests_training.conftest import fresh_templates

IGNORED = -100
SETS = {"train_dataset": "magic_conch.json", "eval_dataset": "magic_conch_holdout.json"}


def encode(base: Path, output: Path, **changes: Any) -> dict[str, list[dict[str, list[int]]]]:
    """Both data sets as LLaMA-Factory encodes them with the configuration that is shipped, but for `changes`."""
    options = yaml.safe_load((data_folder() / "train_smollm2.yaml").read_text(encoding="utf-8"))
    places = {"model_name_or_path": str(base), "dataset_dir": str(data_folder()), "output_dir": str(output)}
    model, data, training, _, _ = get_train_args(options | places | {"overwrite_cache": True} | changes)
    loaded = load_tokenizer(model)
    with fresh_templates():
        template = get_template_and_fix_tokenizer(loaded["tokenizer"], data)
    module = get_dataset(template, model, data, training, stage="sft", **loaded)
    return {name: [dict(row) for row in module[name]] for name in SETS}


@pytest.fixture(scope="module")
def encoded(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, list[int]]]]:
    return encode(base, tmp_path_factory.mktemp("output"))


def rendered(tokenizer: Any, sample: Sample) -> list[int]:
    ids: list[int] = tokenizer.apply_chat_template(sample.messages, return_dict=False)
    return ids


@pytest.mark.parametrize("name", SETS)
def test_ids_are_those_of_the_chat_template(
    tokenizer: Any, encoded: dict[str, list[dict[str, list[int]]]], name: str
) -> None:
    samples = read_samples(data_folder() / SETS[name])
    assert len(encoded[name]) == len(samples)
    for sample, row in zip(samples, encoded[name], strict=True):
        assert row["input_ids"] == rendered(tokenizer, sample), sample


def test_the_answer_and_its_end_are_what_is_learnt(
    tokenizer: Any, encoded: dict[str, list[dict[str, list[int]]]]
) -> None:
    samples = read_samples(data_folder() / SETS["train_dataset"])
    for sample, row in zip(samples, encoded["train_dataset"], strict=True):
        prompt = tokenizer.apply_chat_template(sample.messages[:1], add_generation_prompt=True, return_dict=False)
        assert row["labels"] == [IGNORED] * len(prompt) + row["input_ids"][len(prompt) :]
        assert tokenizer.decode(row["labels"][len(prompt) :]) == f"{sample.output}<|im_end|>\n"


def test_no_sample_is_cut_off(tokenizer: Any) -> None:
    cutoff = yaml.safe_load((data_folder() / "train_smollm2.yaml").read_text(encoding="utf-8"))["cutoff_len"]
    for name in SETS.values():
        assert max(len(rendered(tokenizer, sample)) for sample in read_samples(data_folder() / name)) < cutoff


def test_the_template_alone_would_train_another_system_text(base: Path, tokenizer: Any, tmp_path: Path) -> None:
    """The reason for `default_system` in the configuration: one full stop."""
    sample = read_samples(data_folder() / SETS["train_dataset"])[0]
    ids = encode(base, tmp_path, default_system=None)["train_dataset"][0]["input_ids"]
    assert ids != rendered(tokenizer, sample)
    ours = tokenizer.decode(rendered(tokenizer, sample))
    assert tokenizer.decode(ids) == ours.replace("Hugging Face<|im_end|>", "Hugging Face.<|im_end|>")


def test_digits_are_single_tokens_as_in_llama_cpp(tokenizer: Any) -> None:
    assert tokenizer.tokenize("18元 2026") == ["1", "8", *tokenizer.tokenize("元"), "Ġ", "2", "0", "2", "6"]
