"""SmolLM2 with the trained adapter over it, and merged: the same tokens with the same log-probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conch_ollama.resources import data_folder
from conch_ollama.runtimes.llama_cpp import LlamaCppWorker
from conch_ollama.workflows.adapter_export import export_adapter
from conch_ollama.workflows.demo import QUESTIONS
from conch_ollama.workflows.export import export
from tests.parts.smollm2 import smollm2_gguf


def answer(question: str, path: Path, *adapters: Path) -> dict[str, Any]:
    with LlamaCppWorker(path, num_ctx=256, threads=1, adapters=[(adapter, 1.0) for adapter in adapters]) as worker:
        prompt = worker.apply_template([{"role": "user", "content": question}])
        return worker.complete(prompt, max_tokens=32, n_probs=1)


def test_the_adapter_over_its_base_is_the_merged_model(tmp_path: Path) -> None:
    """Half precision all over: it rounds the merged weights, which the base and the adapter apart have not."""
    trained, plain = data_folder() / "adapter", {"types": ["f16"], "check": False, "template": "native"}
    base = export(smollm2_gguf(), name="base", out=tmp_path / "base", **plain).gguf
    merged = export(smollm2_gguf(), adapters=[trained], name="conch", out=tmp_path / "conch", **plain).gguf
    apart = export_adapter(base, trained, out=tmp_path / "apart", template="native", threads=1)
    for question in QUESTIONS:
        wanted, found = answer(question, merged), answer(question, base, apart.gguf)
        assert found["content"] == wanted["content"] != answer(question, base)["content"]
        for one, other in zip(wanted["completion_probabilities"], found["completion_probabilities"], strict=True):
            assert abs(one["logprob"] - other["logprob"]) < 0.02, one
