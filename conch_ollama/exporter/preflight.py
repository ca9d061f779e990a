"""What an export will cost, before it starts: sizes, free disk, memory, the types chosen and every fall-back.

Looks at the disk; writes nothing.
"""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from conch_ollama.errors import NoSpaceError, NotWritableError, OutputExistsError
from conch_ollama.exporter.blocks import BLOCK_BYTES
from conch_ollama.exporter.plan import GGUFPlan, Plan
from conch_ollama.quantize.types import type_name

#: Kept free beyond the output: export.json, Modelfile, file system overhead.
_MARGIN = 64 << 20
#: float32 copies of a block that a worker holds at its peak (rows, delta, reordered rows, quantised bytes).
_COPIES = 4


@dataclass(frozen=True)
class FilePreflight:
    """One file to come. `types`: GGML type -> number of tensors; `fallbacks`: (reason, tensors, an example)."""

    path: Path
    recipe: str
    size: int
    bits_per_weight: float
    types: dict[str, int]
    fallbacks: tuple[tuple[str, int, str], ...]


@dataclass(frozen=True)
class Preflight:
    """What will be written where. Sizes in bytes."""

    files: tuple[FilePreflight, ...]
    folder: Path | None
    folder_size: int
    size: int
    free: int
    memory: int
    parameters: int


def preflight(plan: Plan, *, threads: int, force: bool) -> Preflight:
    """Look whether the plan can be carried out.

    Raises OutputExistsError (without `force`), NotWritableError, NoSpaceError.
    """
    targets = [file.path for file in plan.files] + ([plan.folder.path / "config.json"] if plan.folder else [])
    if not force:
        for target in targets:
            if target.exists():
                raise OutputExistsError(f"{target} is already there", hint="--force replaces it; or choose another -o")
    free = min((_free(target.parent) for target in targets), default=0)
    if plan.size + _MARGIN > free:
        raise NoSpaceError(
            f"the export needs {plan.size + _MARGIN:,} bytes and {targets[0].parent} has {free:,} free",
            hint="free some space, choose a smaller type (-q q4_K_M) or another disk (-o)",
        )
    return Preflight(
        files=tuple(_file(file) for file in plan.files),
        folder=plan.folder.path if plan.folder else None,
        folder_size=plan.folder.size if plan.folder else 0,
        size=plan.size,
        free=free,
        memory=(threads + 2) * BLOCK_BYTES * _COPIES,
        parameters=plan.parameters,
    )


def _free(folder: Path) -> int:
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise NotWritableError(f"{existing} is not a folder", hint="choose another -o")
    return shutil.disk_usage(existing).free


def _file(plan: GGUFPlan) -> FilePreflight:
    types = Counter(type_name(choice.type) for choice in plan.choices)
    reasons: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for choice in plan.fallbacks:
        reason = choice.reason or f"{type_name(choice.type)} instead of {type_name(choice.wanted)}"
        reasons[reason] += 1
        examples.setdefault(reason, choice.name)
    return FilePreflight(
        plan.path,
        plan.recipe,
        plan.size,
        plan.bits_per_weight,
        dict(types),
        tuple((reason, count, examples[reason]) for reason, count in reasons.most_common()),
    )
