"""What the control groups of Linux (of a container, a systemd unit) leave to this process: memory and cores.

Versions 1 and 2, this process's own group and those above it. On other systems, and without limits, it says None.
Files: kernel.org, cgroup-v2.rst and cgroup-v1/memory.rst, sched-bwc.rst.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")
#: A limit from here on is none: version 1 says 2**63, less a page.
_NO_LIMIT = 1 << 60


def memory_limit(root: Path = _ROOT) -> int | None:
    """Bytes that may be taken in all. `root`: of the file system, for tests."""
    return min((limit for _, limit in _limited(root)), default=None)


def memory_left(root: Path = _ROOT) -> int | None:
    """Bytes that may still be taken: the least of limit less use. Pages of files can be dropped, so they count as free.

    `root`: as for memory_limit.
    """
    found = []
    for group, limit in _limited(root):
        used = _number(group / "memory.current") or _number(group / "memory.usage_in_bytes") or 0
        found.append(max(0, limit - max(0, used - _file_pages(group / "memory.stat"))))
    return min(found, default=None)


def cores_here(root: Path = _ROOT) -> int:
    """Cores that this process may run on, by its affinity and the quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, cores_left(root) or cores)


def cores_left(root: Path = _ROOT) -> int | None:
    """Whole cores by the quota, at least one."""
    found = []
    for group in _groups(root, "cpu"):
        quota, _, period = kernel_text(group / "cpu.max").partition(" ")
        if not quota:
            quota, period = kernel_text(group / "cpu.cfs_quota_us"), kernel_text(group / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):
            found.append(max(1, int(quota) // int(period)))
    return min(found, default=None)


def _limited(root: Path) -> Iterator[tuple[Path, int]]:
    """The groups whose memory is limited, and to how many bytes."""
    for group in _groups(root, "memory"):
        limit = _number(group / "memory.max") or _number(group / "memory.limit_in_bytes")
        if limit is not None and limit < _NO_LIMIT:
            yield group, limit


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """This process's group and those above. Inside a container the mount begins at its own, whatever its path is called
    outside."""
    mounts = root / "sys/fs/cgroup"
    for line in kernel_text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = mounts / controller if controllers else mounts
        parts = [part for part in path.split("/") if part]
        if ".." in parts:
            parts = []
        for depth in range(len(parts), -1, -1):
            group = mount.joinpath(*parts[:depth])
            if group.is_dir():
                yield group


def _file_pages(stat: Path) -> int:
    """Of the group and those below it: version 1 says that by other names."""
    words = dict(line.split(" ", 1) for line in kernel_text(stat).splitlines() if " " in line)
    prefix = "total_" if "total_inactive_file" in words else ""
    return sum(int(words.get(f"{prefix}{kind}_file", 0)) for kind in ("inactive", "active"))


def _number(file: Path) -> int | None:
    text = kernel_text(file)
    return int(text) if text.isdigit() else None


def kernel_text(file: Path) -> str:
    """A small file of the kernel's; empty where there is none."""
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
