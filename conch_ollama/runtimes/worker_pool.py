"""Supervises llama.cpp workers: loads on demand, unloads when idle, makes room, starts crashed ones again.

A *plan* says what a worker is started with. Whoever wants answers takes a *lease* on the plan's worker; a worker is
never ended under a lease, but for a crash and `close`. One event loop; knows nothing of HTTP or of requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar

from conch_ollama.errors import ConchError, RuntimeBusyError, RuntimeFailedError
from conch_ollama.runtimes.worker_process import WorkerProcess
from conch_ollama.runtimes.worker_seats import Seat, Worker, WorkerPlan

_PATIENCE_S = 5.0
_LONGEST_PAUSE_S = 60.0
_SETTLED_S = 30.0


_T = TypeVar("_T")


class WorkerPool:
    """`max_loaded`: workers at once; `memory`: bytes for all of them, None: no limit; `strict`: what needs more is
    refused, else it is tried alone; `crashes`: in a row before it is left to itself for a minute; `load_timeout`: in
    seconds."""

    def __init__(
        self,
        *,
        max_loaded: int = 3,
        memory: int | None = None,
        strict: bool = True,
        crashes: int = 5,
        load_timeout: float = 600.0,
    ) -> None:
        self.max_loaded = max(1, max_loaded)
        self.memory = memory
        self._strict = strict
        self.restarts = 0
        self._crashes = crashes
        self._load_timeout = load_timeout
        self._seats: dict[WorkerPlan, Seat] = {}
        self._alive: set[Worker] = set()
        self._room = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    @contextlib.asynccontextmanager
    async def lease(self, plan: WorkerPlan, keep_alive: float) -> AsyncGenerator[Worker, None]:
        """The plan's worker, loaded if need be, for as long as the `with` lasts; then `keep_alive` seconds more
        (negative: for ever). Raises RuntimeFailedError if it does not load, RuntimeBusyError after crash on crash."""
        seat = self._seats.setdefault(plan, Seat(plan, keep_alive))
        seat.keep_alive = keep_alive
        worker = await self._take(seat)
        try:
            yield worker
        finally:
            self._give_back(seat, worker)

    def loaded(self) -> dict[WorkerPlan, float]:
        """Plans with a worker -> when it goes if nobody asks (seconds since 1970, 0: never)."""
        return {plan: seat.worker.expires for plan, seat in self._seats.items() if seat.worker is not None}

    def troubles(self) -> dict[WorkerPlan, str]:
        """Plans that do not load, or crash on and on, and why."""
        now = time.monotonic()
        return {
            plan: seat.error.message if seat.error else f"llama.cpp has crashed {seat.failures} times in a row"
            for plan, seat in self._seats.items()
            if seat.error is not None or seat.not_before > now
        }

    def retire(self, plan: WorkerPlan) -> None:
        """End the plan's worker when its leases have ended; who comes now gets a new one."""
        seat = self._seats.get(plan)
        if seat is not None and seat.worker is not None:
            self._retire(seat.worker)

    def forget(self, plan: WorkerPlan) -> None:
        """Retire, and drop what was known of the plan."""
        self.retire(plan)
        seat = self._seats.get(plan)
        if seat is not None and not seat.waiting:
            del self._seats[plan]

    def broken(self, worker: Worker) -> None:
        """Say that a worker does not listen any more, before its end has been noticed."""
        seat = self._seats.get(worker.plan)
        if seat is not None and seat.worker is worker:
            seat.worker = None

    async def close(self) -> None:
        """End all workers, leases or not."""
        self._closed = True
        loading = [seat.loading for seat in self._seats.values() if seat.loading is not None]
        for task in loading:
            task.cancel()
        await asyncio.gather(*loading, return_exceptions=True)
        for worker in list(self._alive):
            self._cancel_timer(worker)
            worker.retiring = True
        await asyncio.gather(*(self._end(worker) for worker in list(self._alive)))

    async def _take(self, seat: Seat) -> Worker:
        if self._closed:
            raise RuntimeFailedError("the runtime has been closed")
        worker = seat.worker
        if worker is not None:
            worker.users += 1
            self._cancel_timer(worker)
            return worker
        if seat.loading is None:
            self._check_pause(seat)
            seat.loading = self._spawn(self._load(seat))
        loading = seat.loading
        seat.waiting += 1
        try:
            return await asyncio.shield(loading)  # `_load` counts those who wait as users
        except BaseException:
            if loading.done() and not loading.cancelled() and loading.exception() is None:
                self._give_back(seat, loading.result())
            else:
                seat.waiting -= 1
            if loading.cancelled() and self._closed:
                raise RuntimeFailedError("the runtime has been closed") from None
            raise

    def _check_pause(self, seat: Seat) -> None:
        pause = seat.not_before - time.monotonic()
        if pause > 0 and seat.error is not None:
            raise type(seat.error)(seat.error.message, hint=seat.error.hint)
        if pause > _PATIENCE_S:
            raise RuntimeBusyError(
                f"llama.cpp has crashed {seat.failures} times in a row on {seat.plan.name}",
                hint=f"it is started again in {pause:.0f} s",
                retry_after=pause,
            )

    async def _load(self, seat: Seat) -> Worker:
        """A new worker in the seat. One loads at a time, in the order of asking."""
        try:
            await asyncio.sleep(max(0.0, seat.not_before - time.monotonic()))
            async with self._room:
                await self._make_room(seat.plan)
                worker = Worker(seat.plan, WorkerProcess(dict(seat.plan.settings)))
                self._alive.add(worker)
                try:
                    await asyncio.to_thread(worker.process.wait_ready, self._load_timeout)
                except BaseException as err:
                    await asyncio.shield(self._end(worker))
                    if isinstance(err, ConchError):
                        self._note_failure(seat, err)
                    raise
            self._watch(worker)
            worker.last_used = time.monotonic()
            seat.worker, seat.error = worker, None
            worker.users, seat.waiting = seat.waiting, 0
            if not worker.users:
                self._start_timer(seat, worker)
            return worker
        finally:
            seat.loading = None

    async def _make_room(self, plan: WorkerPlan) -> None:
        if self._strict and self.memory is not None and plan.memory > self.memory:
            raise RuntimeFailedError(
                f"{plan.name} needs about {plan.memory / 2**30:.1f} GiB, and the limit is {self.memory / 2**30:.1f}",
                hint="give it a smaller context, fewer answers at once or a smaller quantisation, or raise the limit",
            )
        while self._alive and not self._fits(plan):
            # The longest unused goes; a busy one gets no new answers and goes when it has ended those it has.
            staying = [worker for worker in self._alive if not worker.retiring]
            victim = min(staying, key=lambda worker: (worker.users > 0, worker.last_used), default=None)
            if victim is not None:
                self._retire(victim)
            ends = [asyncio.ensure_future(worker.ended.wait()) for worker in self._alive]
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for end in ends:
                    end.cancel()

    def _fits(self, plan: WorkerPlan) -> bool:
        taken = sum(worker.plan.memory for worker in self._alive)
        return len(self._alive) < self.max_loaded and (self.memory is None or taken + plan.memory <= self.memory)

    def _give_back(self, seat: Seat, worker: Worker) -> None:
        worker.users -= 1
        worker.last_used = time.monotonic()
        if worker.users or worker.ended.is_set():
            return
        worker.process.trim_log()
        if worker.retiring:
            self._spawn(self._end(worker))
        else:
            self._start_timer(seat, worker)

    def _start_timer(self, seat: Seat, worker: Worker) -> None:
        self._cancel_timer(worker)
        if seat.keep_alive < 0:
            return
        worker.expires = time.time() + seat.keep_alive
        worker.timer = asyncio.get_running_loop().call_later(seat.keep_alive, self._retire, worker)

    def _cancel_timer(self, worker: Worker) -> None:
        worker.expires = 0.0
        if worker.timer is not None:
            worker.timer.cancel()
            worker.timer = None

    def _retire(self, worker: Worker) -> None:
        self._cancel_timer(worker)
        worker.retiring = True
        self.broken(worker)
        if not worker.users and not worker.ended.is_set():
            self._spawn(self._end(worker))

    async def _end(self, worker: Worker) -> None:
        """End the child; who comes second waits with the first."""
        if worker.ending:
            await worker.ended.wait()
            return
        worker.ending = True
        worker.last_words = worker.process.log_tail()
        await asyncio.to_thread(worker.process.close, 1.0)
        self._alive.discard(worker)
        worker.ended.set()

    def _watch(self, worker: Worker) -> None:
        """Have `_ended` called in the loop when the child is gone. A thread: pipes and signals differ by system."""
        loop = asyncio.get_running_loop()

        def wait() -> None:
            worker.process.process.wait()
            with contextlib.suppress(RuntimeError):  # the loop may be closed
                loop.call_soon_threadsafe(self._ended, worker)

        threading.Thread(target=wait, name=f"watch {worker.plan.name}", daemon=True).start()

    def _ended(self, worker: Worker) -> None:
        crashed = not worker.retiring
        worker.retiring = True
        self._cancel_timer(worker)
        self.broken(worker)
        self._spawn(self._end(worker))
        if not crashed:
            return
        seat = self._seats.get(worker.plan)
        self.restarts += 1
        if seat is None or self._closed:
            return
        if time.monotonic() - worker.born > _SETTLED_S:
            seat.failures = 0
        self._pause(seat)
        if seat.failures <= self._crashes and seat.loading is None and seat.keep_alive != 0:
            seat.loading = self._spawn(self._load(seat))

    def _note_failure(self, seat: Seat, err: ConchError) -> None:
        seat.error = err
        self._pause(seat)

    def _pause(self, seat: Seat) -> None:
        """At once after the first, then half a second, doubled with each; a minute where it seems hopeless."""
        seat.failures += 1
        pause = 0.0 if seat.failures == 1 else min(0.5 * 2 ** (seat.failures - 2), _LONGEST_PAUSE_S)
        if seat.failures > self._crashes:
            pause = _LONGEST_PAUSE_S
        seat.not_before = time.monotonic() + pause

    def _spawn(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_look)
        return task


def _look(task: asyncio.Task[Any]) -> None:
    """See the outcome, so that one whom nobody waits for is not reported as lost."""
    if not task.cancelled():
        task.exception()
