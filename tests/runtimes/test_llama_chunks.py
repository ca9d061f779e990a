"""llama.cpp's chunks as ours: several answers at once have one usage, at the end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conch_ollama.runtimes.llama_chunks import ChatChunks, CompletionChunks
from conch_ollama.runtimes.llama_models import ALIAS


def usage(said: int) -> dict[str, int]:
    return {"completion_tokens": said, "prompt_tokens": 32, "total_tokens": 32 + said}


def collected(kind: type[ChatChunks], *events: dict[str, Any]) -> list[dict[str, Any]]:
    chunks = kind(ALIAS, "m")
    raw = [json.dumps({"model": ALIAS, **event}, separators=(",", ":")).encode() for event in events]
    return [chunk.data for data in raw for chunk in chunks.feed(data)] + [chunk.data for chunk in chunks.end()]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_chats_usage_is_one_and_last(count: int) -> None:
    events = []
    for index in range(count):
        events += [{"choices": [{"index": index, "delta": {}}]}, {"choices": [], "usage": usage(index + 2)}]
    *before, last = collected(ChatChunks, *events)
    assert [chunk["choices"][0]["index"] for chunk in before] == list(range(count))
    assert last == {"model": "m", "choices": [], "usage": usage(sum(range(2, count + 2)))}


def test_a_completions_usage_is_one_and_last() -> None:
    events = [{"choices": [{"index": index, "text": "x"}], "usage": usage(4)} for index in (1, 0)]
    first, second, last = collected(CompletionChunks, *events)
    assert [first["choices"][0]["index"], second["choices"][0]["index"]] == [1, 0]
    assert "usage" not in first
    assert last["usage"] == usage(8)
