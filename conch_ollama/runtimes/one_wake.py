"""Being woken once for an answer's head and its first text, instead of once for each.

llama.cpp's server writes the two within a tenth of a millisecond. Who is woken for the head alone has just had the
processor when the text comes, and Linux lets such a one wait for its next tick, up to 4 ms, behind a thread of
llama.cpp that only looks for work.

Source: SO_RCVLOWAT in socket(7), which polling heeds; the end of a connection wakes at once all the same.
"""

from __future__ import annotations

import socket
import sys

#: Bytes: more than a head of llama.cpp's (about 170), fewer than one with any text of a stream behind it.
_HEAD_AND_MORE = 200


def wait_for_more(made: socket.socket) -> None:
    """A few bytes on their own wake nobody."""
    _wake_at(made, _HEAD_AND_MORE)


def wait_for_any(made: socket.socket) -> None:
    """As usual: whatever comes wakes."""
    _wake_at(made, 1)


def _wake_at(made: socket.socket, size: int) -> None:
    if sys.platform == "linux":
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
