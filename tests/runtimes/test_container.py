"""Limits of control groups, versions 1 and 2, from files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

from conch_ollama.runtimes.container import cores_left, memory_left, memory_limit
from tests.parts.kernel_files import kernel_files

GIB = 1 << 30


def test_version_2_in_a_container(tmp_path: Path) -> None:
    root = kernel_files(
        tmp_path,
        {
            "proc/self/cgroup": "0::/",
            "sys/fs/cgroup/memory.max": str(4 * GIB),
            "sys/fs/cgroup/memory.current": str(3 * GIB),
            "sys/fs/cgroup/memory.stat": f"anon {GIB}\ninactive_file {GIB}\nactive_file {GIB // 2}",
            "sys/fs/cgroup/cpu.max": "150000 100000",
        },
    )
    assert memory_left(root) == 4 * GIB - (3 * GIB - GIB - GIB // 2)
    assert cores_left(root) == 1


def test_a_group_above_may_be_tighter(tmp_path: Path) -> None:
    root = kernel_files(
        tmp_path,
        {
            "proc/self/cgroup": "0::/user.slice/shim.service",
            "sys/fs/cgroup/user.slice/memory.max": str(2 * GIB),
            "sys/fs/cgroup/user.slice/memory.current": str(GIB),
            "sys/fs/cgroup/user.slice/shim.service/memory.max": str(8 * GIB),
            "sys/fs/cgroup/user.slice/shim.service/memory.current": "0",
            "sys/fs/cgroup/user.slice/shim.service/cpu.max": "max 100000",
        },
    )
    assert (memory_limit(root), memory_left(root)) == (2 * GIB, GIB)
    assert cores_left(root) is None


def test_version_1_where_the_path_is_the_hosts(tmp_path: Path) -> None:
    root = kernel_files(
        tmp_path,
        {
            "proc/self/cgroup": "9:name=systemd:/docker/5f\n4:memory:/docker/5f\n2:cpu,cpuacct:/docker/5f",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": str(4 * GIB),
            "sys/fs/cgroup/memory/memory.usage_in_bytes": str(2 * GIB),
            "sys/fs/cgroup/memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {GIB}\ntotal_active_file 0",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
    )
    assert memory_left(root) == 3 * GIB
    assert cores_left(root) == 3


def test_without_a_limit(tmp_path: Path) -> None:
    assert memory_left(tmp_path) is None and cores_left(tmp_path) is None
    root = kernel_files(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/\n0::/",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": str((1 << 63) - 4096),
            "sys/fs/cgroup/memory/memory.usage_in_bytes": str(GIB),
            "sys/fs/cgroup/memory.max": "max",
        },
    )
    assert memory_left(root) is None


def test_a_group_that_is_full_has_nothing_left(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": "100", "sys/fs/cgroup/memory.current": "120"}
    assert memory_left(kernel_files(tmp_path, files)) == 0
