"""One line of JSON for each answer: who, when, which model and version, how much, how long, how it ended; and one for
each request that was refused or given up before, as many as `floods` lets.

Texts only where they are asked for; never a key, a token or a header.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from typing import TYPE_CHECKING, Any

from conch_ollama.errors import NotWritableError
from conch_ollama.server.dialects.openai import Whole
from conch_ollama.server.floods import Flood
from conch_ollama.server.settings import Audit

if TYPE_CHECKING:
    from conch_ollama.runtimes.protocol import Chunk
    from conch_ollama.server.answering import Job
    from conch_ollama.server.errors import Refusal
    from conch_ollama.server.visitors import Visitor

#: Characters of a refusal's reason that are kept: names that a client made up may stand in it.
_REASON = 300


class AuditLog:
    """Appends to the file that the settings name; a file that logrotate moved away is opened anew."""

    def __init__(self, settings: Audit) -> None:
        self._texts = settings.texts
        self._handler: logging.Handler | None = None
        self._flood = Flood()
        self._timer: asyncio.TimerHandle | None = None
        if settings.file is not None:
            try:
                settings.file.parent.mkdir(parents=True, exist_ok=True)
                settings.file.touch(mode=0o600, exist_ok=True)
                self._handler = WatchedFileHandler(settings.file, encoding="utf-8")
            except OSError as err:
                raise NotWritableError(f"{settings.file}: the audit log can't be written: {err.strerror}") from err
            self._handler.setFormatter(logging.Formatter("%(message)s"))

    @property
    def keeps_texts(self) -> bool:
        """Whether what was asked and said goes into the log."""
        return self._texts and self._handler is not None

    def write(self, job: Job, chunks: Iterable[Chunk] | None) -> None:
        """The line of one answer."""
        if self._handler is None:
            return
        line = record(job)
        if self._texts:
            line |= texts(job.body, chunks or ())
        self._put(line)

    def refused(self, line: dict[str, Any]) -> None:
        """The line of a request that was not answered, made by `refused_record`; of too many alike only their count.

        To be called in the event loop, which also has the count written when its minute is over.
        """
        if self._handler is None:
            return
        now = time.time()
        self._tell_left_out(now)
        if self._flood.admits(line["address"], line["result"], now):
            self._put(line)
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._flood.window_s, self._window_over)

    def _window_over(self) -> None:
        self._timer = None
        self._tell_left_out()

    def _tell_left_out(self, now: float = float("inf")) -> None:
        for left_out in self._flood.ended(now):
            told = {"address": left_out.address, "result": left_out.result, "left_out": left_out.count}
            self._put({"time": _instant(left_out.since), **told})

    def _put(self, line: Mapping[str, Any]) -> None:
        if self._handler is not None:
            text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
            self._handler.emit(logging.LogRecord("audit", logging.INFO, "", 0, text, None, None))

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._tell_left_out()
        if self._handler is not None:
            self._handler.close()


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def record(job: Job) -> dict[str, Any]:
    """What the audit tells of an answer, texts left out."""
    tally, served = job.tally, job.served
    return {
        "time": _instant(tally.begun),
        "request": job.visitor.request_id,
        "caller": job.visitor.caller.name,
        "how": job.visitor.caller.how,
        "address": job.visitor.address_text,
        "endpoint": job.endpoint,
        "model": served.target,
        "asked_for": served.name,
        "version": served.card.version,
        "answer": tally.id,
        "tokens_in": tally.prompt_tokens,
        "tokens_out": tally.completion_tokens,
        "queued_s": round(tally.queued_s, 4),
        "first_token_s": None if tally.first_s is None else round(tally.first_s, 4),
        "total_s": round(tally.total_s, 4),
        "result": tally.result,
    }


def refused_record(visitor: Visitor, refusal: Refusal | None, *, recognised: bool) -> dict[str, Any]:
    """What the audit tells of a request that was not answered. `refusal`: None where the client hung up.

    `recognised`: whether the caller is more than what a request is before anybody asked who sends it.
    """
    who = refusal.who if refusal is not None else None
    reason = "The client hung up." if refusal is None else " ".join(filter(None, (refusal.message, refusal.aside)))
    return {
        "time": _instant(time.time()),
        "request": visitor.request_id,
        "caller": who or (visitor.caller.name if recognised else None),
        "how": visitor.caller.how if recognised else None,
        "address": visitor.address_text,
        "result": "cancelled" if refusal is None else refusal.code or str(refusal.status),
        "reason": reason[:_REASON],
    }


def texts(body: Mapping[str, Any], chunks: Iterable[Chunk]) -> dict[str, Any]:
    """What was asked and what was said."""
    whole = Whole()
    for chunk in chunks:
        whole.add(chunk)
    choice = whole.choice()
    asked = next((body[name] for name in ("messages", "prompt", "input") if name in body), None)
    return {"asked": asked, "said": "".join(choice.content) or "".join(choice.text), "thought": "".join(choice.thought)}
