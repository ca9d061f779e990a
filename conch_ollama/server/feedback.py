"""Ratings of answers in SQLite, with model and adapter version; and preference pairs out of them."""

from __future__ import annotations

import errno
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conch_ollama.errors import BadFileError, NoSpaceError, NotFoundError, NotWritableError

_TABLE = """
CREATE TABLE IF NOT EXISTS feedback (
  answer TEXT NOT NULL, caller TEXT NOT NULL, time REAL NOT NULL, rating TEXT NOT NULL,
  model TEXT NOT NULL, version TEXT NOT NULL, asked TEXT NOT NULL, said TEXT NOT NULL,
  comment TEXT, better TEXT, PRIMARY KEY (answer, caller)
) STRICT
"""


@dataclass(frozen=True)
class Rating:
    """One rating. `asked`: the messages, or the prompt as one of the user's; `better`: what should have been said."""

    answer: str
    caller: str
    rating: str
    model: str
    version: str
    asked: list[dict[str, Any]]
    said: str
    comment: str | None = None
    better: str | None = None


def make_ready(path: Path) -> None:
    """Make the file, so that it is told at the start if that can't be. Raises NoSpaceError, NotWritableError."""
    with _opened(path):
        pass


def store(path: Path, rating: Rating) -> None:
    """Keep a rating; one caller's second rating of an answer takes the first one's place.

    Raises NoSpaceError, NotWritableError.
    """
    with _opened(path) as database:
        database.execute(
            "INSERT OR REPLACE INTO feedback VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                rating.answer,
                rating.caller,
                time.time(),
                rating.rating,
                rating.model,
                rating.version,
                json.dumps(rating.asked, ensure_ascii=False),
                rating.said,
                rating.comment,
                rating.better,
            ),
        )


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch(mode=0o600)
        with closing(sqlite3.connect(path, timeout=10)) as database, database:
            database.execute(_TABLE)
            yield database
    except (OSError, sqlite3.Error) as err:
        kind = NoSpaceError if _is_full(err) else NotWritableError
        raise kind(f"{path}: ratings can't be kept: {err}") from err


def _is_full(err: OSError | sqlite3.Error) -> bool:
    if isinstance(err, OSError):
        return err.errno == errno.ENOSPC
    return getattr(err, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL  # errors of Python's own have no code


def ratings(path: Path, *, model: str | None = None) -> Iterator[Rating]:
    """All ratings, the oldest first. Raises NotFoundError, BadFileError."""
    if not path.is_file():
        raise NotFoundError(f"no such file of ratings: {path}", hint="`conch serve --feedback FILE` keeps them")
    names = "answer, caller, rating, model, version, asked, said, comment, better"
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            for row in database.execute(f"SELECT {names} FROM feedback ORDER BY time"):  # noqa: S608 - our own names
                rating = Rating(*(json.loads(value) if n == 5 else value for n, value in enumerate(row)))
                if model in (None, rating.model):
                    yield rating
    except sqlite3.Error as err:
        raise BadFileError(f"{path} holds no ratings: {err}") from err


def pairs(found: Iterator[Rating]) -> Iterator[dict[str, Any]]:
    """Preference pairs, as LLaMA-Factory's `ranking` data in the sharegpt format has them.

    An answer with a better one beside it is a pair; so are a good and a bad answer to the same question by one model.
    """
    by_question: dict[str, dict[str, list[Rating]]] = {}
    for rating in found:
        if rating.better:
            yield _pair(rating, rating.better, rating.said)
        same = by_question.setdefault(json.dumps(rating.asked, sort_keys=True), {"up": [], "down": []})
        same[rating.rating].append(rating)
    for same in by_question.values():
        for good, bad in zip(same["up"], same["down"], strict=False):
            if good.said != bad.said:
                yield _pair(bad, good.said, bad.said)


def _pair(rating: Rating, chosen: str, rejected: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "conversations": [
            {"from": _FROM[message["role"]], "value": _text(message.get("content"))}
            for message in rating.asked
            if message["role"] in _FROM
        ],
        "chosen": {"from": "gpt", "value": chosen},
        "rejected": {"from": "gpt", "value": rejected},
        "model": rating.model,
        "version": rating.version,
    }
    system = "\n\n".join(_text(m.get("content")) for m in rating.asked if m["role"] == "system")
    return made | ({"system": system} if system else {})


_FROM = {"user": "human", "assistant": "gpt", "tool": "observation"}


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(part.get("text") or "" for part in content if part.get("type") == "text")
    return content or ""
