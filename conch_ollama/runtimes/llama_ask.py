"""Questions to a worker over loopback, and its failures as our errors. Chooses no worker and leases none."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import partial

from conch_ollama.errors import RuntimeFailedError, RuntimeRefusedError
from conch_ollama.runtimes.llama_body import encode
from conch_ollama.runtimes.llama_errors import broken_off, refusal
from conch_ollama.runtimes.loopback_answer import BrokenAnswerError, LoopbackAnswer, NotListeningError
from conch_ollama.runtimes.worker_seats import Worker

CHAT = "/v1/chat/completions"
#: Makes what is offered each piece of an answer of the worker that has been asked; see LoopbackAnswer.take.
Offer = Callable[[Worker], Callable[[bytes], bool]]


async def begun(worker: Worker, path: str, request: bytes, offer: Offer | None = None) -> LoopbackAnswer:
    """The answer to a POST, from its first piece on that `offer` does not take; it is the caller's to close.

    Raises NotListeningError where nothing was begun, and what llama.cpp refuses or breaks off.
    """
    try:
        answer = await worker.line.ask("POST", path, request, None if offer is None else partial(offer, worker))
        if answer.status < 400:
            return answer
        try:
            said = await answer.read()
        finally:
            answer.close()
    except NotListeningError:
        raise
    except BrokenAnswerError as err:
        raise await broken_off(worker, err) from err
    if answer.status == 500 and path == CHAT and not await _renders(worker, request):
        raise refusal(400, said, from_body=False)
    raise refusal(answer.status, said)


async def piece(worker: Worker, answer: LoopbackAnswer) -> bytes | None:
    """The answer's next bytes, None at its end."""
    try:
        found = await answer.piece()
    except BrokenAnswerError as err:
        raise await broken_off(worker, err) from err
    worker.heard = time.monotonic()
    return found


async def whole(worker: Worker, path: str, request: bytes) -> bytes:
    """All of an answer."""
    try:
        answer = await begun(worker, path, request)
    except NotListeningError as err:
        raise await broken_off(worker, err) from err
    found = []
    try:
        while (part := await piece(worker, answer)) is not None:
            found.append(part)
    finally:
        answer.close()
    return b"".join(found)


async def _renders(worker: Worker, request: bytes) -> bool:
    """Whether the chat template takes the request: if not, llama.cpp's 500 was the request's fault."""
    try:
        await whole(worker, "/apply-template", request)
    except RuntimeFailedError as err:
        return isinstance(err, RuntimeRefusedError) or worker.ended.is_set()
    return True


async def cut(worker: Worker, texts: Sequence[str | list[int]], limit: int) -> list[str | list[int]]:
    """Texts that may be longer than `limit` tokens as token ids that are not: a token is at least a byte."""
    found: list[str | list[int]] = []
    for text in texts:
        if isinstance(text, str) and len(text.encode("utf-8", "replace")) >= limit:
            request = encode({"content": text, "add_special": True})
            tokens = json.loads(await whole(worker, "/tokenize", request))["tokens"]
            found.append(tokens[:limit] if len(tokens) > limit else text)
        else:
            found.append(text[:limit] if isinstance(text, list) else text)
    return found
