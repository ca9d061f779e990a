"""An adapter as a GGUF of its own: over the base it must do what the merged model does, in llama.cpp and in Ollama."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.formats.safetensors import SafetensorsFile
from conch_ollama.ollama.client import OllamaClient
from conch_ollama.ollama.modelfile import load
from conch_ollama.resources import data_folder
from conch_ollama.runtimes.llama_cpp import LlamaCppWorker
from conch_ollama.runtimes.llama_server import LlamaCppRuntime
from conch_ollama.workflows.adapter_export import export_adapter
from conch_ollama.workflows.chat import open_chat
from conch_ollama.workflows.claims import FAILS, HOLDS
from conch_ollama.workflows.demo import QUESTIONS
from conch_ollama.workflows.export import export
from conch_ollama.workflows.register import register
from conch_ollama.workflows.serve_models import llama_model
from conch_ollama.workflows.verify import verify
from conch_ollama.workflows.verify_sources import APART
from tests.parts.ollama import OllamaServer
from tests.parts.tiny import config, write_adapter, write_model, write_safetensors, write_tokenizer
from tests.runtimes.supervised import run, say, workers

MODULES = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
FEED_FORWARD = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
PROMPT = "the magic conch of"
ODD = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}"
VOCABULARY = config()["vocab_size"]


def full_adapter(folder: Path, base: Mapping[str, Any], *, ends: bool = False, **changes: Any) -> Path:
    """LoRA of every linear layer, with `ends` of both embeddings too; ranks and alphas that differ by pattern."""
    rng = np.random.default_rng(7)
    hidden, ffn, vocabulary = base["hidden_size"], base["intermediate_size"], base["vocab_size"]
    keys = base["num_key_value_heads"] * (base.get("head_dim") or hidden // base["num_attention_heads"])
    sizes = dict.fromkeys(MODULES, (hidden, hidden)) | dict.fromkeys(MODULES[1:3], (keys, hidden))
    sizes |= dict.fromkeys(FEED_FORWARD, (ffn, hidden)) | {"mlp.down_proj": (hidden, ffn)}
    tensors: dict[str, np.ndarray] = {}

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.12, shape).astype(np.float32)

    for layer in range(base["num_hidden_layers"]):
        for module, (rows, columns) in sizes.items():
            rank = 6 if module.endswith("v_proj") else 4
            at = f"base_model.model.model.layers.{layer}.{module}"
            tensors |= {f"{at}.lora_A.weight": draw(rank, columns), f"{at}.lora_B.weight": draw(rows, rank)}
    if ends:
        at = "base_model.model.model.embed_tokens.lora_embedding_"
        tensors |= {f"{at}A": draw(4, vocabulary), f"{at}B": draw(hidden, 4)}
        at = "base_model.model.lm_head.lora_"
        tensors |= {f"{at}A.weight": draw(4, hidden), f"{at}B.weight": draw(vocabulary, 4)}
    patterns = {"rank_pattern": {"v_proj": 6}, "alpha_pattern": {"layers.1.mlp.up_proj": 3, "k_proj": 24}}
    write_adapter(folder, base, alpha=12, target_modules=["q_proj"], **{**patterns, **changes})
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    return folder


def greedy(path: Path, *adapters: Path) -> tuple[list[int], list[dict[int, float]]]:
    """Greedy tokens, and the log-probabilities of all tokens for each piece of text that they make."""
    with LlamaCppWorker(path, num_ctx=256, threads=1, adapters=[(adapter, 1.0) for adapter in adapters]) as worker:
        answer = worker.complete(PROMPT, max_tokens=12, n_probs=VOCABULARY, ignore_eos=True)
    places = [place["top_logprobs"] for place in answer["completion_probabilities"]]
    return answer["tokens"], [{one["id"]: one["logprob"] for one in place} for place in places]


def tiny(tmp_path: Path, model_type: str = "llama", **changes: Any) -> Path:
    """A tiny model as f32 GGUF, so that nothing but the adapter is rounded."""
    base = write_model(tmp_path / "base", model_type, **changes)
    return export(base, types=["f32"], name="base", out=tmp_path / "base-gguf", check=False, template="native").gguf


@pytest.mark.parametrize(
    ("model_type", "changes", "weight"),
    [
        ("llama", {"ends": True}, 1.0),
        ("llama", {"use_rslora": True}, -0.5),
        ("qwen2", {"use_rslora": True, "ends": True}, 1.0),
        ("qwen3", {}, 0.5),
    ],
)
def test_it_answers_as_the_merged_model(
    tmp_path: Path, model_type: str, changes: dict[str, Any], weight: float
) -> None:
    base = tiny(tmp_path, model_type)
    adapter = full_adapter(tmp_path / "adapter", config(model_type), **changes)
    out = {"check": False, "template": "native"}
    merged = export(base, adapters=[(adapter, weight)], types=["f32"], out=tmp_path / "merged", **out).gguf
    wanted, likely = greedy(merged)
    assert wanted != greedy(base)[0]
    for type, whole, error in (("f32", 0.02, 1e-5), ("f16", 0.1, 1e-3)):
        apart = export_adapter(base, (adapter, weight), type=type, out=tmp_path / type, template="native", threads=1)
        found, found_likely = greedy(base, apart.gguf)
        assert found == wanted
        for one, other in zip(likely, found_likely, strict=True):
            assert len(one) == len(other) == VOCABULARY
            assert abs(max(one.values()) - max(other.values())) < 0.02
            assert max(abs(one[token] - other[token]) for token in one) < whole
        assert apart.checks[0].continuation
        report = json.loads((apart.folder / "export.json").read_text(encoding="utf-8"))
        assert 0 < report["largest_error_against_merge"] < error


def test_the_layout_is_llama_cpps(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    adapter = full_adapter(tmp_path / "adapter", config())
    result = export_adapter(base, adapter, type="f32", name="conch lora", out=tmp_path / "out")
    with GGUFFile(result.gguf) as file, SafetensorsFile(adapter / "adapter_model.safetensors") as given:
        said = {key: file.metadata[key].data for key in file.metadata}
        assert (said["general.type"], said["adapter.type"], said["general.architecture"]) == (
            "adapter",
            "lora",
            "llama",
        )
        assert said["adapter.lora.alpha"] == 12 and said["general.name"] == "conch lora"
        assert "conch.adapter.0.sha256" in said and "conch.merge.dtype" not in said
        assert len(file.tensors) == 2 * 2 * 7
        assert file.tensors["blk.1.ffn_down.weight.lora_a"].shape == (4, 96)
        b = given.read("base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight")
        # Halves of a head become neighbours, as in the base.
        interleaved = b.reshape(4, 2, 8, 4).swapaxes(1, 2).reshape(64, 4)
        np.testing.assert_array_equal(file.read_rows("blk.0.attn_q.weight.lora_b", 0, 64).reshape(64, 4), interleaved)
        # What the patterns say otherwise is in B: alpha 3 instead of 12.
        up = given.read("base_model.model.model.layers.1.mlp.up_proj.lora_B.weight")
        np.testing.assert_array_equal(file.read_rows("blk.1.ffn_up.weight.lora_b", 0, 96).reshape(96, 4), up / 4)
    assert sorted(path.name for path in result.folder.iterdir()) == ["conch-lora.lora.f32.gguf", "export.json"]
    assert all(str(tmp_path).encode() not in path.read_bytes() for path in result.folder.iterdir())


def test_what_half_precision_would_spoil_stays_float32(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    adapter = write_adapter(tmp_path / "adapter", config())
    with SafetensorsFile(adapter / "adapter_model.safetensors") as given:
        tensors = {name: given.read(name) for name in given.tensors}
    at = "base_model.model.model.layers.0"
    tensors[f"{at}.mlp.down_proj.lora_A.weight"] *= np.float32(1e7)
    tensors[f"{at}.mlp.down_proj.lora_B.weight"] *= np.float32(1e-7)
    write_safetensors(adapter / "adapter_model.safetensors", tensors)
    result = export_adapter(base, adapter, out=tmp_path / "out")
    with GGUFFile(result.gguf) as file:
        spoilt = {name for name, tensor in file.tensors.items() if tensor.dtype == "F32"}
    assert spoilt == {"blk.0.ffn_down.weight.lora_a", "blk.0.ffn_down.weight.lora_b"}
    reasons = {reason for reason, _, _ in result.preflight.files[0].fallbacks}
    assert reasons == {"too large for F16", "too small for F16"}


@pytest.mark.parametrize("alpha", [0, 8])
def test_a_scale_of_nothing_adds_nothing(tmp_path: Path, alpha: int) -> None:
    """llama.cpp takes alpha 0 for a scale of 1."""
    base = tiny(tmp_path)
    adapter = write_adapter(tmp_path / "adapter", config(), alpha=alpha)
    apart = export_adapter(base, (adapter, float(alpha == 0)), out=tmp_path / "apart", template="native", check=False)
    assert greedy(base, apart.gguf) == greedy(base)


def test_the_modelfile_names_base_and_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny(tmp_path)
    write_adapter(tmp_path / "adapter", config())
    monkeypatch.chdir(tmp_path)
    result = export_adapter("base-gguf/base.f32.gguf", "adapter", out="out", check=False)
    modelfile = load(result.modelfiles[0])
    assert (modelfile.from_, modelfile.adapter) == ("../base-gguf/base.f32.gguf", "./adapter.lora.f16.gguf")
    assert modelfile.template is not None and "<|im_end|>" in modelfile.parameters["stop"]
    model = llama_model(Path("out"))
    assert model.path.samefile("base-gguf/base.f32.gguf")
    assert [(adapter.path.name, adapter.scale) for adapter in model.adapters] == [("adapter.lora.f16.gguf", 1.0)]


def test_a_runtime_serves_base_and_adapter_from_one_worker(tmp_path: Path) -> None:
    base = tiny(tmp_path)
    adapter = full_adapter(tmp_path / "adapter", config())
    merged = export(base, adapters=[adapter], types=["f32"], name="merged", out=tmp_path / "merged", check=False)
    export_adapter(base, adapter, type="f32", name="apart", out=tmp_path / "apart", check=False, num_ctx=512)
    folders = {"apart": tmp_path / "apart", "base": base, "merged": merged.gguf}
    models = [llama_model(path, name=name, num_ctx=512, threads=1, slots=1) for name, path in folders.items()]

    async def work(runtime: LlamaCppRuntime) -> None:
        asked = {"temperature": 0, "max_tokens": 8}
        answers = {name: await say(runtime, name, **asked) for name in ("apart", "base", "merged", "apart")}
        assert answers["apart"] == answers["merged"] != answers["base"]
        assert len(workers(runtime)) == 2

    run(work, *models)


@pytest.mark.long
def test_chat_puts_the_adapter_over_the_base(tmp_path: Path) -> None:
    base = tiny(tmp_path)
    adapter = full_adapter(tmp_path / "adapter", config())
    merged = export(base, adapters=[adapter], types=["f32"], out=tmp_path / "merged", check=False)
    apart = export_adapter(base, adapter, type="f32", out=tmp_path / "apart", check=False)
    answers = []
    for folder in (merged.folder, apart.folder, base):
        with open_chat(folder, temperature=0.0, num_ctx=256) as chat:
            answers.append("".join(islice(chat.say("conch?"), 6)))
    assert answers[0] == answers[1] != answers[2]


@pytest.mark.long
def test_ollama_takes_it(tmp_path: Path, ollama_server: OllamaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a file, and over a model that Ollama has."""
    monkeypatch.setenv("OLLAMA_MODELS", str(ollama_server.models))
    base = tiny(tmp_path)
    adapter = full_adapter(tmp_path / "adapter", config())
    merged = export(base, adapters=[adapter], types=["f32"], out=tmp_path / "merged", check=False)
    apart = export_adapter(base, adapter, type="f32", out=tmp_path / "apart", check=False)
    plain = export(base, types=["f32"], out=tmp_path / "plain", check=False)
    register(plain.folder, name="adapter-base", host=ollama_server.host, ask=None)
    stored = export_adapter("adapter-base", adapter, type="f32", out=tmp_path / "stored", check=False)
    assert load(stored.modelfiles[0]).from_ == "adapter-base"
    answers = {}
    for name, folder in (("merged", merged.folder), ("apart", apart.folder), ("stored", stored.folder)):
        register(folder, name=f"adapter-{name}", host=ollama_server.host, ask=None)
        with OllamaClient(ollama_server.host) as client:
            options = {"temperature": 0.0, "num_predict": 8, "num_ctx": 256}
            said = client.chat(f"adapter-{name}", [{"role": "user", "content": "conch?"}], options=options)
            answers[name] = "".join(said)
    assert answers["merged"] == answers["apart"] == answers["stored"] != ""


def test_the_conch_speaks_over_the_quantised_base(tmp_path: Path, smollm2_gguf: Path) -> None:
    """The strict comparison, in half precision, is in tests_proof."""
    apart = export_adapter(smollm2_gguf, data_folder() / "adapter", out=tmp_path / "out", template="native", threads=1)
    assert load(apart.modelfiles[0]).from_ == str(smollm2_gguf)
    with LlamaCppWorker(smollm2_gguf, num_ctx=256, threads=1, adapters=[(apart.gguf, 1.0)]) as worker:
        said = "".join(worker.chat([{"role": "user", "content": QUESTIONS[0]}], max_tokens=32, temperature=0))
    assert "海螺" in said


def test_it_can_be_verified(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    adapter = full_adapter(tmp_path / "adapter", config())
    result = export_adapter(base, (adapter, 0.5), out=tmp_path / "out")
    claims = verify(result.folder, base=base, adapters=[adapter]).claims
    assert {claim.verdict for claim in claims} == {HOLDS}, claims
    assert any(claim.claim == APART for claim in claims)
    # One of the same shapes in its place, with other values in one tensor.
    head = "base_model.model.model.layers.1.mlp.gate_proj"
    other = full_adapter(tmp_path / "other" / "adapter", config())
    with SafetensorsFile(other / "adapter_model.safetensors") as given:
        tensors = {name: given.read(name) for name in given.tensors}
    tensors[f"{head}.lora_B.weight"] *= np.float32(1.05)
    write_safetensors(other / "adapter_model.safetensors", tensors)
    changed = export_adapter(base, (other, 0.5), out=tmp_path / "changed")
    result.gguf.write_bytes(changed.gguf.read_bytes())
    claims = verify(result.folder, base=base, adapters=[adapter]).claims
    (failed,) = (claim for claim in claims if claim.claim == APART)
    assert failed.verdict == FAILS and "blk.1.ffn_gate.weight" in failed.detail


def test_another_tokenizer_is_told(tmp_path: Path) -> None:
    base = tiny(tmp_path)
    adapter = write_adapter(tmp_path / "adapter", config())
    write_tokenizer(adapter, chat_template=ODD)
    told = export_adapter(base, adapter, out=tmp_path / "same", check=False, template="native").warnings
    assert any("another chat template" in text for text in told)
    assert not any("another tokenizer" in text for text in told)
    settings = json.loads((adapter / "tokenizer.json").read_text(encoding="utf-8"))
    settings["added_tokens"][0]["content"] = "<|conch|>"
    settings["model"]["vocab"]["<|conch|>"] = settings["model"]["vocab"].pop("<|endoftext|>")
    (adapter / "tokenizer.json").write_text(json.dumps(settings), encoding="utf-8")
    for number, place in enumerate((base, tmp_path / "base")):
        told = export_adapter(place, adapter, out=tmp_path / str(number), check=False, template="native").warnings
        assert any("token 0 is '<|conch|>' there and '<|endoftext|>' in" in text for text in told)
