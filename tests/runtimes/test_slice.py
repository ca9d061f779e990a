"""Where the system knows slices the shim's thread has a short one, its children the usual; llama.cpp's that compute a
long one, those that wait a short one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from conch_ollama.runtimes.llama_cpp import LlamaCppWorker
from conch_ollama.runtimes.slice import SHORT_NS, lengthen_slice, shorten_slice, slice_ns

ASKED = "from conch_ollama.runtimes.slice import slice_ns; print(slice_ns())"


def knows_slices() -> bool:
    number = re.match(r"(\d+)\.(\d+)", os.uname().release) if sys.platform == "linux" else None
    return number is not None and (int(number[1]), int(number[2])) >= (6, 12) and slice_ns() > 0


def in_a_thread(*work: Callable[[], object]) -> None:
    thread = threading.Thread(target=lambda: [one() for one in work])
    thread.start()
    thread.join()


def usual_slice() -> int:
    """That of a new thread: the calling one's is shortened where a test before this one has served in it."""
    found: list[int] = []
    in_a_thread(lambda: found.append(slice_ns()))
    return found[0]


def test_a_thread_is_shortened_and_what_it_starts_is_not() -> None:
    found: list[int] = []

    def note() -> None:
        found.append(slice_ns())

    def note_child() -> None:
        found.append(int(subprocess.run([sys.executable, "-c", ASKED], capture_output=True, check=True).stdout))

    here, usual = slice_ns(), usual_slice()
    in_a_thread(shorten_slice, note, lambda: in_a_thread(note), note_child)
    assert found == [SHORT_NS if knows_slices() else usual, usual, usual]
    assert slice_ns() == here, "of that thread alone"


def test_a_lengthened_one_is_that_of_threads_to_come() -> None:
    found: list[int] = []
    usual = usual_slice()
    in_a_thread(lengthen_slice, lambda: found.append(slice_ns()), lambda: in_a_thread(lambda: found.append(slice_ns())))
    assert found == [4 * usual if knows_slices() else usual] * 2


def test_llama_cpps_threads_that_wait_have_a_short_one_and_those_that_compute_a_long_one(gguf: Path) -> None:
    usual = usual_slice()
    with LlamaCppWorker(gguf, num_ctx=256) as worker:
        process = psutil.Process(worker._process.pid)

        def slices() -> list[int]:
            return [slice_ns(thread.id) for thread in process.threads()]

        if not knows_slices():
            assert set(slices()) == {usual}
            return
        until = time.monotonic() + 10
        while set(slices()) != {SHORT_NS, 4 * usual} or slices().count(SHORT_NS) <= len(slices()) // 2:
            assert time.monotonic() < until, slices()
            time.sleep(0.02)
        assert "".join(worker.chat([{"role": "user", "content": "hello"}], max_tokens=8))
        used = {task.name: (task / "schedstat").read_text() for task in Path(f"/proc/{process.pid}/task").iterdir()}
        busiest = max(used, key=lambda name: int(used[name].split()[0]))
        assert slice_ns(int(busiest)) == 4 * usual
