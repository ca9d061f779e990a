"""One line of JSON for each answer: who, when, which model and version, how much, how long, how it ended.

Texts only where they are asked for; never a key, a token or a header.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from typing import TYPE_CHECKING, Any

from conch_ollama.errors import NotWritableError
from conch_ollama.server.dialects.openai import Whole
from conch_ollama.server.settings import Audit

if TYPE_CHECKING:
    from conch_ollama.runtimes.protocol import Chunk
    from conch_ollama.server.answering import Job


class AuditLog:
    """Appends to the file that the settings name; a file that logrotate moved away is opened anew."""

    def __init__(self, settings: Audit) -> None:
        self._texts = settings.texts
        self._handler: logging.Handler | None = None
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
        text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
        self._handler.emit(logging.LogRecord("audit", logging.INFO, "", 0, text, None, None))

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._handler is not None:
            self._handler.close()


def record(job: Job) -> dict[str, Any]:
    """What the audit tells of an answer, texts left out."""
    tally, served = job.tally, job.served
    return {
        "time": datetime.fromtimestamp(tally.begun, UTC).isoformat(timespec="milliseconds"),
        "request": job.request_id,
        "caller": job.caller.name,
        "how": job.caller.how,
        "address": job.address,
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


def texts(body: Mapping[str, Any], chunks: Iterable[Chunk]) -> dict[str, Any]:
    """What was asked and what was said."""
    whole = Whole()
    for chunk in chunks:
        whole.add(chunk)
    choice = whole.choice()
    asked = body.get("messages", body.get("prompt"))
    return {"asked": asked, "said": "".join(choice.content) or "".join(choice.text), "thought": "".join(choice.thought)}
