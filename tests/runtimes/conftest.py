"""Fixtures of the supervised runtime."""

from __future__ import annotations

from tests.runtimes.supervised import gguf, long_gguf

__all__ = ["gguf", "long_gguf"]
