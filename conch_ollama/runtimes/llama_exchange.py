"""One question to llama.cpp: a lease on the plan's worker, the question, its answer. Makes no request and no errors."""

from __future__ import annotations

from types import TracebackType

from conch_ollama.runtimes.llama_ask import Offer, begun
from conch_ollama.runtimes.llama_errors import broken_off
from conch_ollama.runtimes.loopback_answer import LoopbackAnswer, NotListeningError
from conch_ollama.runtimes.worker_pool import WorkerPool
from conch_ollama.runtimes.worker_seats import Worker, WorkerPlan


class Exchange:
    """An answer that has begun, and whose it is, for as long as the `with` lasts.

    `offer` is called when the question is on its way, while llama.cpp looks at it: what it makes costs no time.
    """

    _answer: LoopbackAnswer

    def __init__(
        self,
        pool: WorkerPool,
        plan: WorkerPlan,
        keep_alive: float,
        path: str,
        request: bytes,
        offer: Offer | None = None,
    ) -> None:
        self._lease = pool.lease(plan, keep_alive)
        self._pool = pool
        self._path = path
        self._request = request
        self._offer = offer

    async def __aenter__(self) -> tuple[Worker, LoopbackAnswer]:
        try:
            return await self._asked()
        except NotListeningError:
            pass  # It died a moment ago, so nothing was begun: once more, with the next one.
        try:
            return await self._asked()
        except NotListeningError as err:
            raise await broken_off(self._lease.worker, err) from err

    async def _asked(self) -> tuple[Worker, LoopbackAnswer]:
        worker = await self._lease.take()
        try:
            self._answer = await begun(worker, self._path, self._request, self._offer)
        except BaseException as err:
            if isinstance(err, NotListeningError):
                self._pool.broken(worker)
            self._lease.give_back()
            raise
        return worker, self._answer

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._answer.close()
        self._lease.give_back()
