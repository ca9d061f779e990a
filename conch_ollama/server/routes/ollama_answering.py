"""How /api/chat and /api/generate answer: as a stream of lines, or whole; and loading and unloading by both."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from fastapi import Request, Response

from conch_ollama.runtimes.durations import keep_alive_seconds
from conch_ollama.runtimes.protocol import Chunk
from conch_ollama.server.answering import Job, Tally, answer
from conch_ollama.server.as_text import context_after
from conch_ollama.server.dialects.ollama_answers import OllamaAnswer, line
from conch_ollama.server.errors import Refusal, ollama_error
from conch_ollama.server.jobs import find_model
from conch_ollama.server.responses import StreamedAnswer, WholeAnswer
from conch_ollama.server.shim import Shim, shim_of
from conch_ollama.server.whole import taking

NDJSON = "application/x-ndjson"


async def loaded(request: Request, given: Mapping[str, Any], *, chat: bool) -> Response:
    """Nothing is asked: load the model, or unload it where `keep_alive` is 0."""
    served = await find_model(request, given["model"])
    leases = shim_of(request).leases
    keep_alive = keep_alive_seconds(given.get("keep_alive"))
    reason = "unload" if keep_alive == 0 else "load"

    async def produce() -> dict[str, Any]:
        leases.take(served.runtime)
        try:
            if reason == "unload":
                await served.runtime.unload(served.model)
            else:
                await served.runtime.load(served.model, keep_alive)
        finally:
            leases.give_back(served.runtime)
        return OllamaAnswer(given["model"], time.time(), chat=chat, think=False).empty(time.time(), reason)

    return WholeAnswer(produce)


def answered(shim: Shim, job: Job, given: Mapping[str, Any], *, chat: bool, leaves_context: bool = False) -> Response:
    """The response to a request that asks something. `leaves_context`: its last line holds the `context`, where the
    runtime can tell it and no thought was taken out of what was said. Raises Refusal."""
    think = given.get("think")
    if think and "thinking" not in job.served.card.capabilities:
        raise Refusal(400, f'"{given["model"]}" does not support thinking')
    job.body["stream_options"] = {"include_usage": True}
    top = (given.get("top_logprobs") or 0) if given.get("logprobs") else None
    made = OllamaAnswer(given["model"], job.tally.begun, chat=chat, think=think is not False, top_logprobs=top)

    context: dict[str, Any] = {}

    async def look_for_context() -> None:
        # As soon as all is said: when the answer has ended the model may have gone, and would be loaded for this.
        if leaves_context and made.finished and not made.thought and not context:
            found = await context_after(job, made.said)
            if found is not None:
                context["context"] = found

    if given.get("stream") is False:

        async def whole() -> dict[str, Any]:
            async def listen(chunk: Chunk) -> None:
                made.note(chunk)
                await look_for_context()

            await answer(shim, job, listen, taking(made.note))
            return made.whole(time.time(), _figures(job.tally)) | context

        return WholeAnswer(whole)

    async def stream(out: StreamedAnswer) -> None:
        def lines(chunks: Sequence[Chunk]) -> bytes:
            now = time.time()
            return b"".join([line(piece) for chunk in chunks for piece in made.lines(chunk, now)])

        async def listen(chunk: Chunk) -> None:
            if told := lines((chunk,)):
                await out.write(told)
            await look_for_context()

        await answer(shim, job, listen, partial(out.push, lines))
        *before, last = made.last(time.time(), _figures(job.tally))
        for piece in before:
            await out.write(line(piece))
        await out.write(line(last | context))

    return StreamedAnswer(
        stream,
        media_type=NDJSON,
        failure=lambda refusal: line(ollama_error(refusal)),
        stuck_s=shim.settings.limits.stuck_s,
    )


def _figures(tally: Tally) -> dict[str, float]:
    return {
        "prompt_tokens": tally.prompt_tokens,
        "completion_tokens": tally.completion_tokens,
        "first_s": tally.first_s or 0.0,
        "total_s": tally.total_s,
    }
