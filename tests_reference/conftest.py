"""Fixtures of the default suite that this one uses too."""

from __future__ import annotations

from tests.conftest import smollm2_gguf

__all__ = ["smollm2_gguf"]
