"""What the pool of llama.cpp workers keeps: plans, running workers, and how each plan has fared.

A seat decides whether its plan may be started (again) now. Starts and ends nothing itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from conch_ollama.errors import ConchError, RuntimeBusyError
from conch_ollama.runtimes.loopback import Line
from conch_ollama.runtimes.worker_process import WorkerProcess

#: In a row, before a plan is left to itself for a minute.
_CRASHES = 5
_PATIENCE_S = 5.0
_LONGEST_PAUSE_S = 60.0
_SETTLED_S = 30.0


@dataclass(frozen=True)
class WorkerPlan:
    """`name`: for messages; `settings`: of worker.py, but the key; `memory`: bytes it will take, about."""

    name: str
    settings: tuple[tuple[str, Any], ...]
    memory: int = field(default=0, compare=False)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:  # each request looks for its plan's worker
        return hash((self.name, self.settings))

    @classmethod
    def of(cls, name: str, memory: int, settings: Mapping[str, Any]) -> WorkerPlan:
        frozen = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
        return cls(name, tuple(sorted(frozen.items())), memory)

    @property
    def http_threads(self) -> int:
        """How many connections it can have at once; 0: not known."""
        return max(0, int(dict(self.settings).get("http_threads", 0)))


class Worker:
    """A running child. `address`, `key`: where and how to ask it. `heard`: when it last said something, by the
    monotonic clock; `fault`: why it was killed, if it was. `ended` is set once it is gone."""

    def __init__(self, plan: WorkerPlan, process: WorkerProcess) -> None:
        self.plan = plan
        self.process = process
        self.users = 0
        self.retiring = self.ending = False
        self.born = self.last_used = self.heard = time.monotonic()
        self.expires = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.fault = ""
        self.last_words: list[str] = []
        self.ended = asyncio.Event()

    @property
    def address(self) -> str:
        return self.process.address

    @property
    def key(self) -> str:
        return self.process.key

    @cached_property
    def line(self) -> Line:
        """For its questions, once it has an address."""
        return Line(self.address, self.key)


@dataclass
class Seat:
    """What is known of one plan: its worker, or the loading of it, and how it has fared."""

    plan: WorkerPlan
    keep_alive: float
    worker: Worker | None = None
    loading: asyncio.Task[Worker] | None = None
    waiting: int = 0
    failures: int = 0
    not_before: float = 0.0
    error: ConchError | None = None

    @property
    def hopeless(self) -> bool:
        return self.failures > _CRASHES

    @property
    def pause(self) -> float:
        """Seconds until it may be started."""
        return max(0.0, self.not_before - time.monotonic())

    @property
    def trouble(self) -> str | None:
        """Why there are no answers now, in words; None where all is well."""
        if self.error is not None:
            return self.error.message
        return f"llama.cpp has crashed {self.failures} times in a row" if self.pause else None

    def check(self) -> None:
        """Raises what its last start ended with, or RuntimeBusyError, where that is not to be tried again yet."""
        pause = self.pause
        if pause and self.error is not None:
            raise type(self.error)(self.error.message, hint=self.error.hint)
        if pause > _PATIENCE_S:
            raise RuntimeBusyError(
                f"llama.cpp has crashed {self.failures} times in a row on {self.plan.name}",
                hint=f"it is started again in {pause:.0f} s",
                retry_after=pause,
            )

    def note_crash(self, worker: Worker) -> None:
        if time.monotonic() - worker.born > _SETTLED_S:
            self.failures = 0
        self._fail()

    def note_failure(self, err: ConchError) -> None:
        """It did not load."""
        self.error = err
        self._fail()

    def _fail(self) -> None:
        """At once after the first, then half a second, doubled with each; a minute where it seems hopeless."""
        self.failures += 1
        pause = 0.0 if self.failures == 1 else min(0.5 * 2 ** (self.failures - 2), _LONGEST_PAUSE_S)
        self.not_before = time.monotonic() + (_LONGEST_PAUSE_S if self.hopeless else pause)
