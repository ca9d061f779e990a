"""Supervises llama.cpp workers: loads on demand, unloads when idle, makes room, starts crashed ones again.

A *plan* says what a worker is started with. Whoever wants answers takes a *lease* on the plan's worker; a worker is
never ended under a lease, but for a crash and `close`. One event loop; knows nothing of HTTP or of requests.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from conch_ollama.errors import ConchError, RuntimeFailedError
from conch_ollama.runtimes.bounds import USUAL
from conch_ollama.runtimes.worker_lease import Lease
from conch_ollama.runtimes.worker_process import WorkerProcess
from conch_ollama.runtimes.worker_room import Room, first_to_go
from conch_ollama.runtimes.worker_seats import Seat, Worker, WorkerPlan
from conch_ollama.runtimes.worker_watch import call_when_gone, kill_when_hung

_LOAD_S = 600.0
_T = TypeVar("_T")


class WorkerPool:
    """`room`: for how many; `hung_s`: seconds of silence after which a worker is killed, 0: never."""

    def __init__(self) -> None:
        self.room = Room()
        self.hung_s = USUAL.hung_s
        self.restarts = 0
        self._seats: dict[WorkerPlan, Seat] = {}
        self._alive: set[Worker] = set()
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def lease(self, plan: WorkerPlan, keep_alive: float) -> Lease:
        """A lease on the plan's worker, which stays for `keep_alive` seconds after it (negative: for ever)."""
        return Lease(self, plan, keep_alive)

    def loaded(self) -> dict[WorkerPlan, float]:
        """Plans with a worker -> when it goes if nobody asks (seconds since 1970, 0: never)."""
        return {plan: seat.worker.expires for plan, seat in self._seats.items() if seat.worker is not None}

    def troubles(self) -> dict[WorkerPlan, str]:
        """Plans that do not load, or crash on and on, and why."""
        found = {plan: seat.trouble for plan, seat in self._seats.items()}
        return {plan: trouble for plan, trouble in found.items() if trouble is not None}

    def retire(self, plan: WorkerPlan) -> None:
        """End the plan's worker when its leases have ended; who comes now gets a new one."""
        seat = self._seats.get(plan)
        if seat is not None and seat.worker is not None:
            self._retire(seat.worker)

    def resize(self, room: Room) -> None:
        """Another room; what does not fit into it any more is retired, the longest unused first."""
        self.room = room
        for worker in room.leavers(self._staying()):
            self._retire(worker)

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

    async def take(self, plan: WorkerPlan, keep_alive: float) -> tuple[Seat, Worker]:
        """For a Lease: the plan's worker, counted as used."""
        seat = self._seats.get(plan)
        if seat is None:
            seat = self._seats[plan] = Seat(plan, keep_alive)
        seat.keep_alive = keep_alive
        if self._closed:
            raise RuntimeFailedError("the runtime has been closed")
        worker = seat.worker
        if worker is None:
            return seat, await self._loaded(seat)
        worker.users += 1
        self._cancel_timer(worker)
        return seat, worker

    async def _loaded(self, seat: Seat) -> Worker:
        if seat.loading is None:
            seat.check()
            seat.loading = self._spawn(self._load(seat))
        loading = seat.loading
        seat.waiting += 1
        try:
            return await asyncio.shield(loading)  # `_load` counts those who wait as users
        except BaseException:
            if loading.done() and not loading.cancelled() and loading.exception() is None:
                self.give_back(seat, loading.result())
            else:
                seat.waiting -= 1
            if loading.cancelled() and self._closed:
                raise RuntimeFailedError("the runtime has been closed") from None
            raise

    async def _load(self, seat: Seat) -> Worker:
        """A new worker in the seat. One loads at a time, in the order of asking."""
        try:
            await asyncio.sleep(seat.pause)
            async with self._turn:
                await self._make_room(seat.plan)
                worker = Worker(seat.plan, WorkerProcess(dict(seat.plan.settings)))
                self._alive.add(worker)
                try:
                    await asyncio.to_thread(worker.process.wait_ready, _LOAD_S)
                except BaseException as err:
                    await asyncio.shield(self._end(worker))
                    if isinstance(err, ConchError):
                        seat.note_failure(err)
                    raise
            call_when_gone(worker, self._ended)
            worker.last_used = worker.heard = time.monotonic()
            if self.hung_s > 0:
                self._spawn(kill_when_hung(worker, self.hung_s))
            seat.worker, seat.error = worker, None
            worker.users, seat.waiting = seat.waiting, 0
            if not worker.users:
                self._start_timer(seat, worker)
            return worker
        finally:
            seat.loading = None

    async def _make_room(self, plan: WorkerPlan) -> None:
        """Wait until it fits. A busy worker that has to go gets no new answers, and goes when it has ended those it
        has."""
        self.room.check(plan)
        while not self.room.fits(plan, self._alive):
            if staying := self._staying():
                self._retire(first_to_go(staying))
            ends = [asyncio.ensure_future(worker.ended.wait()) for worker in self._alive]
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for end in ends:
                    end.cancel()

    def _staying(self) -> list[Worker]:
        return [worker for worker in self._alive if not worker.retiring]

    def give_back(self, seat: Seat, worker: Worker) -> None:
        """For a Lease: its use of the worker has ended."""
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
        worker.line.close()
        await asyncio.to_thread(worker.process.close, 1.0)
        self._alive.discard(worker)
        worker.ended.set()

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
        seat.note_crash(worker)
        if not seat.hopeless and seat.loading is None and seat.keep_alive != 0:
            seat.loading = self._spawn(self._load(seat))

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
