"""Notices that a worker is gone, and kills one that hangs without dying.

A worker hangs when its HTTP server, a thread beside those that compute, says nothing to `/health` nor of its answers:
reading a long prompt on a slow machine is no hang, however long it takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable

from conch_ollama.runtimes import loopback
from conch_ollama.runtimes.loopback_answer import BrokenAnswerError
from conch_ollama.runtimes.worker_seats import Worker

log = logging.getLogger(__name__)
#: Questions without an answer before it counts: after the machine slept, one says nothing.
_PROBES = 3


def call_when_gone(worker: Worker, gone: Callable[[Worker], None]) -> None:
    """Have `gone` called in this loop when the child has ended. A thread: pipes and signals differ by system."""
    loop = asyncio.get_running_loop()

    def wait() -> None:
        worker.process.process.wait()
        with contextlib.suppress(RuntimeError):  # the loop may be closed
            loop.call_soon_threadsafe(gone, worker)

    threading.Thread(target=wait, name=f"watch {worker.plan.name}", daemon=True).start()


async def kill_when_hung(worker: Worker, hung_s: float) -> None:
    """Kill the worker when it has said nothing for about `hung_s` seconds; returns when it has ended."""
    step = hung_s / _PROBES
    missed = 0
    while not worker.ended.is_set():
        begun = time.monotonic()
        if begun - worker.heard < step or await _is_well(worker, step):
            missed = 0
        else:
            missed += 1
        if missed >= _PROBES and not worker.ended.is_set():
            worker.fault = f"it said nothing for {hung_s:g} s, so it was ended"
            log.warning("llama.cpp hangs on %s: %s", worker.plan.name, worker.fault)
            worker.process.process.kill()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(worker.ended.wait(), max(0.0, begun + step - time.monotonic()))


async def _is_well(worker: Worker, timeout: float) -> bool:
    if 0 < worker.plan.http_threads <= worker.users:
        return True  # nobody is free to answer this
    try:
        async with asyncio.timeout(timeout):
            answer = await loopback.ask(worker.address, worker.key, "GET", "/health")
    except (BrokenAnswerError, TimeoutError):
        return False
    answer.close()
    worker.heard = time.monotonic()
    return True
