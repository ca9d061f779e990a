"""The state of a running shim: registry, queues, figures, logs. The door puts it into each request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from conch_ollama.errors import ConchError
from conch_ollama.runtimes.protocol import Chunk, Health, Runtime
from conch_ollama.server.as_text import Render
from conch_ollama.server.audit import AuditLog
from conch_ollama.server.credentials import Credentials
from conch_ollama.server.feedback import make_ready
from conch_ollama.server.leases import Leases
from conch_ollama.server.metrics import LoadCollector, Metrics
from conch_ollama.server.queue import ModelQueue
from conch_ollama.server.recent import RecentAnswers
from conch_ollama.server.registry import Registry, Served
from conch_ollama.server.settings import Settings

if TYPE_CHECKING:
    from starlette.requests import Request

    from conch_ollama.server.answering import Job

log = logging.getLogger(__name__)
_HEALTH_S = 5.0
SHIM = "conch.shim"


class Shim:
    """One shim. `settings` and `registry` are replaced as a whole when the configuration changes."""

    def __init__(self, settings: Settings, runtimes: Mapping[str, Runtime], render: Render | None = None) -> None:
        self.settings = settings
        self.render = render
        self.registry = Registry(runtimes, settings)
        self.leases = Leases()
        self.queues: dict[str, ModelQueue] = {}
        self.healths: dict[str, Health] = {}
        self.metrics = Metrics()
        self.metrics.registry.register(LoadCollector(self))
        self.audit = AuditLog(settings.audit)
        self.credentials = Credentials(settings.security)
        if settings.feedback is not None:
            make_ready(settings.feedback)
        self.recent = RecentAnswers()
        self.draining = False

    @property
    def keeps_texts(self) -> bool:
        """Whether someone will want the chunks of an answer after it has ended."""
        return self.audit.keeps_texts or self.settings.feedback is not None

    def queue_of(self, served: Served) -> ModelQueue:
        """The queue in front of a model; aliases share it."""
        found = self.queues.get(served.target)
        if found is None:
            found = self.queues[served.target] = ModelQueue(*self._bounds(served))
        return found

    def _bounds(self, served: Served) -> tuple[int, int]:
        limits, wish = self.settings.limits, served.settings
        return wish.parallel or served.card.slots or limits.parallel, limits.queue if wish.queue is None else wish.queue

    def answered(self, job: Job, chunks: list[Chunk] | None) -> None:
        """An answer has ended, one way or another."""
        job.visitor.course.answered = True
        self.metrics.count(job)
        self.audit.write(job, chunks)
        if self.settings.feedback is not None and job.tally.id and chunks:
            self.recent.keep(job, chunks)
        log.info(
            "answer",
            extra={"request": job.visitor.request_id, "model": job.served.target, "result": job.tally.result},
        )

    async def ask_health(self) -> dict[str, Health]:
        """How every runtime is, quickly; one that doesn't say so in time is not well."""
        runtimes = self.registry.runtimes
        found = await asyncio.gather(*(_health(runtime) for runtime in runtimes.values()))
        self.healths = dict(zip(runtimes, found, strict=True))
        return self.healths

    def check(self, settings: Settings) -> None:
        """Raise what `replace` would for these settings, while nothing has changed yet."""
        Credentials(settings.security)
        if settings.audit != self.settings.audit:
            AuditLog(settings.audit).close()
        if settings.feedback is not None:
            make_ready(settings.feedback)

    async def replace(self, settings: Settings, runtimes: Mapping[str, Runtime]) -> None:
        """Serve by a new configuration from the next request on; what no longer serves ends after its last answer."""
        registry, credentials = Registry(runtimes, settings), Credentials(settings.security)
        await registry.refresh(0)
        before = self.registry
        if settings.audit != self.settings.audit:
            audit, self.audit = self.audit, AuditLog(settings.audit)
            audit.close()
        self.settings, self.registry, self.credentials = settings, registry, credentials
        for served in registry.served():
            if served.target in self.queues:
                self.queues[served.target].resize(*self._bounds(served))
        kept = {id(runtime) for runtime in runtimes.values()}
        for runtime in before.runtimes.values():
            if id(runtime) not in kept:
                self.leases.retire(runtime)

    async def close(self) -> None:
        """End every runtime and close the logs; safe to call twice."""
        self.draining = True
        await self.leases.close_all(list(self.registry.runtimes.values()))
        self.audit.close()


async def _health(runtime: Runtime) -> Health:
    try:
        async with asyncio.timeout(_HEALTH_S):
            return await runtime.health()
    except (ConchError, TimeoutError) as err:
        return Health(False, str(err) or f"no answer within {_HEALTH_S:g} s")


def shim_of(request: Request) -> Shim:
    """The shim that serves this request."""
    shim: Shim = request.scope[SHIM]
    return shim
