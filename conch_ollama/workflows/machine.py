"""This machine: cores, memory, disk. Figures in bytes."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from conch_ollama.runtimes.container import cores_here, memory_left, memory_limit


@dataclass(frozen=True)
class Machine:
    """What there is to work with."""

    system: str
    processor: str
    cores: int
    memory: int
    memory_available: int


def this_machine(root: Path = Path("/")) -> Machine:
    """Look at the machine; what a container or another control group leaves of it counts as all. `root`: of the file
    system, for tests."""
    import psutil

    memory = psutil.virtual_memory()
    limit, left = memory_limit(root), memory_left(root)
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        processor=platform.machine(),
        cores=cores_here(root),
        memory=memory.total if limit is None else min(memory.total, limit),
        memory_available=memory.available if left is None else min(memory.available, left),
    )


def free_disk(path: Path) -> int:
    """Free bytes of the disk that holds a path or its nearest existing parent."""
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free
