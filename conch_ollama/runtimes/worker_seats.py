"""What the pool of llama.cpp workers keeps: plans, running workers, how each plan has fared. Does nothing itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from conch_ollama.errors import ConchError
from conch_ollama.runtimes.worker_process import WorkerProcess


@dataclass(frozen=True)
class WorkerPlan:
    """`name`: for messages; `settings`: of worker.py, but the key; `memory`: bytes it will take, about."""

    name: str
    settings: tuple[tuple[str, Any], ...]
    memory: int = field(default=0, compare=False)

    @classmethod
    def of(cls, name: str, memory: int, settings: Mapping[str, Any]) -> WorkerPlan:
        frozen = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
        return cls(name, tuple(sorted(frozen.items())), memory)


class Worker:
    """A running child. `address`, `key`: where and how to ask it. `ended` is set once it is gone."""

    def __init__(self, plan: WorkerPlan, process: WorkerProcess) -> None:
        self.plan = plan
        self.process = process
        self.users = 0
        self.retiring = self.ending = False
        self.born = self.last_used = time.monotonic()
        self.expires = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.last_words: list[str] = []
        self.ended = asyncio.Event()

    @property
    def address(self) -> str:
        return self.process.address

    @property
    def key(self) -> str:
        return self.process.key


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
