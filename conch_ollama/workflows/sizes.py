"""Sizes as people write them: bytes, or with a unit (4GB, 1.5 GiB, 512M). Units without "i" are powers of ten."""

from __future__ import annotations

import re

from conch_ollama.errors import UsageError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt])(i?)b?|b)?", re.IGNORECASE)


def byte_count(text: str | int | None) -> int | None:
    """Bytes, None where nothing is said. Raises UsageError for what is no size, and for none at all."""
    if text is None:
        return None
    found = _SIZE.fullmatch(str(text).strip())
    count = 0
    if found is not None:
        number, unit, binary = found.groups()
        count = int(float(number) * (1024 if binary else 1000) ** ("kmgt".index(unit.lower()) + 1 if unit else 0))
    if count <= 0:
        raise UsageError(f"{str(text)[:40]!r} is no size of memory", hint="4GB, 1.5GiB, or bytes")
    return count
