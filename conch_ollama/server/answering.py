"""One answer from beginning to end: a place in the queue, the runtime's stream, time-outs, figures, the audit's line.

Knows no dialect: chunks go to whoever listens, as the runtime gave them.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from conch_ollama.errors import RuntimeFailedError
from conch_ollama.runtimes.protocol import Body, Chunk, Embeddings, Take
from conch_ollama.server.errors import Refusal, refusal_of
from conch_ollama.server.registry import Served
from conch_ollama.server.visitors import Visitor

if TYPE_CHECKING:
    from conch_ollama.server.shim import Shim

#: What /v1/responses and /v1/messages call their usage, and how much of an answer's end may hold it.
_COUNTS = re.compile(rb'"((?:cache_read_|cache_creation_)?input|output)_tokens": ?(\d+)')
_TAIL = 64 * 1024
Listener = Callable[[Chunk], Awaitable[None]]
T = TypeVar("T")


@dataclass
class Tally:
    """What one answer was: for the metrics and the audit. Times in seconds, `begun` on the wall clock."""

    begun: float = field(default_factory=time.time)
    clock: float = field(default_factory=time.perf_counter)
    queued_s: float = 0.0
    first_s: float | None = None
    total_s: float = 0.0
    chunks: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    result: str = "ok"
    usage: dict[str, Any] | None = None
    first: Chunk | None = None

    @property
    def id(self) -> str:
        """The answer's own; "" before it has begun."""
        return "" if self.first is None else str(self.first.data.get("id", ""))

    def begin(self, chunk: Chunk | None = None) -> None:
        """The first of the answer has come; None: it does not come in chunks."""
        self.first_s = time.perf_counter() - self.clock
        self.first = chunk

    def note(self, chunk: Chunk) -> None:
        """Look at a chunk as little as may be: usage stands in the last ones only."""
        self.chunks += 1
        if b'"usage"' in chunk.raw and isinstance(usage := chunk.data.get("usage"), dict):
            self.usage = usage
            self.prompt_tokens = int(usage.get("prompt_tokens") or 0)
            self.completion_tokens = int(usage.get("completion_tokens") or 0)


@dataclass
class Job:
    """A request that a model is to answer, in OpenAI's dialect. `kind`: "chat", "complete", "embed", "forward", or
    "count" for one that is handed on as those are and makes the model read nothing."""

    served: Served
    visitor: Visitor
    kind: str
    body: dict[str, Any]
    endpoint: str
    #: What is still to be done to it when its turn has come; may ask the runtime.
    prepare: Callable[[Job], Awaitable[None]] | None = None
    tally: Tally = field(default_factory=Tally)

    @property
    def queue_key(self) -> str:
        """Who takes turns with whom: callers, or addresses where nobody asks who calls."""
        visitor = self.visitor
        return visitor.address_text if visitor.caller.how == "open" else visitor.caller.name


async def _accounted(shim: Shim, job: Job, kept: list[Chunk] | None, work: Callable[[], Awaitable[T]]) -> T:
    """Have `work` done in a place of the model's queue; however it ends, it is counted and, where asked for, written to
    the audit."""
    tally, limits, runtime = job.tally, shim.settings.limits, job.served.runtime
    shim.leases.take(runtime)
    try:
        queue = shim.queue_of(job.served)
        if not queue.take():
            await queue.wait(job.queue_key, limits.queue_s)
        tally.queued_s = time.perf_counter() - tally.clock
        try:
            return await work()
        finally:
            queue.leave(time.perf_counter() - tally.clock - tally.queued_s)
    except (asyncio.CancelledError, GeneratorExit):
        tally.result = "cancelled"
        raise
    except TimeoutError as err:
        tally.result = "timeout"
        what = "did not begin to answer" if tally.first_s is None else "did not end its answer"
        seconds = limits.first_token_s if tally.first_s is None else limits.total_s
        raise Refusal(504, f"The model {what} within {seconds:g} s.", "timeout") from err
    except Exception as err:
        refusal = refusal_of(err)
        tally.result = refusal.code or str(refusal.status)
        raise
    finally:
        shim.leases.give_back(runtime)
        tally.total_s = time.perf_counter() - tally.clock
        if tally.usage is None and not tally.completion_tokens:
            # The runtime did not come to tell. Its first piece holds the role only, each of the others about a token.
            tally.completion_tokens = max(0, tally.chunks - 1)
        shim.answered(job, kept)


async def answer(shim: Shim, job: Job, listen: Listener, take: Take) -> None:
    """Have the job done; every chunk goes to `listen`, or to `take`, which the runtime may offer some to; see
    Runtime.chat. Raises Refusal and the runtime's errors.

    Being cancelled stops the generation.
    """
    kept: list[Chunk] | None = [] if shim.keeps_texts else None
    limits = shim.settings.limits
    work = partial(_listen, job, limits.first_token_s, limits.total_s, listen, kept, take)
    await _accounted(shim, job, kept, work)


async def embed(shim: Shim, job: Job, inputs: Sequence[str | Sequence[int]], options: Body) -> Embeddings:
    """Have texts embedded. Raises Refusal and the runtime's errors."""

    async def work() -> Embeddings:
        async with asyncio.timeout(shim.settings.limits.first_token_s):
            found = await job.served.runtime.embed(job.served.model, inputs, options)
        job.tally.prompt_tokens = found.tokens
        return found

    return await _accounted(shim, job, None, work)


async def forward(shim: Shim, job: Job, path: str, write: Callable[[bytes], Awaitable[None]]) -> None:
    """Hand the body to the runtime's own `path` and its answer to `write`. Raises Refusal and the runtime's errors."""
    limits = shim.settings.limits

    async def work() -> None:
        async with asyncio.timeout(limits.first_token_s) as clock:
            pieces = await job.served.runtime.forward(job.served.model, path, job.body)
            tail = b""
            async with aclosing(pieces):
                async for piece in pieces:
                    if job.tally.first_s is None:
                        job.tally.begin()
                        clock.reschedule(asyncio.get_running_loop().time() + limits.total_s)
                    tail = (tail + piece)[-_TAIL:]
                    await write(piece)
        if job.kind == "count":
            return
        counts = {name: int(count) for name, count in _COUNTS.findall(tail)}  # the last ones hold
        job.tally.completion_tokens = counts.pop(b"output", 0)
        job.tally.prompt_tokens = sum(counts.values())  # Anthropic's `input` is without what was read before

    await _accounted(shim, job, None, work)


async def _listen(
    job: Job, first_s: float, total_s: float, listen: Listener, kept: list[Chunk] | None, take: Take
) -> None:
    tally, runtime, model = job.tally, job.served.runtime, job.served.model
    loop = asyncio.get_running_loop()

    def begin(chunk: Chunk) -> None:
        tally.begin(chunk)
        setting.cancel()
        clock.reschedule(loop.time() + total_s)

    def taken(chunks: Sequence[Chunk]) -> bool:
        if not take(chunks):
            return False
        if tally.first is None:
            begin(chunks[0])
        tally.chunks += len(chunks)
        if kept is not None:
            kept.extend(chunks)
        return True

    async with asyncio.timeout(None) as clock:
        # Before something is waited for, which is when the runtime has been asked, no timer is needed.
        setting = loop.call_soon(clock.reschedule, loop.time() + first_s)
        try:
            if job.prepare is not None:
                await job.prepare(job)
            ask = runtime.chat if job.kind == "chat" else runtime.complete
            async with aclosing(ask(model, job.body, taken)) as stream:
                async for chunk in stream:
                    if tally.first is None:
                        begin(chunk)
                    tally.note(chunk)
                    if kept is not None:
                        kept.append(chunk)
                    await listen(chunk)
        finally:
            setting.cancel()
    if tally.first is None:
        raise RuntimeFailedError(f"the runtime of {job.served.name} ended its answer before it began")
