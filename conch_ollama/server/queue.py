"""The queue in front of one model: bounded, first come first served for one key, in turn between keys.

Knows nothing of requests: it hands out places. Not thread-safe: it lives in the event loop.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

from conch_ollama.server.errors import busy


class ModelQueue:
    """At most `parallel` places at once and `limit` waiting. `running` and `waiting` are counts."""

    def __init__(self, parallel: int, limit: int) -> None:
        self.parallel = parallel
        self.limit = limit
        self.running = 0
        self._lines: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._mean_s = 5.0

    @property
    def waiting(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def take(self) -> bool:
        """Take a place, which is to be left again, if one is free and nobody waits for it."""
        if self.running >= self.parallel or self._lines:
            return False
        self.running += 1
        return True

    async def wait(self, key: str, timeout_s: float) -> None:
        """Wait for a place, where none could be taken at once.

        Raises Refusal at once (429) when too many wait, and after `timeout_s` (503) when no place came free.
        """
        if self.waiting >= self.limit:
            raise busy(
                429, f"The model is busy: {self.waiting} requests are waiting already.", self.patience(), "queue_full"
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(key, deque()).append(turn)
        try:
            async with asyncio.timeout(timeout_s):
                await turn
        except (TimeoutError, asyncio.CancelledError) as err:
            self._give_up(key, turn)
            if isinstance(err, TimeoutError):
                raise busy(
                    503, f"No place came free within {timeout_s:g} s.", self.patience(), "queue_timeout"
                ) from err
            raise

    def leave(self, seconds: float) -> None:
        """Leave a place after as many seconds in it."""
        self._mean_s += 0.2 * (seconds - self._mean_s)
        self.running -= 1
        self._hand_over()

    def _give_up(self, key: str, turn: asyncio.Future[None]) -> None:
        """A waiter gives up. Its turn may have come in the same moment: then the place goes on to the next."""
        if turn.done() and not turn.cancelled():
            self.running -= 1
            self._hand_over()
            return
        line = self._lines.get(key)
        if line is not None and turn in line:
            line.remove(turn)
            if not line:
                del self._lines[key]

    def _hand_over(self) -> None:
        while self.running < self.parallel and self._lines:
            key, line = next(iter(self._lines.items()))
            turn = line.popleft()
            del self._lines[key]
            if line:
                self._lines[key] = line  # behind the other keys
            if not turn.done():
                self.running += 1
                turn.set_result(None)

    def resize(self, parallel: int, limit: int) -> None:
        """New bounds; who is in stays in."""
        self.parallel, self.limit = parallel, limit
        self._hand_over()

    def patience(self) -> float:
        """Seconds after which a place may be free: from the mean length of the last answers."""
        return min(60.0, max(1.0, self._mean_s * (self.waiting + 1) / max(1, self.parallel)))
