"""`keep_alive` as Ollama takes it: seconds, or Go's notation of a duration ("5m", "1h30m", "-1")."""

from __future__ import annotations

import math
import re
from typing import Any

from conch_ollama.errors import RuntimeRefusedError

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


def keep_alive_seconds(value: Any) -> float | None:
    """Seconds, -1.0 for ever, None where nothing is said. Raises RuntimeRefusedError on what is no duration."""
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value):
        return -1.0 if value < 0 else min(float(value), 1e9)
    if isinstance(value, str):
        text = value.strip()
        sign, text = (-1, text[1:]) if text.startswith("-") else (1, text)
        if text.isascii() and text.isdigit():
            return -1.0 if sign < 0 else min(float(text), 1e9)
        parts = _PART.findall(text)
        if parts and "".join(number + unit for number, unit in parts) == text:
            total = sum(float(number) * _UNITS[unit] for number, unit in parts)
            return -1.0 if sign < 0 else min(total, 1e9)
    raise RuntimeRefusedError(f"keep_alive is no duration: {str(value)[:40]}", hint='seconds, or "5m", "1h", -1')
