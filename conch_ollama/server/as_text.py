"""A question of /api/generate as one text: by a TEMPLATE that the request brings, after a `context` of token ids; and
the context that an answer leaves. Runtimes that show no tokens have no context.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from conch_ollama.errors import ConchError
from conch_ollama.runtimes.protocol import ShowsTokens
from conch_ollama.server.errors import Refusal

if TYPE_CHECKING:
    from conch_ollama.server.answering import Job

#: (TEMPLATE, messages, the model's SYSTEM, think) -> prompt, as Ollama renders it. Raises ConchError.
Render = Callable[[str, Sequence[Mapping[str, Any]], str, bool | None], str]
#: What a plain completion does not take.
_CHAT_ONLY = frozenset({"messages", "tools", "think", "logprobs", "top_logprobs"})
_PATIENCE_S = 10.0


@dataclass(frozen=True)
class AsText:
    """Turns a chat job into a plain completion when its turn has come."""

    template: str = ""
    context: Sequence[int] = ()
    render: Render | None = None

    def check(self, job: Job) -> None:
        """Refuse at once what can't be. Raises Refusal."""
        if self.template and self.render is None:
            raise Refusal(501, "template can't be rendered here; the model's own chat template is used")
        if self.context and not isinstance(job.served.runtime, ShowsTokens):
            raise Refusal(400, "context is not kept for this model; send the conversation to /api/chat")

    async def __call__(self, job: Job) -> None:
        """Raises Refusal and the runtime's errors."""
        runtime, model = job.served.runtime, job.served.model
        shows = runtime if isinstance(runtime, ShowsTokens) else None
        text = await self._rendered(job)
        if self.context and shows is not None:
            text = await shows.detokenize(model, self.context) + text
        kept = {key: value for key, value in job.body.items() if key not in _CHAT_ONLY}
        top = {"logprobs": job.body.get("top_logprobs", 1)} if job.body.get("logprobs") else {}
        job.kind, job.body = "complete", {**kept, **top, "prompt": text}

    async def _rendered(self, job: Job) -> str:
        runtime = job.served.runtime
        if not self.template:
            assert isinstance(runtime, ShowsTokens)  # noqa: S101 - checked before
            return await runtime.rendered(job.served.model, job.body)
        assert self.render is not None  # noqa: S101 - checked before
        think = job.body.get("think")
        wanted = None if think is None else think is not False
        try:
            return await asyncio.to_thread(
                self.render, self.template, job.body["messages"], job.served.card.system, wanted
            )
        except ConchError as err:
            raise Refusal(400, f"template: {err.message}", "invalid_value", "template") from err


async def context_after(job: Job, said: str) -> list[int] | None:
    """The token ids of all that was read and said; None where they can't be told, which is no reason to spoil the
    answer."""
    runtime, model = job.served.runtime, job.served.model
    if not isinstance(runtime, ShowsTokens):
        return None
    try:
        async with asyncio.timeout(_PATIENCE_S):
            prompt = job.body["prompt"] if job.kind == "complete" else await runtime.rendered(model, job.body)
            return await runtime.tokenize(model, prompt + said)
    except (ConchError, TimeoutError):
        return None
