"""Opening adapters: what PEFT and LLaMA-Factory leave, and what of it is refused."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conch_ollama.errors import (
    AdapterKindError,
    BadConfigError,
    BadFileError,
    ConchError,
    NotFoundError,
    TruncatedFileError,
    UnsafePickleError,
)
from conch_ollama.sources.adapter import open_adapter
from tests.sources.made_adapters import (
    HIDDEN,
    PREFIX,
    Q0,
    RANK,
    VOCAB,
    Arrays,
    files_of,
    lora,
    lora_arrays,
    make_adapter,
    random,
    write_config,
)


def refused(folder: Path, error: type[ConchError], *named: str) -> ConchError:
    """Opening raises exactly this error, names the things, says what to do, and leaves the folder as it was."""
    before = files_of(folder) if folder.is_dir() else {}
    with pytest.raises(error) as caught:
        open_adapter(folder)
    assert caught.value.code == error.code
    for name in named:
        assert name in caught.value.message
    assert (files_of(folder) if folder.is_dir() else {}) == before
    return caught.value


def without(arrays: Arrays, *endings: str) -> Arrays:
    return {name: array for name, array in arrays.items() if not name.endswith(endings)}


# What is there.


def test_peft_folder(tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "餐厅 adapter", revision="abc123")
    adapter = open_adapter(folder)
    assert adapter.folder == folder
    assert adapter.base_name == "acme/Tiny-1B"
    assert adapter.config.base_revision == "abc123"
    assert set(adapter.modules) == {
        f"model.layers.{layer}.{name}" for layer in (0, 1) for name in ("self_attn.q_proj", "mlp.down_proj")
    }
    assert adapter.sha256 == hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()
    assert adapter.files == (folder / "adapter_config.json", folder / "adapter_model.safetensors")
    assert adapter.training is None
    assert adapter.template is None
    assert adapter.tokenizer_folder is None
    assert adapter.notes == ()


def test_hyperparameters_keep_what_is_set_and_no_local_path(tmp_path: Path) -> None:
    folder = make_adapter(tmp_path, base_model_name_or_path="/home/me/secret", use_rslora=True, lora_dropout=0.1)
    assert open_adapter(folder).hyperparameters == {
        "bias": "none",
        "init_lora_weights": True,
        "lora_alpha": 6,
        "lora_dropout": 0.1,
        "peft_type": "LORA",
        "qalora_group_size": 16,
        "r": RANK,
        "target_modules": ["q_proj", "down_proj"],
        "use_rslora": True,
    }


def test_run_is_preferred_to_its_checkpoints(tmp_path: Path) -> None:
    make_adapter(tmp_path / "run" / "checkpoint-30")
    make_adapter(tmp_path / "run")
    assert open_adapter(tmp_path / "run").folder == tmp_path / "run"


def test_newest_checkpoint_by_number(tmp_path: Path) -> None:
    for number in (9, 100, 20):
        make_adapter(tmp_path / f"checkpoint-{number}")
    make_adapter(tmp_path / "checkpoint-best")
    (tmp_path / "checkpoint-300").mkdir()  # the run was killed while it saved this one
    adapter = open_adapter(tmp_path)
    assert adapter.folder == tmp_path / "checkpoint-100"
    assert any("checkpoint-300" in note and "adapter_config.json" in note for note in adapter.notes)
    assert any("checkpoint-100 is used" in note for note in adapter.notes)


def test_one_checkpoint_by_name(tmp_path: Path) -> None:
    make_adapter(tmp_path / "checkpoint-9")
    make_adapter(tmp_path / "checkpoint-10")
    assert open_adapter(tmp_path / "checkpoint-9").folder == tmp_path / "checkpoint-9"


def test_training_arguments_and_tokenizer_of_the_run(tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "run" / "checkpoint-9")
    (tmp_path / "run" / "training_args.yaml").write_text(
        "template: qwen\ncutoff_len: 512\n店: 海螺\n", encoding="utf-8"
    )
    (tmp_path / "run" / "tokenizer.json").write_text("{}", encoding="utf-8")
    (tmp_path / "run" / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    adapter = open_adapter(folder)
    assert adapter.training == {"template": "qwen", "cutoff_len": 512, "店": "海螺"}
    assert adapter.template == "qwen"
    assert adapter.tokenizer_folder == tmp_path / "run"
    assert [path.name for path in adapter.tokenizer_files] == ["tokenizer.json", "chat_template.jinja"]


CARD = """---
base_model: acme/Tiny-1B
---

# out

This model is a fine-tuned version of [acme/Tiny-1B](https://huggingface.co/acme/Tiny-1B) on {data}.

## Training procedure

### Training hyperparameters

The following hyperparameters were used during training:
- learning_rate: 0.001
- optimizer: Use OptimizerNames.ADAMW_TORCH_FUSED with betas=(0.9,0.999)
- lr_scheduler_type: cosine
- num_epochs: 3.0

### Training results

- seed: 7
"""


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ("the magic_conch dataset", "magic_conch"),
        ("the identity, the 海螺 and the magic_conch datasets", "identity,海螺,magic_conch"),
        ("an unknown dataset", None),
        ("the None dataset", None),
    ],
)
def test_run_from_the_command_line_has_no_more_than_its_card(data: str, names: str | None, tmp_path: Path) -> None:
    (make_adapter(tmp_path) / "README.md").write_text(CARD.format(data=data), encoding="utf-8")
    expected = {"learning_rate": "0.001", "lr_scheduler_type": "cosine", "num_train_epochs": "3.0"}
    assert open_adapter(tmp_path).training == expected | ({"dataset": names} if names else {})
    (tmp_path / "training_args.yaml").write_text("template: qwen", encoding="utf-8")
    assert open_adapter(tmp_path).training == {"template": "qwen"}


def test_a_card_of_ones_own_says_nothing(tmp_path: Path) -> None:
    (make_adapter(tmp_path) / "README.md").write_text("# Mine\n\n- seed: 3\n", encoding="utf-8")
    assert open_adapter(tmp_path).training is None


def test_tokenizer_of_the_checkpoint_wins_over_the_run(tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "checkpoint-9")
    for place in (tmp_path, folder):
        (place / "tokenizer.json").write_text("{}", encoding="utf-8")
    assert open_adapter(folder).tokenizer_folder == folder


def test_files_next_to_a_plain_folder_are_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    (tmp_path / "training_args.yaml").write_text("template: qwen", encoding="utf-8")
    adapter = open_adapter(make_adapter(tmp_path / "mine"))
    assert adapter.tokenizer_folder is None
    assert adapter.training is None


def test_pickled_training_arguments_are_never_opened(tmp_path: Path) -> None:
    folder = make_adapter(tmp_path)
    (folder / "training_args.bin").write_bytes(b"cos\nsystem\n(S'touch " + bytes(tmp_path / "ran") + b"'\ntR.")
    assert open_adapter(folder).training is None
    assert not (tmp_path / "ran").exists()


def test_converted_pissa_stands_for_its_run(tmp_path: Path) -> None:
    make_adapter(tmp_path, init_lora_weights="pissa_niter_16")
    converted = make_adapter(tmp_path / "pissa_converted", lora_arrays(rank=2 * RANK), r=2 * RANK)
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    adapter = open_adapter(tmp_path)
    assert adapter.folder == converted
    assert adapter.tokenizer_folder == tmp_path
    assert open_adapter(converted).folder == converted


def test_hub_cache(tmp_path: Path) -> None:
    cache = tmp_path / "models--acme--tiny-lora"
    snapshot = make_adapter(cache / "snapshots" / "0123456789abcdef")
    assert open_adapter(cache).folder == snapshot


@pytest.mark.parametrize("initialisation", [True, False, None, "gaussian", "eva", "orthogonal", "mica"])
def test_initialisations_that_keep_the_base(initialisation: Any, tmp_path: Path) -> None:
    assert open_adapter(make_adapter(tmp_path, init_lora_weights=initialisation)).config.initialisation is not None


def test_unknown_keys_pass_while_they_are_empty(tmp_path: Path) -> None:
    empty = {"novelty": None, "use_novelty": False, "novelty_config": {}, "novelties": [], "novel": "", "none": 0}
    assert open_adapter(make_adapter(tmp_path, **empty)).config.rank == RANK


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("unsloth/Qwen2.5-1.5B-Instruct-bnb-4bit", "unsloth/Qwen2.5-1.5B-Instruct"),
        ("unsloth/Llama-3.2-1B-unsloth-bnb-4bit", "unsloth/Llama-3.2-1B"),
        ("Qwen/Qwen2.5-7B-Instruct-AWQ", "Qwen/Qwen2.5-7B-Instruct"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "Qwen/Qwen2.5-7B-Instruct"),
    ],
)
def test_quantised_base_is_a_note(name: str, hint: str, tmp_path: Path) -> None:
    adapter = open_adapter(make_adapter(tmp_path, base_model_name_or_path=name))
    assert adapter.base_hint is not None
    assert adapter.base_hint.endswith(f" {hint}")
    assert any(hint in note for note in adapter.notes)


def test_plain_base_needs_no_hint(tmp_path: Path) -> None:
    assert open_adapter(make_adapter(tmp_path)).base_hint is None


def test_names_of_older_files_and_other_prefixes(tmp_path: Path) -> None:
    arrays = {
        f"{PREFIX}{Q0}.lora_A.default.weight": random((RANK, HIDDEN), 1),
        f"{PREFIX}{Q0}.lora_B.default.weight": random((HIDDEN, RANK), 2),
        f"{PREFIX}lm_head.modules_to_save.default.weight": random((VOCAB, HIDDEN), 3),
        "model.embed_tokens.lora_embedding_A.default": random((RANK, VOCAB), 4),
        "model.embed_tokens.lora_embedding_B.default": random((HIDDEN, RANK), 5),
    }
    adapter = open_adapter(make_adapter(tmp_path, arrays, modules_to_save=["lm_head"]))
    assert set(adapter.modules) == {Q0, "lm_head", "model.embed_tokens"}


# What is refused.


@pytest.mark.bad_input("adapter folder is not there")
def test_no_folder(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", NotFoundError, "nowhere")


@pytest.mark.bad_input("adapter is a file, not a folder")
def test_file(tmp_path: Path) -> None:
    refused(make_adapter(tmp_path) / "adapter_model.safetensors", NotFoundError, "adapter_model.safetensors")


@pytest.mark.bad_input("folder without adapter_config.json")
def test_no_config(tmp_path: Path) -> None:
    (make_adapter(tmp_path) / "adapter_config.json").unlink()
    refused(tmp_path, NotFoundError, str(tmp_path), "adapter_config.json")


@pytest.mark.bad_input("adapter folder without weights")
def test_no_weights(tmp_path: Path) -> None:
    (make_adapter(tmp_path) / "adapter_model.safetensors").unlink()
    refused(tmp_path, NotFoundError, str(tmp_path), "adapter_model.safetensors")


@pytest.mark.bad_input("run with nothing but unfinished checkpoints")
def test_unfinished_checkpoints(tmp_path: Path) -> None:
    write_config(tmp_path / "checkpoint-5", {"peft_type": "LORA"})
    refused(tmp_path, NotFoundError, str(tmp_path), "1 checkpoints")


@pytest.mark.bad_input("adapter_config.json is no JSON")
def test_config_is_no_json(tmp_path: Path) -> None:
    (make_adapter(tmp_path) / "adapter_config.json").write_text('{"r": 8,', encoding="utf-8")
    refused(tmp_path, BadConfigError, "adapter_config.json")


@pytest.mark.bad_input("adapter_config.json without peft_type")
def test_no_peft_type(tmp_path: Path) -> None:
    write_config(make_adapter(tmp_path), {"r": 8})
    refused(tmp_path, BadConfigError, "adapter_config.json", "peft_type")


@pytest.mark.bad_input("adapter of mlx-lm")
def test_mlx(tmp_path: Path) -> None:
    write_config(make_adapter(tmp_path), {"fine_tune_type": "lora", "lora_parameters": {"rank": 8}})
    assert "mlx_lm.fuse" in (refused(tmp_path, AdapterKindError, "mlx-lm").hint or "")


@pytest.mark.bad_input("adapter of another PEFT method")
@pytest.mark.parametrize("kind", ["IA3", "ADALORA", "LOHA", "PREFIX_TUNING", "OFT"])
def test_other_methods(kind: str, tmp_path: Path) -> None:
    refused(make_adapter(tmp_path, peft_type=kind), AdapterKindError, "peft_type", kind)


@pytest.mark.bad_input("adapter initialised by PiSSA, not converted")
@pytest.mark.parametrize("value", ["pissa", "pissa_niter_16"])
def test_pissa(value: str, tmp_path: Path) -> None:
    error = refused(make_adapter(tmp_path, init_lora_weights=value), AdapterKindError, "init_lora_weights", value)
    assert "pissa_convert" in (error.hint or "")


@pytest.mark.bad_input("adapter initialised by a method that changed the base")
@pytest.mark.parametrize("value", ["olora", "corda", "loftq", "lora_ga", "OLoRA"])
def test_initialisations_that_change_the_base(value: str, tmp_path: Path) -> None:
    refused(make_adapter(tmp_path, init_lora_weights=value), AdapterKindError, "init_lora_weights", value)


@pytest.mark.bad_input("adapter initialised by an unknown method")
def test_unknown_initialisation(tmp_path: Path) -> None:
    refused(make_adapter(tmp_path, init_lora_weights="novel"), AdapterKindError, "init_lora_weights", "novel")


@pytest.mark.bad_input("backup of an unconverted PiSSA adapter")
@pytest.mark.parametrize("name", ["pissa_backup", "pissa_init"])
def test_pissa_backup(name: str, tmp_path: Path) -> None:
    make_adapter(tmp_path / "pissa_converted")
    error = refused(make_adapter(tmp_path / name), AdapterKindError, name)
    assert "pissa_converted" in (error.hint or "")


@pytest.mark.bad_input("adapter with repeated layers")
def test_layer_replication(tmp_path: Path) -> None:
    refused(make_adapter(tmp_path, layer_replication=[[0, 2], [1, 2]]), AdapterKindError, "layer_replication")


@pytest.mark.bad_input("adapter of bare parameters")
def test_target_parameters(tmp_path: Path) -> None:
    refused(make_adapter(tmp_path, target_parameters=["mlp.experts.w"]), AdapterKindError, "target_parameters")


@pytest.mark.bad_input("activated LoRA")
def test_activated(tmp_path: Path) -> None:
    refused(make_adapter(tmp_path, alora_invocation_tokens=[5]), AdapterKindError, "alora_invocation_tokens")


@pytest.mark.bad_input("other variants of LoRA")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("fan_in_fan_out", True),
        ("use_qalora", True),
        ("megatron_config", {"a": 1}),
        ("arrow_config", {"top_k": 3}),
        ("use_bdlora", {"nblocks": 2}),
        ("kasa_config", {"beta": 1.0}),
        ("monteclora_config", {"n": 4}),
    ],
)
def test_variants(key: str, value: Any, tmp_path: Path) -> None:
    refused(make_adapter(tmp_path, **{key: value}), AdapterKindError, key)


@pytest.mark.bad_input("unknown key in adapter_config.json")
def test_unknown_key(tmp_path: Path) -> None:
    refused(make_adapter(tmp_path, use_novelty=True), AdapterKindError, "use_novelty")


@pytest.mark.bad_input("hyper-parameter of a wrong type")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("r", 0),
        ("r", "8"),
        ("r", True),
        ("lora_alpha", "16"),
        ("use_rslora", "yes"),
        ("bias", "some"),
        ("modules_to_save", "lm_head"),
        ("rank_pattern", [4]),
        ("rank_pattern", {"q_proj": 1.5}),
        ("alpha_pattern", {"q_proj": None}),
        ("trainable_token_indices", [-1]),
        ("trainable_token_indices", [2, 2]),
        ("trainable_token_indices", {"embed_tokens": 3}),
        ("base_model_name_or_path", 7),
    ],
)
def test_wrong_types(key: str, value: Any, tmp_path: Path) -> None:
    refused(make_adapter(tmp_path, **{key: value}), BadConfigError, key)


@pytest.mark.bad_input("pattern that is no regular expression")
def test_bad_pattern(tmp_path: Path) -> None:
    refused(make_adapter(tmp_path, rank_pattern={"q_proj(": 4}), BadConfigError, "rank_pattern", "q_proj(")


@pytest.mark.bad_input("adapter file cut short")
def test_truncated(tmp_path: Path) -> None:
    path = make_adapter(tmp_path) / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    refused(tmp_path, TruncatedFileError, "adapter_model.safetensors")


@pytest.mark.bad_input("adapter file that git-lfs has not fetched")
def test_lfs_pointer(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1234\n"
    (make_adapter(tmp_path) / "adapter_model.safetensors").write_text(pointer, encoding="utf-8")
    assert "git lfs pull" in (refused(tmp_path, BadFileError, "adapter_model.safetensors").hint or "")


@pytest.mark.bad_input("adapter pickle without torch")
def test_pickle_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.move(make_adapter(tmp_path) / "adapter_model.safetensors", tmp_path / "adapter_model.bin")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "safetensors" in (refused(tmp_path, UnsafePickleError, "adapter_model.bin").hint or "")


@pytest.mark.bad_input("adapter file without tensors")
def test_nothing_in_it(tmp_path: Path) -> None:
    refused(make_adapter(tmp_path, {}), BadFileError, "adapter_model.safetensors", "no tensors")


@pytest.mark.bad_input("one half of a low-rank pair is missing")
@pytest.mark.parametrize(("gone", "left"), [("lora_B", "lora_A"), ("lora_A", "lora_B")])
def test_half_a_pair(gone: str, left: str, tmp_path: Path) -> None:
    arrays = without(lora_arrays(), f"layers.1.self_attn.q_proj.{gone}.weight")
    refused(make_adapter(tmp_path, arrays), BadFileError, "model.layers.1.self_attn.q_proj", gone, left)


@pytest.mark.bad_input("rank of the weights is not the configuration's")
def test_other_rank(tmp_path: Path) -> None:
    folder = make_adapter(tmp_path, rank_pattern={"layers.1.self_attn.q_proj": RANK + 1})
    refused(folder, BadFileError, "layers.1.self_attn.q_proj.lora_A.weight", f"is {RANK + 1}")


@pytest.mark.bad_input("weights that were not gathered before saving")
def test_empty_tensor(tmp_path: Path) -> None:
    name = f"{PREFIX}{Q0}.lora_A.weight"
    arrays = lora_arrays() | {name: np.zeros((0,), dtype=np.float32)}
    assert "ZeRO-3" in (refused(make_adapter(tmp_path, arrays), BadFileError, name).hint or "")


@pytest.mark.bad_input("adapter of a convolution")
def test_convolution(tmp_path: Path) -> None:
    name = f"{PREFIX}{Q0}.lora_A.weight"
    refused(make_adapter(tmp_path, lora_arrays() | {name: random((RANK, HIDDEN, 3), 1)}), BadFileError, name)


@pytest.mark.bad_input("modules_to_save without their weights")
def test_saved_module_is_missing(tmp_path: Path) -> None:
    refused(make_adapter(tmp_path, modules_to_save=["lm_head"]), BadFileError, "modules_to_save", "lm_head")


@pytest.mark.bad_input("DoRA without magnitudes")
def test_dora_without_magnitudes(tmp_path: Path) -> None:
    refused(make_adapter(tmp_path, use_dora=True), BadFileError, Q0, "lora_magnitude_vector")


@pytest.mark.bad_input("magnitudes without use_dora")
def test_magnitudes_without_dora(tmp_path: Path) -> None:
    name = f"{PREFIX}{Q0}.lora_magnitude_vector"
    refused(make_adapter(tmp_path, lora_arrays() | {name: random((HIDDEN,), 5)}), BadFileError, name)


@pytest.mark.bad_input("trained token rows that are not there")
def test_tokens_are_missing(tmp_path: Path) -> None:
    refused(make_adapter(tmp_path, trainable_token_indices=[1, 2]), BadFileError, "trainable_token_indices")


@pytest.mark.bad_input("token rows without their ids")
def test_tokens_without_ids(tmp_path: Path) -> None:
    name = f"{PREFIX}model.embed_tokens.token_adapter.trainable_tokens_delta"
    refused(make_adapter(tmp_path, lora_arrays() | {name: random((2, HIDDEN), 5)}), BadFileError, name)


@pytest.mark.bad_input("adapter tensor of no known kind")
@pytest.mark.parametrize("ending", ["lora_diag", "lora_A.inner.weight.x", "vera_lambda_b"])
def test_unknown_tensor(ending: str, tmp_path: Path) -> None:
    name = f"{PREFIX}{Q0}.{ending}"
    refused(make_adapter(tmp_path, lora_arrays() | {name: random((HIDDEN,), 5)}), AdapterKindError, name)


@pytest.mark.bad_input("two adapters in one file")
def test_two_adapters(tmp_path: Path) -> None:
    second = f"{PREFIX}{Q0}.lora_A.second.weight"
    arrays = lora(Q0, HIDDEN, HIDDEN) | {second: random((RANK, HIDDEN), 1)}
    refused(make_adapter(tmp_path, arrays), AdapterKindError, second)


@pytest.mark.bad_input("training_args.yaml is no YAML")
@pytest.mark.parametrize("text", ["template: [qwen", "just words", "!!python/object/apply:os.system ['true']"])
def test_broken_training_arguments(text: str, tmp_path: Path) -> None:
    (make_adapter(tmp_path) / "training_args.yaml").write_text(text, encoding="utf-8")
    refused(tmp_path, BadConfigError, "training_args.yaml")
