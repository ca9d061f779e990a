"""Logarithms through Ollama's own API: asked for, translated, and not left out in silence by a version without them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conch_ollama.errors import NotSupportedError
from conch_ollama.runtimes.ollama_body import chat_request, generate_request
from conch_ollama.runtimes.ollama_chunks import OllamaAnswer

SEEN = [{"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": []}]


def chunks(answer: OllamaAnswer, **line: Any) -> list[dict[str, Any]]:
    return [chunk.data for chunk in answer.chunks(json.dumps({"done": False} | line).encode())]


def test_they_are_asked_for() -> None:
    messages = [{"role": "user", "content": "hi"}]
    chat = chat_request("m", {"messages": messages, "logprobs": True, "top_logprobs": 3}, thinks=False)
    assert (chat["logprobs"], chat["top_logprobs"]) == (True, 3)
    plain = generate_request("m", {"prompt": "hi", "logprobs": 2})
    assert (plain["logprobs"], plain["top_logprobs"], plain["raw"]) == (True, 2, True)
    assert generate_request("m", {"prompt": "hi", "logprobs": 0})["top_logprobs"] == 0
    assert "logprobs" not in chat_request("m", {"messages": messages}, thinks=False)
    assert "logprobs" not in generate_request("m", {"prompt": "hi"})


@pytest.mark.parametrize("kind", ["chat", "text"])
def test_they_come_with_their_text(kind: str) -> None:
    answer = OllamaAnswer("m", kind, logprobs=True)
    told = {"message": {"role": "assistant", "content": "x"}} if kind == "chat" else {"response": "x"}
    *_, last = chunks(answer, logprobs=SEEN, **told)
    assert last["choices"][0]["logprobs"] == {"content": SEEN}
    silent = {"message": {"role": "assistant", "content": ""}} if kind == "chat" else {"response": ""}
    *_, last = chunks(answer, logprobs=SEEN, **silent)
    assert last["choices"][0]["logprobs"] == {"content": SEEN}
    assert len(chunks(answer, **told)) == 1, "once seen, a piece without them is no sign of an old version"


@pytest.mark.bad_input("logarithms of a version of Ollama that has none")
def test_a_version_without_them() -> None:
    answer = OllamaAnswer("m", "chat", logprobs=True)
    assert chunks(answer, message={"role": "assistant", "content": ""})[0]["choices"][0]["delta"]["content"] == ""
    with pytest.raises(NotSupportedError, match=r"no logprobs; 0\.12\.11") as caught:
        chunks(answer, message={"role": "assistant", "content": "x"})
    assert caught.value.code == "not-supported"
