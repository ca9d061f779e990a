"""Merging against PEFT's `merge_and_unload`: in float32 within 1e-6 of the row's largest weight, in the base's own type
bit for bit in 99.99% of the elements and one rounding in the others.

Needs a recent PEFT (0.21): 0.18 rounds a second adapter to the base's type while loading it, and knows
`ensure_weight_tying` for whole modules only.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from conch_ollama.errors import UnsafePickleError
from conch_ollama.sources.adapter import open_adapter
from conch_ollama.sources.folder import HuggingFaceFolder
from conch_ollama.sources.merge import MergedSource
from tests_parity.adapters import ATTENTION, LINEAR, make_adapter
from tests_parity.models import LLAMA3_ROPE, make_model

Array = NDArray[np.float32]
#: Rows asked for at a time: no divisor of the sizes, so that blocks end in odd places.
BLOCK = 37

BASES: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", "rope_scaling": LLAMA3_ROPE},
    "llama-biased": {"model_type": "llama", "attention_bias": True, "mlp_bias": True},
    "llama-tied": {"model_type": "llama", "tie": True},
    "mistral": {"model_type": "mistral"},
    "qwen2": {"model_type": "qwen2"},
    "qwen2-tied": {"model_type": "qwen2", "tie": True},
    "qwen3": {"model_type": "qwen3"},
}

#: name: (base, LoraConfig)
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("llama", {"r": 8, "target_modules": LINEAR}),
    "rank-1": ("mistral", {"r": 1, "lora_alpha": 2, "target_modules": LINEAR}),
    "rank-64": ("qwen3", {"r": 64, "lora_alpha": 16, "target_modules": LINEAR}),
    "rank-256": ("qwen2", {"r": 256, "lora_alpha": 32, "target_modules": LINEAR}),
    "rslora": ("llama", {"r": 48, "lora_alpha": 12, "use_rslora": True, "target_modules": LINEAR}),
    "dora": ("llama", {"r": 16, "use_dora": True, "target_modules": LINEAR}),
    "dora-embedding": ("qwen2", {"r": 16, "use_dora": True, "target_modules": [*LINEAR, "embed_tokens", "lm_head"]}),
    "dora-rslora": ("qwen2", {"r": 16, "use_dora": True, "use_rslora": True, "target_modules": ATTENTION}),
    "patterns": (
        "qwen3",
        {
            "r": 8,
            "lora_alpha": 16,
            "target_modules": LINEAR,
            "rank_pattern": {"q_proj": 4, r"layers\.1\.mlp\..*": 24, "^model.layers.0.self_attn.o_proj": 3},
            "alpha_pattern": {"down_proj": 5, "self_attn.[qk]_proj": 64, "layers.0.self_attn.q_proj": 1},
        },
    ),
    "modules-to-save": (
        "llama",
        {"r": 8, "target_modules": LINEAR, "modules_to_save": ["embed_tokens", "lm_head", "norm"]},
    ),
    "embedding": ("qwen2", {"r": 16, "lora_alpha": 48, "target_modules": [*ATTENTION, "embed_tokens", "lm_head"]}),
    "tokens": ("llama", {"r": 8, "target_modules": ATTENTION, "trainable_token_indices": [3, 500, 17]}),
    "tokens-both": (
        "qwen2",
        {
            "r": 8,
            "target_modules": ATTENTION,
            "trainable_token_indices": {"embed_tokens": [1, 2], "lm_head": [2, 511, 0]},
        },
    ),
    "bias-all": ("llama-biased", {"r": 8, "target_modules": ["q_proj", "down_proj"], "bias": "all"}),
    "bias-lora-only": ("qwen2", {"r": 8, "target_modules": ATTENTION, "bias": "lora_only"}),
    "lora-bias": ("llama-biased", {"r": 8, "lora_alpha": 3, "target_modules": LINEAR, "lora_bias": True}),
    "orthogonal": ("llama", {"r": 8, "target_modules": LINEAR, "init_lora_weights": "orthogonal"}),
    "layers": ("llama", {"r": 8, "target_modules": LINEAR, "layers_to_transform": [1]}),
    "tied-plain": ("qwen2-tied", {"r": 8, "target_modules": LINEAR}),
    "tied-tokens": ("llama-tied", {"r": 8, "target_modules": ATTENTION, "trainable_token_indices": [3, 500]}),
    "tied-saved-embedding": ("qwen2-tied", {"target_modules": ATTENTION, "modules_to_save": ["embed_tokens"]}),
    "tied-saved-output": ("llama-tied", {"target_modules": ATTENTION, "modules_to_save": ["lm_head"]}),
    "tied-saved-both": ("llama-tied", {"target_modules": ATTENTION, "modules_to_save": ["lm_head", "embed_tokens"]}),
    "tied-saved-ensured": (
        "qwen2-tied",
        {"target_modules": ATTENTION, "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
    ),
}


@pytest.fixture(scope="session", autouse=True)
def quiet() -> None:
    warnings.filterwarnings("ignore", category=UserWarning)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("models"))


class Models:
    """Bases and adapters, made once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def base(self, name: str, dtype: str) -> Path:
        folder = self.root / f"{name}-{dtype}"
        return folder if folder.exists() else make_model(folder, dtype=dtype, **BASES[name])

    def adapter(self, name: str, base: Path, config: dict[str, Any], **more: Any) -> Path:
        folder = self.root / f"{base.name}-{name}"
        return folder if folder.exists() else make_adapter(folder, base, **config, **more)


def read_all(source: MergedSource, name: str) -> Array:
    rows = source.tensors[name].rows
    blocks = [source.read(name, start, min(start + BLOCK, rows)) for start in range(0, rows, BLOCK)]
    return np.concatenate(blocks)


def merged_by_peft(base: Path, adapters: list[Path], *, resize: int | None = None, dtype: str = "auto") -> Any:
    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    if resize:
        model.resize_token_embeddings(resize)
    model = PeftModel.from_pretrained(model, adapters[0], adapter_name="0")
    for index, adapter in enumerate(adapters[1:], 1):
        model.load_adapter(adapter, adapter_name=str(index))
    return model


def state_of(model: Any) -> dict[str, Array]:
    """Weights as float32, by name; the output's also where it is tied."""
    return {name: tensor.float().numpy() for name, tensor in model.state_dict().items()}


def pairs(source: MergedSource, expected: Mapping[str, Array]) -> Iterator[tuple[str, Array, Array]]:
    """Every tensor of both; a tied source gives its embedding for the output."""
    tied = source.config["tie_word_embeddings"]
    assert set(source.tensors) | ({"lm_head.weight"} if tied else set()) == set(expected)
    for name, wanted in expected.items():
        ours = read_all(source, name if name in source.tensors else "model.embed_tokens.weight")
        assert ours.shape == wanted.shape, name
        yield name, ours, wanted


def assert_close(source: MergedSource, expected: Mapping[str, Array]) -> None:
    for name, ours, wanted in pairs(source, expected):
        largest = np.abs(wanted).max(axis=-1, keepdims=True)
        assert (np.abs(ours - wanted) <= 1e-6 * largest).all(), name


def assert_same_bits(source: MergedSource, expected: Mapping[str, Array], base: Path, dtype: str) -> None:
    """Another order of adding, such as another processor's BLAS has, may round a sum or a change to its neighbour:
    where base and change cancel out, that may be many units in the last place of what is left of them."""
    before = state_of(AutoModelForCausalLM.from_pretrained(base, dtype="auto"))
    differing, count = 0, 0
    for name, ours, wanted in pairs(source, expected):
        typed = [torch.from_numpy(array).to(getattr(torch, dtype)) for array in (ours, wanted)]
        assert (typed[0].float().numpy() == ours).all(), f"{name} is not of type {dtype}"
        steps = np.abs(np.subtract(*(_ordered(tensor) for tensor in typed)))
        change = torch.from_numpy(np.abs(before[name]) + np.abs(wanted)).to(getattr(torch, dtype))
        rounding = (torch.nextafter(change, torch.full_like(change, torch.inf)).float() - change.float()).numpy()
        wrong = (steps > 1) & (np.abs(ours - wanted) > rounding)
        assert not wrong.any(), f"{name}: {steps[wrong].max()} units in the last place"
        differing, count = differing + int((steps > 0).sum()), count + steps.size
    assert differing <= 1e-4 * count, f"{differing} of {count} differ"


def _ordered(tensor: torch.Tensor) -> NDArray[np.int64]:
    """Integers in the order of the floats, neighbours where those are: their bits are sign and magnitude."""
    bits = tensor.view(torch.int32 if tensor.dtype == torch.float32 else torch.int16).numpy().astype(np.int64)
    magnitude = bits & (0x7FFFFFFF if tensor.dtype == torch.float32 else 0x7FFF)
    return np.where(bits < 0, -magnitude, magnitude)


def changed(base: Path, expected: Mapping[str, Array]) -> int:
    """How many tensors the adapter changes: a comparison of unchanged ones would show nothing."""
    before = state_of(AutoModelForCausalLM.from_pretrained(base, dtype="auto"))
    return sum(1 for name, rows in expected.items() if not np.array_equal(rows, before[name]))


@pytest.mark.parametrize("case", CASES)
def test_float32(case: str, models: Models) -> None:
    name, config = CASES[case]
    base = models.base(name, "float32")
    adapter = models.adapter(case, base, config)
    expected = state_of(merged_by_peft(base, [adapter]).merge_and_unload())
    assert changed(base, expected) >= (7 if "layers_to_transform" in config else 4)
    assert_close(MergedSource(HuggingFaceFolder(base), [(open_adapter(adapter), 1.0)]), expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("case", CASES)
def test_base_type(case: str, dtype: str, models: Models) -> None:
    name, config = CASES[case]
    base = models.base(name, dtype)
    adapter = models.adapter(case, base, config)
    expected = state_of(merged_by_peft(base, [adapter]).merge_and_unload())
    source = MergedSource(HuggingFaceFolder(base), [(open_adapter(adapter), 1.0)], dtype="base")
    assert_same_bits(source, expected, base, dtype)


WEIGHTED = {
    "one": (("first", 0.5),),
    "two": (("first", 0.7), ("second", 1.6)),
    "three": (("first", 1.0), ("second", -0.25), ("third", 1.0)),
}
SEVERAL: dict[str, dict[str, Any]] = {
    "first": {"r": 8, "target_modules": LINEAR},
    "second": {"r": 32, "lora_alpha": 8, "use_rslora": True, "target_modules": [*ATTENTION, "embed_tokens"]},
    "third": {"r": 4, "target_modules": ["o_proj"], "modules_to_save": ["lm_head"], "use_dora": False},
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("case", WEIGHTED)
def test_several_adapters(case: str, dtype: str, models: Models) -> None:
    base = models.base("llama", dtype)
    names = [name for name, _ in WEIGHTED[case]]
    folders = [models.adapter(name, base, SEVERAL[name], seed=number) for number, name in enumerate(names)]
    weights = [weight for _, weight in WEIGHTED[case]]
    model = merged_by_peft(base, folders)
    for module in model.modules():
        if hasattr(module, "set_scale"):
            for number, weight in enumerate(weights):
                module.set_scale(str(number), weight)
    if "third" in names:
        model.base_model.model.lm_head.set_adapter(str(names.index("third")))
    expected = state_of(model.base_model.merge_and_unload(adapter_names=[str(n) for n in range(len(names))]))
    adapters = [(open_adapter(folder), weight) for folder, weight in zip(folders, weights, strict=True)]
    if dtype == "float32":
        assert_close(MergedSource(HuggingFaceFolder(base), adapters), expected)
    else:
        assert_same_bits(MergedSource(HuggingFaceFolder(base), adapters, dtype="base"), expected, base, dtype)


RESIZED: dict[str, tuple[str, dict[str, Any]]] = {
    "resized": ("llama", {"target_modules": LINEAR}),
    "resized-tied": ("qwen2-tied", {"target_modules": LINEAR}),
    "resized-saved": ("llama", {"target_modules": LINEAR, "modules_to_save": ["embed_tokens", "lm_head"]}),
    "resized-tied-saved": ("llama-tied", {"target_modules": LINEAR, "modules_to_save": ["embed_tokens", "lm_head"]}),
    "resized-tied-saved-embedding": ("llama-tied", {"target_modules": LINEAR, "modules_to_save": ["embed_tokens"]}),
    "resized-adapted": ("qwen2", {"target_modules": [*LINEAR, "embed_tokens", "lm_head"]}),
}


@pytest.mark.parametrize("rows", [576, 500])
@pytest.mark.parametrize("case", RESIZED)
def test_resized_vocabulary(case: str, rows: int, models: Models) -> None:
    name, config = RESIZED[case]
    base = models.base(name, "float32")
    adapter = models.adapter(f"{case}-{rows}", base, config, resize=rows)
    expected = state_of(merged_by_peft(base, [adapter], resize=rows).merge_and_unload())
    source = MergedSource(HuggingFaceFolder(base), [(open_adapter(adapter), 1.0)])
    assert source.config["vocab_size"] == rows
    assert_close(source, expected)


TIED: dict[str, tuple[str, dict[str, Any], bool]] = {
    "output": ("qwen2-tied", {"target_modules": [*ATTENTION, "lm_head"]}, False),
    "embedding": ("llama-tied", {"target_modules": [*ATTENTION, "embed_tokens"]}, False),
    "both": ("llama-tied", {"target_modules": [*ATTENTION, "embed_tokens", "lm_head"]}, False),
    "ensured": ("qwen2-tied", {"target_modules": [*ATTENTION, "embed_tokens"], "ensure_weight_tying": True}, True),
    "tokens-differ": (
        "llama-tied",
        {"target_modules": ATTENTION, "trainable_token_indices": {"embed_tokens": [1, 9], "lm_head": [2]}},
        False,
    ),
    "tokens-of-output": (
        "llama-tied",
        {"target_modules": ATTENTION, "trainable_token_indices": {"lm_head": [2, 400]}},
        False,
    ),
    "dora-output": ("qwen2-tied", {"target_modules": [*ATTENTION, "lm_head"], "use_dora": True}, False),
    "saved-embedding": ("qwen2-tied", {"target_modules": ATTENTION, "modules_to_save": ["embed_tokens"]}, False),
}


@pytest.mark.parametrize("case", TIED)
def test_tied_weights_become_what_they_were_in_training(case: str, models: Models) -> None:
    """PEFT's merge writes into the storage that both share; what counts is what the adapted model computed."""
    name, config, stays = TIED[case]
    base = models.base(name, "float32")
    adapter = models.adapter(f"tied-{case}", base, {"r": 8, **config})
    adapted = merged_by_peft(base, [adapter]).eval()
    source = MergedSource(HuggingFaceFolder(base), [(open_adapter(adapter), 1.0)])
    assert source.config["tie_word_embeddings"] is stays
    assert ("lm_head.weight" in source.tensors) is not stays
    ids = torch.arange(0, 500, 7)[None]
    with torch.no_grad():
        expected = torch.log_softmax(adapted(ids).logits, dim=-1)
        ours = torch.log_softmax(load(base, source)(ids).logits, dim=-1)
    assert (expected - ours).abs().max() < 1e-4


def load(base: Path, source: MergedSource) -> Any:
    """A model of transformers with the merged weights."""
    config = AutoConfig.from_pretrained(base)
    config.tie_word_embeddings = source.config["tie_word_embeddings"]
    config.vocab_size = source.config["vocab_size"]
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    state = {name: torch.from_numpy(read_all(source, name)) for name in source.tensors}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= ({"lm_head.weight"} if config.tie_word_embeddings else set())
    return model


def test_adapter_of_a_model_without_a_head(models: Models, tmp_path: Path) -> None:
    """Its names have no leading "model."."""
    base = models.base("llama", "float32")
    body = get_peft_model(AutoModel.from_pretrained(base), LoraConfig(r=4, target_modules=LINEAR))
    with torch.no_grad():
        for name, parameter in body.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
    body.save_pretrained(tmp_path)
    source = MergedSource(HuggingFaceFolder(base), [(open_adapter(tmp_path), 1.0)])
    for name, rows in state_of(body.merge_and_unload()).items():
        assert np.abs(read_all(source, f"model.{name}") - rows).max() <= 1e-6, name


def test_converted_pissa(models: Models, tmp_path: Path) -> None:
    """The conversion, added to the plain base, is the trained adapter on the base that PiSSA had changed."""
    base = models.base("qwen2", "float32")
    run = tmp_path / "run"
    config = LoraConfig(r=8, lora_alpha=16, target_modules=LINEAR, init_lora_weights="pissa")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    model.peft_config["default"].init_lora_weights = True
    model.save_pretrained(run / "pissa_init")
    model.peft_config["default"].init_lora_weights = "pissa"
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(0.01 * torch.randn_like(parameter))
    expected = {
        name: module.get_base_layer().weight + module.get_delta_weight("default")
        for name, module in model.base_model.model.named_modules()
        if hasattr(module, "get_delta_weight")
    }
    model.save_pretrained(run)
    model.save_pretrained(run / "pissa_converted", path_initial_model_for_weight_conversion=str(run / "pissa_init"))
    adapter = open_adapter(run)
    assert adapter.folder.name == "pissa_converted"
    source = MergedSource(HuggingFaceFolder(base), [(adapter, 1.0)])
    assert len(expected) == 14
    for name, rows in expected.items():
        assert np.abs(read_all(source, f"{name}.weight") - rows.detach().numpy()).max() <= 1e-5, name


def test_pickled_adapter_is_read_through_torch(models: Models, tmp_path: Path) -> None:
    base = models.base("llama", "float32")
    folder = models.adapter("plain", base, CASES["plain"][1])
    shutil.copy(folder / "adapter_config.json", tmp_path)
    torch.save(load_file(folder / "adapter_model.safetensors"), tmp_path / "adapter_model.bin")
    ours = MergedSource(HuggingFaceFolder(base), [(open_adapter(tmp_path), 1.0)])
    expected = MergedSource(HuggingFaceFolder(base), [(open_adapter(folder), 1.0)])
    for name in expected.tensors:
        assert np.array_equal(read_all(ours, name), read_all(expected, name)), name


@pytest.mark.bad_input("adapter pickle that runs code")
def test_pickle_that_runs_code_is_refused(models: Models, tmp_path: Path) -> None:
    folder = models.adapter("plain", models.base("llama", "float32"), CASES["plain"][1])
    shutil.copy(folder / "adapter_config.json", tmp_path)
    trace = tmp_path / "ran"
    torch.save({"x": Attack(str(trace))}, tmp_path / "adapter_model.bin")
    with pytest.raises(UnsafePickleError, match=r"adapter_model\.bin"):
        open_adapter(tmp_path)
    assert not trace.exists()


class Attack:
    """Makes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


def test_adapter_in_bfloat16(models: Models, tmp_path: Path) -> None:
    base = models.base("qwen3", "bfloat16")
    folder = models.adapter("plain", base, CASES["plain"][1])
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    halved = {name: tensor.bfloat16() for name, tensor in load_file(folder / "adapter_model.safetensors").items()}
    save_file(halved, tmp_path / "adapter_model.safetensors")
    expected = state_of(merged_by_peft(base, [tmp_path]).merge_and_unload())
    source = MergedSource(HuggingFaceFolder(base), [(open_adapter(tmp_path), 1.0)], dtype="base")
    assert_same_bits(source, expected, base, "bfloat16")
