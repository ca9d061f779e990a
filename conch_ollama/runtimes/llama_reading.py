"""An answer of llama.cpp as chunks: read piece by piece, or handed over the moment that a piece comes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence

from conch_ollama.runtimes.llama_chunks import Chunks
from conch_ollama.runtimes.llama_errors import sound
from conch_ollama.runtimes.protocol import Chunk, Take
from conch_ollama.runtimes.server_sent_events import Events
from conch_ollama.runtimes.worker_seats import Worker

#: What stands in a chunk that ends an answer, or a part of it.
_ENDS = re.compile(rb'"(?:usage"|finish_reason": ?")')


class Reading:
    """The chunks of one answer. `offered` is offered each piece first, `read` gets those that it did not take."""

    def __init__(self, worker: Worker, chunks: Chunks, take: Take | None) -> None:
        self._worker = worker
        self._chunks = chunks
        self._take = take
        self._events = Events()
        self._left: Sequence[Chunk] | None = None
        self._fault: Exception | None = None

    def offered(self, piece: bytes) -> bool:
        """Have `take` take the chunks of a piece; False: some are left for `read`, or it is not to be taken."""
        if self._take is None or self._events.pending:
            return False
        try:
            chunk = self._chunks.text(piece)
            taken = self._taken_apart(piece, self._take) if chunk is None else self._take((chunk,))
        except Exception as err:  # the answer's, not the connection's: it is raised where the answer is read
            self._fault = err
            return False
        if taken:
            self._worker.heard = time.monotonic()
        return taken

    def _taken_apart(self, piece: bytes, take: Take) -> bool:
        if not piece.endswith(b"\n\n"):
            return False
        made = self._made(self._events.feed(piece))
        # Asked of the chunks, since the event itself may be of a dialect that ends its answers otherwise.
        ends = any(_ENDS.search(chunk.raw) is not None for chunk in made)
        if not made or (not ends and take(made)):
            return True
        self._left = made
        return False

    def _made(self, events: Iterable[bytes]) -> list[Chunk]:
        return [chunk for data in events for chunk in self._chunks.feed(sound(data))]

    def read(self, piece: bytes) -> Sequence[Chunk]:
        """The chunks of a piece that was not taken. Raises what llama.cpp says went wrong."""
        if self._fault is not None:
            raise self._fault
        left, self._left = self._left, None
        return self._made(self._events.feed(piece)) if left is None else left

    def end(self) -> Sequence[Chunk]:
        """What could only be said at the end."""
        return [*self._made(self._events.end()), *self._chunks.end()]
