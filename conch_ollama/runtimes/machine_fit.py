"""Chooses what is left open (context, answers at once, threads) from the machine and the model's file.

Pure but for looking at the machine. Sizes in bytes, estimated from above: weights whole, the context's cache in f16,
and llama.cpp's buffers.
"""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from conch_ollama.runtimes.container import cores_here, kernel_text, memory_left
from conch_ollama.runtimes.gguf_card import GGUFFacts

_OVERHEAD = 96 << 20
_UBATCH = 512
_SLOTS = (8, 4, 2, 1)
_LEAST_CACHE, _MOST_CACHE = 64 << 20, 1 << 30
_CONTEXT, _LEAST_CONTEXT = 8192, 2048
_INTEL = "0x8086"  # PCI's number of the vendor
_WHEELS = "pip install xllamacpp --force-reinstall --index-url https://xorbitsai.github.io/xllamacpp/whl"


@dataclass(frozen=True)
class Machine:
    """`memory`: what may be used; `gpus`: what can be seen of "nvidia", "amd", "intel", "apple" without a library."""

    memory: int
    cores: int
    gpus: frozenset[str] = frozenset()

    def within(self, memory: int | None) -> Machine:
        """With no more memory than that."""
        return self if memory is None else replace(self, memory=min(self.memory, memory))


@dataclass(frozen=True)
class Fit:
    """What one worker is started with. `prompt_cache`: for prompts of answers that have ended, so that a conversation
    that goes on is not read anew; `memory`: what all will take, about."""

    num_ctx: int
    slots: int
    threads: int
    prompt_cache: int
    memory: int


def look_at_machine() -> Machine:
    """This machine; limits of a container count."""
    import psutil

    memory, left, cores = psutil.virtual_memory(), memory_left(), cores_here()
    return Machine(
        memory=memory.available if left is None else min(memory.available, left),
        # Two threads of one core share its arithmetic: a second one slows ggml down.
        cores=min(cores, psutil.cpu_count(logical=False) or cores),
        gpus=_gpus(),
    )


def fit(facts: GGUFFacts, machine: Machine, *, num_ctx: int = 0, slots: int = 0, threads: int = 0) -> Fit:
    """Fill in what is 0. At least 2048 tokens and one answer, even if that is more than there is."""
    trained = facts.card.context_length or _LEAST_CONTEXT
    room = max(0, int(machine.memory * 0.8) - facts.card.size - _buffers(facts)) // 2
    if not num_ctx:
        num_ctx = min(trained, _CONTEXT)
        while num_ctx > _LEAST_CONTEXT and num_ctx * facts.token_bytes > room:
            num_ctx //= 2
    num_ctx = min(num_ctx, trained)
    if not slots:
        slots = next((n for n in _SLOTS if n * num_ctx * facts.token_bytes <= room), 1)
    memory = facts.card.size + num_ctx * slots * facts.token_bytes + _buffers(facts)
    cache = min(_MOST_CACHE, max(_LEAST_CACHE, memory // 8))
    return Fit(num_ctx, slots, threads or machine.cores, cache, memory + cache)


def _buffers(facts: GGUFFacts) -> int:
    widest = max(facts.vocabulary, facts.card.embedding_length * 8)
    return _OVERHEAD + widest * _UBATCH * 4


def gpu_advice(gpus: frozenset[str], devices: list[str] | None) -> str:
    """One line on GPUs. `devices`: what the installed llama.cpp can use, None where it was not asked."""
    if devices:
        return f"GPU: {', '.join(devices)}"
    if "apple" in gpus and devices is None:
        return "GPU: Metal"
    wheels = {"nvidia": f"{_WHEELS}/cu128", "amd": f"{_WHEELS}/rocm-6.4.1", "intel": f"{_WHEELS}/vulkan"}
    for kind, wheel in wheels.items():
        if kind in gpus:
            return f"GPU: there is one ({kind}), and the installed xllamacpp can't use it; one that can: {wheel}"
    return "GPU: none found"


def _gpus() -> frozenset[str]:
    found = set()
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        found.add("apple")
    if Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi"):
        found.add("nvidia")
    if Path("/dev/kfd").exists():
        found.add("amd")
    cards = Path("/sys/class/drm").glob("renderD*/device/vendor")
    if any(kernel_text(vendor) == _INTEL for vendor in cards):
        found.add("intel")
    return frozenset(found)
