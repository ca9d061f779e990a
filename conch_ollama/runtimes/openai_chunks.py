"""A foreign OpenAI stream, put right where it differs from the reference: most chunks pass as they came.

The model's name becomes ours, the time of creation one; a role stands in the first chunk only (Ollama's /v1 sends one
in each); a finish has no content and no usage beside it, the usage has no choices. In JSON text a key with its quotes
can't be part of a string.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from conch_ollama.errors import ConchError, RuntimeFailedError, RuntimeRefusedError
from conch_ollama.runtimes.one_time import OneTime
from conch_ollama.runtimes.protocol import Chunk

_ROLES = (b'"role":"assistant",', b'"role": "assistant", ')
_NOT_FINISHED = (b'"finish_reason":null', b'"finish_reason": null')


async def tidy_chunks(data: AsyncIterator[bytes], model: str) -> AsyncGenerator[Chunk, None]:
    """Chunks of a chat or a plain completion. Raises what an error event says."""
    names: list[tuple[bytes, bytes]] = []
    begun = False
    time = OneTime()
    async for stamped in data:
        raw = time.into(stamped)
        chunk = Chunk(raw)
        if b'"error"' in raw[:64] and "choices" not in _parsed(chunk):
            raise stream_error(chunk.data)
        if not begun:
            begun = True
            theirs = _parsed(chunk).get("model")
            if isinstance(theirs, str) and theirs != model:
                names = _renamings(theirs, model)
            chunk = Chunk(_replaced(raw, names))
        else:
            chunk = Chunk(_replaced(raw, [*names, *((role, b"") for role in _ROLES)]))
        if any(mark in raw for mark in _NOT_FINISHED) and b'"usage":{' not in raw:
            yield chunk
        else:
            for part in _parts(_parsed(chunk)):
                yield part


def stream_error(data: dict[str, Any]) -> ConchError:
    """An error event: `{"error": {message, type, code}}`, or a text."""
    error = data.get("error")
    if not isinstance(error, dict):
        return RuntimeFailedError(f"the upstream broke off its answer: {error}")
    message, code = str(error.get("message", error)), error.get("code")
    if code in {"context_length_exceeded", 400} or error.get("type") == "invalid_request_error":
        return RuntimeRefusedError(message, kind=code if isinstance(code, str) else "invalid_request_error")
    return RuntimeFailedError(f"the upstream broke off its answer: {message}")


def _parsed(chunk: Chunk) -> dict[str, Any]:
    try:
        data = chunk.data
    except ValueError as err:
        raise RuntimeFailedError("the upstream sent an event that is no JSON") from err
    if not isinstance(data, dict):
        raise RuntimeFailedError("the upstream sent an event that is no object")
    return data


def _parts(data: dict[str, Any]) -> list[Chunk]:
    """One chunk as up to three: content, finish, usage."""
    choices = data.get("choices")
    usage = data.get("usage")
    if not isinstance(choices, list) or not choices:
        return [Chunk.of(data)] if usage or choices is None else []
    rest = {key: value for key, value in data.items() if key not in {"choices", "usage"}}
    parts = []
    said = [_unfinished(choice) for choice in choices if choice.get("finish_reason") is None or _says(choice)]
    if said:
        parts.append(Chunk.of({**rest, "choices": said}))
    ended = [_finish(choice) for choice in choices if choice.get("finish_reason") is not None]
    if ended:
        parts.append(Chunk.of({**rest, "choices": ended}))
        if usage:
            parts.append(Chunk.of({**rest, "choices": [], "usage": usage}))
    return parts


def _says(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta")
    if isinstance(delta, dict):
        return any(value for key, value in delta.items() if key != "role")
    return bool(choice.get("text"))


def _unfinished(choice: dict[str, Any]) -> dict[str, Any]:
    return {**choice, "finish_reason": None}


def _finish(choice: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in choice.items() if key not in {"delta", "text", "logprobs"}}
    return {**kept, "delta": {}} if "delta" in choice else {**kept, "text": "", "logprobs": None}


def _renamings(theirs: str, ours: str) -> list[tuple[bytes, bytes]]:
    """Of the two ways in which JSON is usually written."""
    made = []
    for colon in (":", ": "):
        for ascii_only in (True, False):
            before, after = (json.dumps(name, ensure_ascii=ascii_only) for name in (theirs, ours))
            made.append((f'"model"{colon}{before}'.encode(), f'"model"{colon}{after}'.encode()))
    return list(dict.fromkeys(made))


def _replaced(raw: bytes, pairs: list[tuple[bytes, bytes]]) -> bytes:
    for before, after in pairs:
        raw = raw.replace(before, after, 1)
    return raw
