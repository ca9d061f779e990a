"""Fixtures of the default suite that this one uses too."""

from __future__ import annotations

from tests.conftest import ollama_server, smollm2_gguf

__all__ = ["ollama_server", "smollm2_gguf"]
