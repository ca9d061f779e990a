"""The shim's thread has a short slice where the system knows such, and its children have the usual one."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import subprocess
import sys
import threading
from pathlib import Path

from conch_ollama.server.slice import ATTRIBUTES, SLICE_NS, shorten_slice

ROOT = Path(__file__).parents[2]
ASKED = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from tests.server.test_slice import slice_ns
print(slice_ns())
"""


def slice_ns() -> int:
    """Of the calling thread; 0 where it can't be told."""
    number = {"x86_64": 315, "aarch64": 275}.get(platform.machine())
    if sys.platform != "linux" or number is None:
        return 0
    found = ctypes.create_string_buffer(ATTRIBUTES.size)
    assert ctypes.CDLL(None).syscall(number, 0, found, ATTRIBUTES.size, 0) == 0
    return int(ATTRIBUTES.unpack(found.raw)[5])


def test_a_thread_is_shortened_and_what_it_starts_is_not() -> None:
    found: list[int] = []

    def shim() -> None:
        shorten_slice()
        found.append(slice_ns())
        child = threading.Thread(target=lambda: found.append(slice_ns()))
        child.start()
        child.join()
        found.append(int(subprocess.run([sys.executable, "-c", ASKED], capture_output=True, check=True).stdout))

    here = slice_ns()
    for work in (lambda: found.append(slice_ns()), shim):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    usual, *rest = found
    number = re.match(r"(\d+)\.(\d+)", os.uname().release) if sys.platform == "linux" else None
    knows = number is not None and (int(number[1]), int(number[2])) >= (6, 12) and usual > 0
    assert rest == [SLICE_NS if knows else usual, usual, usual]
    assert slice_ns() == here, "of that thread alone"
