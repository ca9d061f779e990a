"""How many requests a minute a caller may send: a bucket each, that fills evenly. Knows no requests, only names."""

from __future__ import annotations

import time
from collections.abc import Callable

from conch_ollama.server.errors import busy


class Rates:
    """Buckets by caller. A bucket holds a minute's worth, so short bursts pass."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, caller: str, per_minute: int) -> None:
        """One request. Raises Refusal (429) with the seconds until the next is allowed."""
        now = self._clock()
        level, since = self._buckets.get(caller, (float(per_minute), now))
        level = min(float(per_minute), level + (now - since) * per_minute / 60)
        if level < 1:
            self._buckets[caller] = (level, now)
            wait = (1 - level) * 60 / max(per_minute, 1e-9)
            raise busy(429, f"More than {per_minute} requests a minute.", wait, "rate_limit_exceeded")
        self._buckets[caller] = (level - 1, now)
        if len(self._buckets) > 10_000:
            self._forget_full(now)

    def _forget_full(self, now: float) -> None:
        self._buckets = {name: bucket for name, bucket in self._buckets.items() if now - bucket[1] < 60}
