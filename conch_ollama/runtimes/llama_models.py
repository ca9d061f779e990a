"""The models of the llama.cpp runtime: what a user says of one, and what is planned for it from machine and file."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conch_ollama.errors import NotFoundError, RuntimeRefusedError, UsageError
from conch_ollama.runtimes.gguf_card import GGUFFacts, read_facts
from conch_ollama.runtimes.machine_fit import Fit, Machine, fit, gpu_advice
from conch_ollama.runtimes.protocol import Body, ModelCard
from conch_ollama.runtimes.worker_process import worker_environment
from conch_ollama.runtimes.worker_seats import WorkerPlan

#: Name of the model inside a worker, whichever of ours it is for.
ALIAS = "conch"
_HTTP_THREADS = 128


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter as a GGUF, with the strength it is used at."""

    path: Path
    scale: float = 1.0


@dataclass(frozen=True)
class LlamaCppModel:
    """A model by name: a GGUF, and how it is run. What is 0 is chosen from the machine and the file.

    `num_ctx`: tokens that one answer may use; `slots`: answers at once; `gpu_layers`: -1 leaves it to llama.cpp;
    `binding`: "xllamacpp", or "llama-cpp-python" for people who compiled that for their GPU (one answer at a time, one
    adapter at most, no embeddings, tool calls and thoughts left in the text); `keep_alive`: seconds after the last
    answer, negative: for ever; `options`: Modelfile parameters, for what a request leaves open; `adapters`: GGUF
    adapters, applied to this model's answers only: models that differ in nothing else but name, options and adapters
    share a worker.
    """

    name: str
    path: Path
    num_ctx: int = 0
    threads: int = 0
    slots: int = 0
    gpu_layers: int = -1
    binding: str = "xllamacpp"
    keep_alive: float = 300.0
    options: Mapping[str, Any] = field(default_factory=dict)
    system: str = ""
    adapters: tuple[Adapter, ...] = ()
    version: str = ""


@dataclass(frozen=True)
class Planned:
    """A model with what was chosen for it. `lora`: the field of its requests, None where the worker has no adapters.

    `vectors`: the worker for its embeddings. llama.cpp chooses adapters for each answer, but not for each vector, so a
    model with adapters needs one of its own for these; the others' are made beside their answers.
    """

    model: LlamaCppModel
    facts: GGUFFacts
    fit: Fit
    plan: WorkerPlan
    vectors: WorkerPlan
    lora: list[dict[str, Any]] | None

    @property
    def plans(self) -> set[WorkerPlan]:
        return {self.plan, self.vectors}


def plan_all(models: Sequence[LlamaCppModel], machine: Machine) -> dict[str, Planned]:
    """Name -> plan. Raises NotFoundError and BadFileError for files that are not there or no GGUF."""
    beside: dict[tuple[Any, ...], list[Path]] = {}
    for model in models:
        known = beside.setdefault(_kin(model), [])
        known += [adapter.path for adapter in model.adapters if adapter.path not in known]
    entries: dict[str, Planned] = {}
    for model in models:
        if not model.path.is_file():
            raise NotFoundError(f"no such file: {model.path}", hint="give the GGUF that `conch export` wrote")
        facts = read_facts(model.path)
        _check(model)
        slots = model.slots if model.binding == "xllamacpp" else 1
        chosen = fit(facts, machine, num_ctx=model.num_ctx, slots=slots, threads=model.threads)
        adapters = beside[_kin(model)]
        for path in adapters:
            if not path.is_file():
                raise NotFoundError(f"no such adapter: {path}", hint="`conch export --adapter-only` writes one")
        silent = [Adapter(path, 0.0) for path in adapters]
        if model.binding != "xllamacpp":
            silent = list(model.adapters)
        plan = WorkerPlan.of(model.path.name, chosen.memory, _settings(model, facts, chosen, silent))
        vectors = plan
        if model.adapters:
            alone = fit(facts, machine, num_ctx=chosen.num_ctx, slots=1, threads=chosen.threads)
            vectors = WorkerPlan.of(model.name, alone.memory, _settings(model, facts, alone, model.adapters))
        scales = {adapter.path: adapter.scale for adapter in model.adapters}
        lora = [{"id": n, "scale": scales.get(path, 0.0)} for n, path in enumerate(adapters)] or None
        entries[model.name] = Planned(model, facts, chosen, plan, vectors, lora)
    return entries


def _check(model: LlamaCppModel) -> None:
    if model.binding not in {"xllamacpp", "llama-cpp-python"}:
        raise UsageError(f"{model.name}: no such binding: {model.binding}", hint="xllamacpp or llama-cpp-python")
    if model.binding == "llama-cpp-python" and len(model.adapters) > 1:
        raise UsageError(f"{model.name}: llama-cpp-python takes one adapter, not {len(model.adapters)}")


def describe(entries: Iterable[Planned], gpus: frozenset[str], memory: int) -> list[str]:
    """What was chosen, line by line. `gpus`: as Machine has them; `memory`: the limit for all that is loaded."""
    lines = []
    for entry in entries:
        card, fit = entry.facts.card, entry.fit
        what = ", ".join(part for part in (card.architecture, card.quantization, _size(card.size)) if part)
        stays = entry.model.keep_alive
        lines.append(f"{entry.model.name}: {entry.model.path} ({what})")
        lines.append(
            f"  {fit.slots} answer{'s' if fit.slots > 1 else ''} at once, each up to {fit.num_ctx} tokens of "
            f"{card.context_length}; {fit.threads} threads; about {_size(fit.memory)} when loaded; "
            + ("stays loaded" if stays < 0 else f"unloaded after {stays:g} s without a request")
        )
    lines.append(f"memory: {_size(memory)} for all that is loaded; what does not fit beside others takes their place")
    devices = _usable_devices() if gpus - {"apple"} else None
    lines.append(gpu_advice(gpus, devices))
    return lines


def _settings(model: LlamaCppModel, facts: GGUFFacts, chosen: Fit, adapters: Sequence[Adapter]) -> dict[str, Any]:
    """Settings of worker.py. The adapters' scales are for requests that say nothing of them."""
    return {
        "binding": model.binding,
        "path": str(model.path),
        "name": ALIAS,
        "num_ctx": chosen.num_ctx * chosen.slots,
        "threads": chosen.threads,
        "slots": chosen.slots,
        "gpu_layers": model.gpu_layers,
        "adapters": [(str(adapter.path), adapter.scale) for adapter in adapters],
        # A model that answers can make vectors beside it, in the same worker.
        "embedding": True,
        "pooling": None if facts.pooling or not facts.answers else "LAST",
        # What reads a text whole, in one batch, needs room for it.
        "ubatch": 0 if facts.answers else chosen.num_ctx,
        # Each waiting connection takes a thread of that server's; they cost nothing while they wait.
        "http_threads": _HTTP_THREADS,
        "cache_ram_mib": chosen.prompt_cache >> 20,
        "verbosity": 2,
    }


def _kin(model: LlamaCppModel) -> tuple[Any, ...]:
    """Models that are equal in this share a worker."""
    kin = (model.path, model.num_ctx, model.threads, model.slots, model.gpu_layers, model.binding)
    # That binding has its adapter from the start.
    return kin if model.binding == "xllamacpp" else (*kin, model.adapters)


def card_of(entry: Planned) -> ModelCard:
    model = entry.model
    return dataclasses.replace(
        entry.facts.card,
        name=model.name,
        system=model.system,
        version=model.version,
        slots=entry.fit.slots,
        options={"num_ctx": entry.fit.num_ctx, **model.options},
    )


def _usable_devices() -> list[str] | None:
    """What the installed llama.cpp can compute on besides the CPU, asked of a child: loading a driver may end it."""
    command = [sys.executable, "-m", "conch_ollama.runtimes.worker", "--devices"]
    try:
        told = subprocess.run(
            command, env=worker_environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=True
        )
        return [f"{device['name']} ({device['description']})" for device in json.loads(told.stdout)]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return []


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count >> 20} MiB"


def refuse_tools(entry: Planned, body: Body) -> None:
    """llama.cpp leaves out what a template has no place for without a word, even tools that must be called."""
    if not body.get("tools") or body.get("tool_choice") in ("none", {"type": "none"}):
        return
    if "tools" not in entry.facts.card.capabilities:
        raise RuntimeRefusedError(f"{entry.model.name} does not support tools: its chat template has no place for them")
