"""What the Ollama runtime asks Ollama for one request, beside the request itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from conch_ollama.errors import RuntimeRefusedError
from conch_ollama.runtimes.ollama import OllamaRuntime

PIXEL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


@pytest.mark.bad_input("a picture for a model in Ollama that has no eyes")
@pytest.mark.parametrize("wishes", [{}, {"reasoning_effort": "low"}], ids=["plain", "with a thought"])
def test_what_a_model_can_is_asked_once(monkeypatch: pytest.MonkeyPatch, wishes: dict[str, str]) -> None:
    runtime = OllamaRuntime("http://127.0.0.1:9")
    asked: list[tuple[str, str]] = []

    async def ask(method: str, path: str, *_: Any, **__: Any) -> dict[str, list[str]]:
        asked.append((method, path))
        return {"capabilities": ["completion", "thinking"]}

    monkeypatch.setattr(runtime._door, "ask", ask)

    async def chat() -> None:
        async for _ in runtime.chat("m", {"messages": [{"role": "user", "content": [PIXEL]}], **wishes}):
            pass

    with pytest.raises(RuntimeRefusedError, match="takes text only"):
        asyncio.run(chat())
    assert asked == [("POST", "/api/show")]
