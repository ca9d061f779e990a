"""What a control group leaves of the machine counts as all that there is: its limits, and what is left within them."""

from __future__ import annotations

from pathlib import Path

from conch_ollama.workflows.machine import this_machine
from tests.parts.kernel_files import kernel_files

_MIB = 1 << 20


def test_the_limits_of_this_processs_own_group_count(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/system.slice/conch.service"
    root = kernel_files(
        tmp_path,
        {
            "proc/self/cgroup": "0::/system.slice/conch.service",
            f"{group}/memory.max": str(64 * _MIB),
            f"{group}/memory.current": str(40 * _MIB),
            f"{group}/memory.stat": f"inactive_file {8 * _MIB}\nactive_file 0",
            f"{group}/cpu.max": "100000 100000",
        },
    )
    found = this_machine(root)
    assert (found.memory, found.memory_available, found.cores) == (64 * _MIB, 32 * _MIB, 1)


def test_without_a_limit_all_of_it_is_there(tmp_path: Path) -> None:
    found = this_machine(tmp_path)
    assert found.memory >= found.memory_available > 64 * _MIB
    assert found.cores >= 1
