"""The last answers, kept in memory for a while so that a rating can be stored with what it rates. Writes nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from conch_ollama.runtimes.protocol import Chunk

if TYPE_CHECKING:
    from conch_ollama.server.answering import Job


@dataclass(frozen=True)
class RecentAnswer:
    """An answer that can be rated by the one who got it. `size` in bytes, about."""

    model: str
    version: str
    caller: str
    body: Mapping[str, Any]
    chunks: Sequence[Chunk]
    size: int
    request_id: str


class RecentAnswers:
    """By the answer's id or its request's; the oldest go when there are too many, or too much text."""

    def __init__(self, count: int = 2000, size: int = 32 * 2**20) -> None:
        self._count = count
        self._limit = size
        self._size = 0
        self._answers: OrderedDict[str, RecentAnswer] = OrderedDict()
        self._by_request: dict[str, str] = {}

    def keep(self, job: Job, chunks: Sequence[Chunk]) -> None:
        """Remember one answer; one that is too large for the whole memory is not kept."""
        # Without the parsed form, which weighs more than its text.
        bare = [Chunk(chunk.raw) for chunk in chunks]
        size = sum(len(chunk.raw) for chunk in bare) + _weight(job.body)
        served = job.served
        if size > self._limit:
            return
        self.forget(job.tally.id)
        self._answers[job.tally.id] = RecentAnswer(
            served.target, served.card.version, job.visitor.caller.name, job.body, bare, size, job.visitor.request_id
        )
        self._by_request[job.visitor.request_id] = job.tally.id
        self._size += size
        while len(self._answers) > self._count or self._size > self._limit:
            self.forget(next(iter(self._answers)))

    def get(self, answer_id: str, caller: str) -> RecentAnswer | None:
        """The answer, if this caller got it. Answers in Ollama's dialect have no id: there it is the request's."""
        found = self._answers.get(answer_id) or self._answers.get(self._by_request.get(answer_id, ""))
        return found if found is not None and found.caller == caller else None

    def forget(self, answer_id: str) -> None:
        """Drop one answer."""
        found = self._answers.pop(answer_id, None)
        if found is not None:
            self._size -= found.size
            self._by_request.pop(found.request_id, None)


def _weight(value: Any) -> int:
    """Characters of all texts in a JSON value."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(_weight(part) for part in value.values())
    if isinstance(value, list):
        return sum(_weight(part) for part in value)
    return 8
