"""How many workers may be loaded beside each other, and which of them goes first. Pure: ends nothing itself."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from conch_ollama.errors import RuntimeFailedError
from conch_ollama.runtimes.bounds import USUAL
from conch_ollama.runtimes.worker_seats import Worker, WorkerPlan


@dataclass(frozen=True)
class Room:
    """`max_loaded`: workers at once, one at least; `memory`: bytes for all of them by their plans, None: no limit;
    `strict`: what needs more than that is refused, else it is tried alone."""

    max_loaded: int = USUAL.max_loaded
    memory: int | None = None
    strict: bool = True

    def check(self, plan: WorkerPlan) -> None:
        """Raises RuntimeFailedError for a plan that never fits."""
        if self.strict and self.memory is not None and plan.memory > self.memory:
            raise RuntimeFailedError(
                f"{plan.name} needs about {plan.memory / 2**30:.1f} GiB, and the limit is {self.memory / 2**30:.1f}",
                hint="give it a smaller context, fewer answers at once or a smaller quantisation, or raise the limit",
            )

    def fits(self, plan: WorkerPlan, beside: Collection[Worker]) -> bool:
        """Whether it may be loaded beside these; alone it always may."""
        return not beside or self._holds([plan, *(worker.plan for worker in beside)])

    def leavers(self, workers: Collection[Worker]) -> list[Worker]:
        """Those that have to go so that the others fit, the first to go first."""
        staying, found = list(workers), []
        while len(staying) > 1 and not self._holds([worker.plan for worker in staying]):
            found.append(first_to_go(staying))
            staying.remove(found[-1])
        return found

    def _holds(self, plans: Collection[WorkerPlan]) -> bool:
        if len(plans) > max(1, self.max_loaded):
            return False
        return self.memory is None or sum(plan.memory for plan in plans) <= self.memory


def first_to_go(workers: Collection[Worker]) -> Worker:
    """The one that has been unused for longest; only where all are busy, one of those."""
    return min(workers, key=lambda worker: (worker.users > 0, worker.last_used))
