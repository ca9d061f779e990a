"""Which of many refused requests get a line of their own in the audit: a flood of them must not fill the disk.

Counts what it leaves out. Knows no file and no clock: times are given, in seconds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

Kind = tuple[str, str]


@dataclass(frozen=True)
class LeftOut:
    """`count` requests of one `result` that got no line since `since`; `address` is empty where it were too many."""

    address: str
    result: str
    count: int
    since: float


class Flood:
    """In each window of `window_s` seconds at most `each` lines for one address and result, and `together` in all."""

    def __init__(self, window_s: float = 60.0, each: int = 10, together: int = 100) -> None:
        self.window_s = window_s
        self._each = each
        self._together = together
        self._since = float("-inf")
        self._lines: Counter[Kind] = Counter()
        self._left_out: Counter[Kind] = Counter()

    def admits(self, address: str, result: str, now: float) -> bool:
        """Whether this one gets a line; if not, it is counted. Ask `ended` first."""
        if now - self._since >= self.window_s:
            self._since = now
            self._lines.clear()
        kind = (address, result)
        if self._lines.total() >= self._together:
            # No new names now: a flood from everywhere must not fill the memory either.
            self._left_out[kind if kind in self._lines else ("", result)] += 1
            return False
        if self._lines[kind] >= self._each:
            self._left_out[kind] += 1
            return False
        self._lines[kind] += 1
        return True

    def ended(self, now: float = float("inf")) -> list[LeftOut]:
        """What was left out in a window that is over by `now`; told once."""
        if not self._left_out or now - self._since < self.window_s:
            return []
        told = [LeftOut(*kind, count, self._since) for kind, count in self._left_out.items()]
        self._left_out.clear()
        return told
