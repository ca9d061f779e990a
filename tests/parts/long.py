"""Which of many like cases belong to the quick run: the others are marked `long` and run by `make test-long`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def shortened(names: Iterable[str], quick: Collection[str]) -> list[Any]:
    """All `names` as parameters; those that are not `quick` are marked long. Every quick one must be there."""
    found = list(names)
    missing = set(quick) - set(found)
    if missing:
        raise ValueError(f"no such case: {', '.join(sorted(missing))}")
    return [name if name in quick else pytest.param(name, marks=pytest.mark.long) for name in found]
