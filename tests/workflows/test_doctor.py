"""doctor finds what is here, and takes nothing missing for an error."""

from __future__ import annotations

import pytest

from conch_ollama.workflows.doctor import examine
from tests.parts.ollama import OllamaServer


def test_without_ollama(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    found = examine()
    sections = {title: dict(rows) for title, rows in found.sections}
    assert sections["runtimes"]["Ollama"].startswith("none")
    assert sections["runtimes"]["embedded llama.cpp"].startswith("xllamacpp")
    assert "Q4_K" in ", ".join(sections["kernels"].values())
    assert any("conch chat" in text for text in found.advice)


def test_with_ollama(ollama_server: OllamaServer) -> None:
    found = examine(ollama_server.host)
    sections = {title: dict(rows) for title, rows in found.sections}
    assert ollama_server.host in sections["runtimes"]["Ollama"]
