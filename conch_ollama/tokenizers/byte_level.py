"""The characters with which a byte-level BPE writes the 256 bytes (GPT-2's `bytes_to_unicode`)."""

from __future__ import annotations


def _characters() -> tuple[str, ...]:
    shown = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = iter(range(256, 512))
    return tuple(chr(byte) if byte in shown else chr(next(hidden)) for byte in range(256))


#: The character of each byte: printable ones of Latin-1 stand for themselves, the others follow from U+0100.
BYTE_CHARACTERS = _characters()
