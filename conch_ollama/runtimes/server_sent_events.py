"""Server-sent events out of bytes: the data of each event, as it stands. Parses no JSON.

Source: the WHATWG's HTML standard, 9.2.6. Event names, ids and comments are left out: the OpenAI dialect has its whole
meaning in the data.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE_END = re.compile(rb"\r\n|\n|\r")
DONE = b"[DONE]"


async def events(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of each event but `[DONE]`, without line feeds of its own where it is one line, as JSON is.

    Pieces may end anywhere. What comes after the last blank line is an event too: some servers leave it out.
    """
    pending = b""
    async for piece in pieces:
        # Almost always a piece is exactly one event of one line.
        if not pending and piece.startswith(b"data: ") and piece.find(b"\n") == len(piece) - 2 and piece[-1] == 10:
            data = piece[6:-2]
            if data != DONE:
                yield data
            continue
        pending += piece
        if pending.endswith(b"\r"):
            continue  # the other half of a line's end may follow
        *whole, pending = _END.split(pending)
        for event in whole:
            data = _data(event)
            if data and data != DONE:
                yield data
    for event in _END.split(pending):
        data = _data(event)
        if data and data != DONE:
            yield data


def _data(event: bytes) -> bytes:
    lines = []
    for line in _LINE_END.split(event):
        if line.startswith(b"data:"):
            value = line[5:]
            lines.append(value[1:] if value.startswith(b" ") else value)
    # Between lines of one JSON text a space does what a line feed would, and keeps it on one line.
    return b" ".join(lines)
