"""The shim's own log: one line of JSON for each event, or plain text for a terminal. No texts, no keys, no queries."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

_FIELDS = ("request", "caller", "address", "method", "path", "status", "seconds", "model", "result")
#: Loggers that are written; uvicorn's own access log is not, the door's is.
_NAMES = ("conch_ollama", "uvicorn.error")


class JSONLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **{name: getattr(record, name) for name in _FIELDS if hasattr(record, name)},
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class Plain(logging.Formatter):
    """For people: time, level, message, fields."""

    def format(self, record: logging.LogRecord) -> str:
        clock = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        fields = " ".join(f"{name}={getattr(record, name)}" for name in _FIELDS if getattr(record, name, "") != "")
        # What a client wrote must not look like a line of ours.
        text = f"{clock} {record.levelname.lower():7} {record.getMessage()} {fields}".rstrip()
        line = "".join(rune if rune.isprintable() else "?" for rune in text)
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


def write_logs(level: str = "info", *, as_json: bool | None = None, stream: TextIO | None = None) -> None:
    """Write the log to `stream` (standard error); as JSON unless it is a terminal, or as asked for."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JSONLines() if as_json or (as_json is None and not stream.isatty()) else Plain())
    for name in _NAMES:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level.upper() if name == "conch_ollama" else logging.WARNING)
