"""Embeddings: out of base64, and shortened."""

from __future__ import annotations

import base64
import math
import sys
from array import array


def decode_base64(text: str) -> list[float]:
    """Little-endian float32 in base64, as OpenAI's API has it."""
    found = array("f", base64.b64decode(text))
    if sys.byteorder == "big":
        found.byteswap()
    return found.tolist()


def shortened(vector: list[float], dimensions: int) -> list[float]:
    """The first dimensions, at unit length again (as OpenAI's `dimensions`)."""
    if dimensions >= len(vector):
        return vector
    first = vector[:dimensions]
    length = math.sqrt(sum(x * x for x in first))
    return [x / length for x in first] if length else first
