"""Fixtures shared by all rooms: the real parts, each provided once a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts.ollama import OllamaServer


@pytest.fixture(scope="session")
def ollama_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OllamaServer]:
    """A real Ollama with an empty store, one for the session; its log carries every rendered prompt."""
    with OllamaServer(tmp_path_factory.mktemp("ollama") / "models", debug=True) as server:
        yield server


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """SmolLM2-135M-Instruct, Q4_1."""
    from tests.parts.smollm2 import smollm2_gguf as provide_gguf

    return provide_gguf()
