"""For what comes true in another thread or process."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(true: Callable[[], bool], seconds: float = 10.0, fault: str = "it did not come true") -> None:
    """Returns as soon as `true` is; fails with `fault` where it is not within that time."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, fault
        time.sleep(0.01)
