"""What is here and what to use: versions, runtimes, Ollama, memory, disk. Changes nothing."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conch_ollama.errors import ConchError
from conch_ollama.exporter.provenance import versions
from conch_ollama.quantize.kernels import kernel_for
from conch_ollama.quantize.types import GGML
from conch_ollama.workflows.machine import Machine, free_disk, this_machine

Rows = tuple[tuple[str, str], ...]
_GB = 10**9
#: File size of a q4_K_M model in bytes per parameter, about.
_Q4_BYTES = 0.6


@dataclass(frozen=True)
class Examination:
    """Sections of (what, finding), and advice in sentences."""

    sections: tuple[tuple[str, Rows], ...]
    advice: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Everything, in plain values."""
        return {**{title: dict(rows) for title, rows in self.sections}, "advice": list(self.advice)}


def examine(host: str | None = None) -> Examination:
    """Look around. Nothing missing is an error: it is a finding."""
    machine = this_machine()
    found = versions()
    runtime = _embedded()
    ollama = _ollama(host)
    sections = (
        ("machine", _machine(machine)),
        ("versions", tuple(found.items())),
        ("runtimes", (*runtime.items(), *ollama.items())),
        ("kernels", _kernels()),
    )
    return Examination(sections, tuple(_advice(machine, runtime, ollama)))


def _machine(machine: Machine) -> Rows:
    return (
        ("system", f"{machine.system} on {machine.processor}"),
        ("cores", str(machine.cores)),
        ("memory", f"{machine.memory / _GB:.1f} GB, {machine.memory_available / _GB:.1f} GB available"),
        ("disk here", f"{free_disk(Path()) / _GB:.1f} GB free"),
    )


def _embedded() -> dict[str, str]:
    if importlib.util.find_spec("xllamacpp") is None:
        return {"embedded llama.cpp": "missing: pip install xllamacpp"}
    try:
        import xllamacpp

        devices = [str(device.get("name", device)) for device in xllamacpp.get_device_info()]
    except Exception as err:  # a broken native library can raise anything; it is the finding
        return {"embedded llama.cpp": f"broken: {err}"}
    return {"embedded llama.cpp": f"xllamacpp, devices: {', '.join(devices) or 'CPU'}"}


def _ollama(host: str | None) -> Mapping[str, str]:
    from conch_ollama.ollama.client import OllamaClient

    try:
        client = OllamaClient(host)
        return {"Ollama": f"{client.version()} at {client.host}, {len(client.list_models())} models"}
    except ConchError as err:
        return {"Ollama": f"none: {err.message}"}


def _kernels() -> Rows:
    by_kernel: dict[str, list[str]] = {}
    for name, number in GGML.items():
        try:
            by_kernel.setdefault(kernel_for(number).name, []).append(name)
        except ConchError:
            by_kernel.setdefault("none", []).append(name)
    return tuple((kernel, ", ".join(names)) for kernel, names in by_kernel.items())


def _advice(machine: Machine, runtime: Mapping[str, str], ollama: Mapping[str, str]) -> list[str]:
    fits = machine.memory * 0.6 / _Q4_BYTES / _GB
    found = [f"a q4_K_M model of up to about {fits:.0f} billion parameters fits this machine's memory"]
    if ollama["Ollama"].startswith("none"):
        found.append("no Ollama answers: `conch chat out/` works without it; or install Ollama and run `ollama serve`")
    else:
        found.append("`conch up BASE --adapter DIR --name NAME` exports, registers and chats")
    if not runtime["embedded llama.cpp"].startswith("xllamacpp"):
        found.append("without the embedded llama.cpp an export can't be checked: --no-check, or pip install xllamacpp")
    if free_disk(Path()) < 5 * _GB:
        found.append("less than 5 GB of disk are free here: give -o on another disk")
    return found
