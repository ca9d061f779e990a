"""What goes wrong at a llama.cpp worker, as our errors: its refusals, and answers that end before their end."""

from __future__ import annotations

import asyncio
import contextlib
import json

from conch_ollama.errors import (
    ConchError,
    NotSupportedError,
    RuntimeBusyError,
    RuntimeFailedError,
    RuntimeRefusedError,
)
from conch_ollama.runtimes.worker_seats import Worker


async def broken_off(worker: Worker, err: Exception) -> RuntimeFailedError:
    """The error for an answer that ended before its end; if the worker died, with what llama.cpp said last."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(worker.ended.wait(), 1.5)
    if not worker.ended.is_set():
        return RuntimeFailedError(f"llama.cpp broke off its answer from {worker.plan.name}: {err}")
    if worker.fault:
        return RuntimeFailedError(
            f"llama.cpp hung in the middle of an answer from {worker.plan.name}: {worker.fault}",
            hint="it is started again",
        )
    status = worker.process.process.returncode
    tail = worker.last_words
    return RuntimeFailedError(
        f"llama.cpp ended (status {status}) in the middle of an answer from {worker.plan.name}",
        hint="its last lines:\n" + "\n".join(tail) if tail else "it is started again",
    )


def refusal(status: int, body: bytes, *, from_body: bool = True) -> ConchError:
    """llama.cpp's error in ours. The code in its body counts (an error event comes with status 200), unless told."""
    try:
        error = json.loads(body)["error"]
        message, kind = str(error["message"]), str(error.get("type", ""))
        status = int(error.get("code", status)) if from_body else status
    except (ValueError, KeyError, TypeError):
        message, kind = body[:300].decode("utf-8", "replace"), ""
    if kind == "exceed_context_size_error":
        return RuntimeRefusedError(message, kind="context_length_exceeded", hint="or serve the model with more num_ctx")
    if status == 501:
        return NotSupportedError(f"llama.cpp: {message}")
    if status == 503:
        return RuntimeBusyError(f"llama.cpp: {message}")
    if 400 <= status < 500 and status not in {401, 403}:
        return RuntimeRefusedError(message, status=status, kind=kind or "invalid_request_error")
    return RuntimeFailedError(f"llama.cpp: {message}")


def sound(data: bytes) -> bytes:
    """The data of an event that is no error."""
    if data.startswith(b'{"error"'):
        raise refusal(200, data)
    return data
