"""Runs a command as a child process and reports what the operating system accounted for it: time, memory, writes.

POSIX only (wait4). Peak memory is the largest resident set of any single process of the command.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figures:
    """Seconds, core-seconds, bytes."""

    wall: float
    cpu: float
    memory: int
    written: int


def run(command: Sequence[str], environment: dict[str, str] | None = None) -> Figures:
    """Run to the end; raises RuntimeError with the command's last words if it fails."""
    start = time.perf_counter()
    with Path(os.devnull).open("rb") as nothing, Path("benchmark.log").open("w+b") as log:
        child = subprocess.Popen(
            command, stdin=nothing, stdout=log, stderr=log, env={**os.environ, **(environment or {})}
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - start
        if child.returncode != 0:
            log.seek(0)
            raise RuntimeError(f"{' '.join(command)}\n{log.read()[-3000:].decode('utf-8', 'replace')}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Figures(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit, usage.ru_oublock * 512)


def median(figures: Sequence[Figures]) -> Figures:
    """Median of each figure."""
    return Figures(
        statistics.median(f.wall for f in figures),
        statistics.median(f.cpu for f in figures),
        int(statistics.median(f.memory for f in figures)),
        int(statistics.median(f.written for f in figures)),
    )


def machine() -> str:
    """The machine, for the head of every table."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GB, {platform.system()}, Python {platform.python_version()}"


def row(name: str, figures: Figures, note: str = "") -> str:
    """A row of a Markdown table."""
    return (
        f"| {name} | {figures.wall:.1f} | {figures.cpu:.1f} | {figures.memory / 1e6:.0f} | "
        f"{figures.written / 1e9:.2f} | {note} |"
    )


HEAD = "| step | seconds | core-seconds | peak MB | GB written | |\n| --- | --- | --- | --- | --- | --- |"
