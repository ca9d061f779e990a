"""Pieces of text in llama.cpp's stream, known by their likeness to the one before: read is only where the text ends.

Most of a stream is such pieces, so this is what a token costs.
"""

from __future__ import annotations

import re

#: The data of an event that holds a piece of a chat's text or thought, or of a completion's text, and no usage.
_EVENT = re.compile(
    rb'(\{"choices":\[\{(?:"finish_reason":null,"index":\d+,"delta":\{"(?:reasoning_)?content":|"text":)")'
    rb'[^"\n]+'
    rb'("(?:\}\}\]|,"index":\d+,"logprobs":null,"finish_reason":null\}\]),"created":[^{}\[\]\n]*\})'
)
_BEFORE, _AFTER = b"data: ", b"\n\n"


class Texts:
    """Does again with pieces of a stream what has been done with one that is like them: `learn` that, then ask `like`.

    A new second changes the likeness, as llama.cpp stamps each piece with its time.
    """

    def __init__(self) -> None:
        self._before = self._after = _AFTER  # nothing begins with it
        self._made_before = self._made_after = b""
        self._new: tuple[bytes, bytes] | None = None

    def learn(self, data: bytes, made: bytes) -> None:
        """The data of an event, and the chunk that was made of it. Of no effect unless both hold a piece of text."""
        self._new = data, made  # is read when the next piece is asked about: the first one is not to wait for it

    def _read(self, data: bytes, made: bytes) -> None:
        told, ours = _EVENT.fullmatch(data), _EVENT.fullmatch(made)
        if told is not None and ours is not None:
            self._before, self._after = _BEFORE + told[1], told[2] + _AFTER
            self._made_before, self._made_after = ours.groups()

    def like(self, piece: bytes) -> bytes | None:
        """The chunk for a piece of the stream that is one event like the last one. None: it is not."""
        if self._new is not None:
            self._read(*self._new)
            self._new = None
        if not (piece.startswith(self._before) and piece.endswith(self._after)):
            return None
        text = piece[len(self._before) : -len(self._after)]
        # With a quote in it, more than a text may stand here. `in` would raise and catch an error on its way.
        if not text or text.find(b'"') >= 0:
            return None
        return self._made_before + text + self._made_after
