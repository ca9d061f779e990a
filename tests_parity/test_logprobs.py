"""An f32 export run by llama.cpp against transformers and PEFT: the same token ids, and the same next-token
log-probabilities (of the whole vocabulary, within 0.02) at several positions of multilingual texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import conch_ollama
from conch_ollama.runtimes.llama_cpp import LlamaCppWorker
from tests_parity.adapters import LINEAR, make_adapter
from tests_parity.models import LLAMA3_ROPE, make_model
from tests_parity.tokenizers import write_tokenizer

TOLERANCE = 0.02
VOCABULARY = 656  # 640 tokens and some rows without one, as Qwen has them
#: The last is long enough that a mistake in the rope's scaling shows.
TEXTS = (
    "请问你是谁？我是神奇海螺。怎么修复这个报错：TypeError: 'NoneType' object is not subscriptable（第 42 行）？",
    'You\'re sure? 1 12 123 1234567, 3.14159\n\n\tdef f(x: int) -> str:\n        return f"{x!r}"  # 😀👨‍👩‍👧‍👦❤️',
    "<|im_start|>user\nПривет, мир! Как дела?<|im_end|>\n<|im_start|>assistant\nمرحبا بالعالم! สวัสดีครับ",
    "日本語のテスト：カタカナ、ひらがな、漢字。안녕하세요, 마법의 소라고둥님! naïve café Zürich Ångström ∑ √ ½ ² ™. "
    "नमस्ते दुनिया, आप कैसे हैं? 繁體中文：請問您今天要點什麼？ SELECT * FROM menu WHERE price >= 3.50; -- 100%",
)
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}


@dataclass(frozen=True)
class Case:
    """A model: `rope` is rope_parameters, `config` further keys."""

    model_type: str
    tie: bool = False
    rope: dict[str, Any] | None = None
    config: dict[str, Any] = field(default_factory=dict)


CASES = {
    "llama": Case("llama"),
    "llama-tied": Case("llama", tie=True),
    "llama-biases": Case("llama", config={"attention_bias": True, "mlp_bias": True}),
    "llama-head_dim": Case("llama", config={"head_dim": 32}),
    "llama-llama3": Case("llama", rope=LLAMA3_ROPE, tie=True),
    "llama-linear": Case("llama", rope={"rope_type": "linear", "factor": 4.0}),
    "llama-yarn": Case("llama", rope=YARN),
    "llama-dynamic": Case("llama", rope={"rope_type": "dynamic", "factor": 2.0}),
    "mistral": Case("mistral"),
    "mistral-tied-head_dim": Case("mistral", tie=True, config={"head_dim": 32}),
    "qwen2": Case("qwen2"),
    "qwen2-tied": Case("qwen2", tie=True),
    "qwen2-yarn": Case("qwen2", rope=YARN),
    "qwen3": Case("qwen3"),
    "qwen3-tied": Case("qwen3", tie=True, config={"head_dim": 32}),
    "qwen3-yarn-attention-factor": Case("qwen3", rope={**YARN, "attention_factor": 1.5}),
    "qwen2-yarn-mscale": Case("qwen2", rope={**YARN, "mscale": 0.5, "mscale_all_dim": 1.0}),
}
SCALED = [name for name, case in CASES.items() if case.rope and case.rope["rope_type"] != "dynamic"]
ATTENTION = [name for name, case in CASES.items() if {"attention_factor", "mscale"} & (case.rope or {}).keys()]

MakeBase = Callable[[str], Path]
Logprobs = list[NDArray[np.float64]]


@pytest.fixture(scope="session")
def make_base(tmp_path_factory: pytest.TempPathFactory) -> MakeBase:
    """The base of a case, made once: a folder with its tokenizer."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            case, folder = CASES[name], tmp_path_factory.mktemp("base") / f"{name} 底座"
            window = {"sliding_window": None} if case.model_type == "mistral" else {}
            tokens = {"bos_token_id": 637, "eos_token_id": 639}
            settings = {**window, **tokens, **case.config}
            make_model(folder, case.model_type, tie=case.tie, rope_scaling=case.rope, vocab=VOCABULARY, **settings)
            made[name] = write_tokenizer(amplify(folder), case.model_type)
        return made[name]

    return make


def amplify(folder: Path) -> Path:
    """Multiply matrices and biases with 2 or 4, which is exact: fresh ones hardly look at the positions."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    for name, tensor in tensors.items():
        if "norm" not in name:
            tensor.mul_(2 if "embed_tokens" in name or "lm_head" in name else 4)
    save_file(tensors, path, metadata={"format": "pt"})
    return folder


def positions(ids: list[int]) -> list[int]:
    """Lengths of the prefixes after which the next token is compared."""
    return sorted({1, *(round(len(ids) * part / 4) for part in (1, 2, 3, 4))})


def token_ids(folder: Path) -> list[list[int]]:
    """The texts' token ids by transformers."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]


def reference(folder: Path, ids: list[list[int]], adapter: Path | None = None) -> Logprobs:
    """transformers' log-probabilities in float32, (positions, vocabulary) for each text; the adapter is not merged."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32", attn_implementation="eager")
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    with torch.no_grad():
        logits = [model(torch.tensor([text])).logits[0].double() for text in ids]
    return [
        torch.log_softmax(text, -1)[[length - 1 for length in positions(tokens)]].numpy()
        for text, tokens in zip(logits, ids, strict=True)
    ]


def ours(gguf: Path, ids: list[list[int]]) -> Logprobs:
    """llama.cpp's, the same way; asserts on the way that it tokenises the texts to the same ids."""
    with LlamaCppWorker(gguf, num_ctx=512, gpu_layers=0, threads=2) as worker:
        assert [worker.tokenize(text) for text in TEXTS] == ids
        return [np.stack([next_token(worker, text[:length]) for length in positions(text)]) for text in ids]


def next_token(worker: LlamaCppWorker, prompt: list[int]) -> NDArray[np.float64]:
    """Log-probabilities of every token after a prompt.

    llama.cpp gives none where the token that it picks ends the answer or is part of a character; so it is made to pick
    a letter. The probabilities that it gives are those before any such bias.
    """
    answer = worker.complete(
        prompt,
        max_tokens=1,
        n_probs=VOCABULARY,
        post_sampling_probs=False,
        cache_prompt=False,
        logit_bias=[[worker.tokenize("a")[0], 1000.0]],
    )
    found = np.full(VOCABULARY, np.nan)
    for entry in answer["completion_probabilities"][0]["top_logprobs"]:
        found[entry["id"]] = entry["logprob"]
    assert not np.isnan(found).any()
    return found


def distance(first: Logprobs, second: Logprobs) -> float:
    """The largest difference of a log-probability."""
    return max(float(np.abs(a - b).max()) for a, b in zip(first, second, strict=True))


def export(base: Path, out: Path, *adapters: Path, **options: Any) -> Path:
    """Export to f32 and give the GGUF's path."""
    result = conch_ollama.export(base, adapters=adapters, types=("f32",), out=out, name="m", check=False, **options)
    return next(file.path for file in result.files if file.recipe == "f32")


def lora(base: Path, folder: Path) -> Path:
    """A LoRA on all linear layers that moves the answers well beyond the tolerance."""
    return make_adapter(folder, base, r=8, lora_alpha=64, target_modules=LINEAR, dtype="float32")


@pytest.mark.parametrize("name", CASES)
def test_base(name: str, make_base: MakeBase, tmp_path: Path) -> None:
    base = make_base(name)
    ids = token_ids(base)
    far = distance(ours(export(base, tmp_path / "out"), ids), reference(base, ids))
    assert far <= TOLERANCE


@pytest.mark.parametrize(("name", "kept"), [*((name, False) for name in SCALED), *((name, True) for name in ATTENTION)])
def test_another_rope_would_show(name: str, kept: bool, make_base: MakeBase, tmp_path: Path) -> None:
    """The comparison has the power to see the scaling, or yarn's attention factor where the scaling is `kept`."""
    base, ids = make_base(name), token_ids(make_base(name))
    model = AutoModelForCausalLM.from_pretrained(base)
    rope = dict(model.config.rope_parameters)
    wanted = ("rope_type", "rope_theta", "factor", "original_max_position_embeddings") if kept else ("rope_theta",)
    model.config.rope_parameters = {"rope_type": "default", **{key: rope[key] for key in wanted}}
    model.save_pretrained(tmp_path / "other")
    far = distance(reference(tmp_path / "other", ids), reference(base, ids))
    assert far > 5 * TOLERANCE


@pytest.mark.parametrize(
    "name", ["llama", "llama-tied", "llama-llama3", "mistral", "qwen2", "qwen2-tied", "qwen3-tied"]
)
def test_base_and_adapter(name: str, make_base: MakeBase, tmp_path: Path) -> None:
    base = make_base(name)
    adapter = lora(base, tmp_path / "adapter")
    ids = token_ids(base)
    wanted = reference(base, ids, adapter)
    moved = distance(wanted, reference(base, ids))
    far = distance(ours(export(base, tmp_path / "out", adapter), ids), wanted)
    assert moved > 5 * TOLERANCE
    assert far <= TOLERANCE


@pytest.mark.parametrize("name", ["llama-tied", "mistral", "qwen2", "qwen3"])
def test_merged_folder(name: str, make_base: MakeBase, tmp_path: Path) -> None:
    base = make_base(name)
    adapter = lora(base, tmp_path / "adapter")
    ids = token_ids(base)
    merged = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype="float32"), adapter)
    merged.merge_and_unload().save_pretrained(tmp_path / "merged")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "merged")
    assert (
        distance(ours(export(tmp_path / "merged", tmp_path / "out"), ids), reference(base, ids, adapter)) <= TOLERANCE
    )


@pytest.mark.parametrize(
    "name", ["llama", "llama-llama3", "llama-biases", "mistral-tied-head_dim", "qwen2-yarn", "qwen2-tied", "qwen3-tied"]
)
def test_gguf_base_and_adapter(name: str, make_base: MakeBase, tmp_path: Path) -> None:
    base = make_base(name)
    adapter = lora(base, tmp_path / "adapter")
    ids = token_ids(base)
    gguf = export(base, tmp_path / "base")
    far = distance(ours(export(gguf, tmp_path / "out", adapter), ids), reference(base, ids, adapter))
    assert far <= TOLERANCE


@pytest.mark.parametrize("name", ["qwen2-tied", "llama"])
def test_adapter_with_whole_embeddings(name: str, make_base: MakeBase, tmp_path: Path) -> None:
    """`modules_to_save` on a tied model unties it."""
    base = make_base(name)
    adapter = make_adapter(
        tmp_path / "adapter", base, r=4, target_modules=["q_proj"], modules_to_save=["lm_head"], dtype="float32"
    )
    ids = token_ids(base)
    far = distance(ours(export(base, tmp_path / "out", adapter), ids), reference(base, ids, adapter))
    assert far <= TOLERANCE


@pytest.mark.parametrize("name", ["llama-llama3", "llama-biases", "qwen2-tied", "qwen3-yarn-attention-factor"])
def test_gguf_base_and_adapter_to_hugging_face_folder(name: str, make_base: MakeBase, tmp_path: Path) -> None:
    """A GGUF's configuration, its rope too, read back for transformers."""
    base = make_base(name)
    adapter = lora(base, tmp_path / "adapter")
    ids = token_ids(base)
    gguf = export(base, tmp_path / "base")
    export(gguf, tmp_path / "out", adapter, hugging_face=True)
    far = distance(reference(tmp_path / "out" / "hf", ids), reference(base, ids, adapter))
    assert far <= 0.001
