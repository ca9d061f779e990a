"""A job's whole answer in OpenAI's dialect, for the routes that do not stream it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conch_ollama.server.answering import answer
from conch_ollama.server.dialects.openai import Whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conch_ollama.runtimes.protocol import Chunk, Take
    from conch_ollama.server.answering import Job
    from conch_ollama.server.shim import Shim


async def whole(shim: Shim, job: Job) -> Whole:
    """Have the job done. Raises Refusal and the runtime's errors; being cancelled stops the generation."""
    found = Whole()

    async def listen(chunk: Chunk) -> None:
        found.add(chunk)

    await answer(shim, job, listen, taking(found.add))
    return found


def taking(add: Callable[[Chunk], None]) -> Take:
    """Takes whatever is offered, for an answer that is told whole."""

    def take(chunks: Sequence[Chunk]) -> bool:
        for chunk in chunks:
            add(chunk)
        return True

    return take
