"""Pieces that a runtime hands over the moment they come: every dialect makes of them what it makes of the others."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from conch_ollama.runtimes.protocol import Body, Chunk
from tests.server.made_runtime import MadeRuntime, chunk
from tests.server.running import RunningShim

DELTAS: list[dict[str, Any]] = [
    {"role": "assistant", "content": "Ask"},
    {"reasoning_content": "Who asks?"},
    {"content": " the 螺"},
    {"reasoning_content": " Nobody."},
    {"content": ' "now"'},
]
TEXT = 'Ask the 螺 "now"'


async def _say(model: str, body: Body) -> AsyncGenerator[Chunk, None]:
    for delta in DELTAS:
        yield chunk(model, delta)
    yield chunk(model, {}, finish="stop")
    yield Chunk.of({**chunk(model, {}).data, "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}})


class Keeps(MadeRuntime):
    """Hands nothing over."""

    def chat(self, model: str, body: Body, take: object = None) -> AsyncGenerator[Chunk, None]:
        return super().chat(model, body)


def _asked(runtime: MadeRuntime, path: str, body: dict[str, Any]) -> list[Any]:
    """The JSON of the answer, piece by piece, without what is of the moment."""
    runtime.script = _say
    with RunningShim({"made": runtime}) as running:
        answer = running.client.post(path, json={"model": "made", **body})
        assert answer.status_code == 200
        lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    text = re.sub(r'"(created|created_at|[a-z_]*duration)": ?("[^"]*"|\d+)', r'"\1":0', "\n".join(lines))
    return [json.loads(line) if line != "[DONE]" else line for line in text.splitlines()]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
        ("/v1/completions", {"prompt": "hi"}),
        ("/api/chat", {"messages": [{"role": "user", "content": "hi"}]}),
        ("/api/chat", {"messages": [{"role": "user", "content": "hi"}], "think": False}),
        ("/api/generate", {"prompt": "hi", "raw": True}),
        ("/generate", {"prompt": "hi"}),
    ],
)
def test_taken_or_not(path: str, body: dict[str, Any], stream: bool) -> None:
    hands, keeps = MadeRuntime(), Keeps()
    found = _asked(hands, path, body | {"stream": stream})
    assert found == _asked(keeps, path, body | {"stream": stream})
    assert TEXT in json.dumps(found, ensure_ascii=False).replace('\\"', '"') or stream
    assert (hands.taken, keeps.taken) == (5, 0)
