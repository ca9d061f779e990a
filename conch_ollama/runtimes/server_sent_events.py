"""Server-sent events out of bytes: the data of each event, as it stands. Parses no JSON.

Source: the WHATWG's HTML standard, 9.2.6. Event names, ids and comments are left out: the OpenAI dialect has its whole
meaning in the data.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence

_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE_END = re.compile(rb"\r\n|\n|\r")
DONE = b"[DONE]"
_BEGIN = b"data: "


class Events:
    """Cuts the data of events out of pieces, which may end anywhere: `feed` each, then `end`.

    Data comes but for `[DONE]`, without line feeds of its own where it is one line, as JSON is. What comes after the
    last blank line is an event too: some servers leave it out.
    """

    def __init__(self) -> None:
        #: Of an event that has not ended.
        self.pending = b""

    def feed(self, piece: bytes) -> Sequence[bytes]:
        """The events that have come to their ends."""
        # Almost always a piece is whole events of one line each.
        if not self.pending and piece.startswith(_BEGIN) and piece.endswith(b"\n\n"):
            found = piece[len(_BEGIN) : -2].split(b"\n\n" + _BEGIN)
            if piece.count(b"\n") == 2 * len(found) and piece.find(b"\r") < 0:
                return [data for data in found if data and data != DONE]
        pending = self.pending + piece
        if pending.endswith(b"\r"):
            self.pending = pending
            return ()  # the other half of a line's end may follow
        *whole, self.pending = _END.split(pending)
        return _all_data(whole)

    def end(self) -> Sequence[bytes]:
        """What is left."""
        left, self.pending = self.pending, b""
        return _all_data(_END.split(left))


async def events(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of each event of a stream, see Events."""
    cut = Events()
    async for piece in pieces:
        for data in cut.feed(piece):
            yield data
    for data in cut.end():
        yield data


def _all_data(events: Sequence[bytes]) -> list[bytes]:
    return [data for event in events if (data := _data(event)) and data != DONE]


def _data(event: bytes) -> bytes:
    lines = []
    for line in _LINE_END.split(event):
        if line.startswith(b"data:"):
            value = line[5:]
            lines.append(value[1:] if value.startswith(b" ") else value)
    # Between lines of one JSON text a space does what a line feed would, and keeps it on one line.
    return b" ".join(lines)
