"""A lease on a worker of the pool: who holds one has a worker that is not ended. Knows nothing of how it is loaded."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from conch_ollama.runtimes.worker_seats import Seat, Worker, WorkerPlan

if TYPE_CHECKING:
    from conch_ollama.runtimes.worker_pool import WorkerPool


class Lease:
    """A plan's worker, loaded if need be, until it is given back: for as long as the `with` lasts, or by `take` and
    `give_back`, which may come again.

    Raises RuntimeFailedError if it does not load, RuntimeBusyError after crash on crash.
    """

    _seat: Seat
    worker: Worker

    def __init__(self, pool: WorkerPool, plan: WorkerPlan, keep_alive: float) -> None:
        self._pool = pool
        self._plan = plan
        self._keep_alive = keep_alive

    async def take(self) -> Worker:
        """The worker, once it is loaded."""
        self._seat, self.worker = await self._pool.take(self._plan, self._keep_alive)
        return self.worker

    def give_back(self) -> None:
        """The worker may go."""
        self._pool.give_back(self._seat, self.worker)

    async def __aenter__(self) -> Worker:
        return await self.take()

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()
