"""One time of creation for all chunks of an answer, without parsing them.

llama.cpp stamps each chunk with the time of its own; clients may take `created` for part of the answer's identity. In
JSON text a key with its quotes can't be part of a string, where they would be escaped.
"""

from __future__ import annotations

_KEY = b'"created":'
_DIGITS = 10  # up to the year 2286


class OneTime:
    """Remembers the first chunk's `created` and writes it into the others."""

    def __init__(self) -> None:
        self._first = b""

    def into(self, raw: bytes) -> bytes:
        """The chunk with the first one's time."""
        at = raw.find(_KEY) + len(_KEY)
        if at < len(_KEY):
            return raw
        if raw.startswith(b" ", at):
            at += 1
        if self._first and raw.startswith(self._first, at):
            return raw
        digits = raw[at : at + _DIGITS]
        if len(digits) < _DIGITS or not digits.isdigit():
            return raw
        self._first = self._first or digits
        return raw[:at] + self._first + raw[at + _DIGITS :]
