"""A gap filled in by llama.cpp's own /infill, formats of plain completions, and what tokens a model reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conch_ollama.errors import RuntimeRefusedError
from conch_ollama.runtimes.gguf_card import read_facts
from conch_ollama.runtimes.llama_body import chat_request, completion_request
from conch_ollama.runtimes.llama_models import LlamaCppModel
from conch_ollama.runtimes.llama_server import LlamaCppRuntime
from conch_ollama.runtimes.protocol import ShowsTokens
from tests.parts.scripted_gguf import scripted_gguf

GAP = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
ANSWER = "return a + b"


@pytest.fixture(scope="module")
def coder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scripted_gguf(tmp_path_factory.mktemp("coder") / "coder.gguf", ANSWER, extra_tokens=GAP)


@pytest.fixture
def runtime(coder: Path) -> Iterator[LlamaCppRuntime]:
    yield LlamaCppRuntime([LlamaCppModel("coder", coder, num_ctx=512, threads=1, slots=1)])


def asked(runtime: LlamaCppRuntime, *calls: Any) -> list[Any]:
    """What each call gives: a coroutine its value, a stream the data of its chunks."""

    async def run() -> list[Any]:
        try:
            return [
                [chunk.data async for chunk in call] if hasattr(call, "__aiter__") else await call for call in calls
            ]
        finally:
            await runtime.close()

    return asyncio.run(run())


def test_a_gap_is_filled_in_and_its_tokens_are_told(runtime: LlamaCppRuntime) -> None:
    assert isinstance(runtime, ShowsTokens)
    gap = {"prompt": "def add(a, b):\n    ", "suffix": "\n", "temperature": 0, "logprobs": 2, "max_tokens": 50}
    chat = {"messages": [{"role": "user", "content": "hi"}]}
    chunks, short, prompt, tokens, text = asked(
        runtime,
        runtime.complete("coder", gap),
        runtime.complete("coder", gap | {"max_tokens": 1, "logprobs": None}),
        runtime.rendered("coder", chat),
        runtime.tokenize("coder", f"{GAP[0]}ab"),
        runtime.detokenize("coder", [0, 1, 2]),
    )
    *said, end, last = chunks
    assert "".join(chunk["choices"][0]["text"] for chunk in said) == ANSWER
    seen = [token for chunk in said for token in (chunk["choices"][0]["logprobs"] or {"content": []})["content"]]
    assert "".join(token["token"] for token in seen).startswith(ANSWER)
    assert {len(token["top_logprobs"]) for token in seen} == {2}
    assert end["choices"][0] == {"text": "", "index": 0, "logprobs": None, "finish_reason": "stop"}
    assert (last["choices"], last["usage"]["completion_tokens"], last["model"]) == ([], len(seen), "coder")
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert short[-2]["choices"][0]["finish_reason"] == "length"
    assert prompt.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
    assert len(tokens) == 3
    assert len(text) == 3


@pytest.mark.bad_input("a gap for a model without tokens for it")
def test_a_model_that_fills_no_gap(tmp_path: Path) -> None:
    path = scripted_gguf(tmp_path / "plain.gguf", ANSWER, extra_tokens=GAP[:2])
    runtime = LlamaCppRuntime([LlamaCppModel("plain", path, threads=1)])
    with pytest.raises(RuntimeRefusedError, match="plain does not support insert") as caught:
        asked(runtime, runtime.complete("plain", {"prompt": "a", "suffix": "b"}))
    assert caught.value.code == "runtime-refused"


def test_which_files_can_is_read_from_their_tokens(coder: Path, smollm2_gguf: Path) -> None:
    assert "insert" in read_facts(coder).card.capabilities
    assert "insert" not in read_facts(smollm2_gguf).card.capabilities


@pytest.mark.bad_input("fields of OpenAI's that llama.cpp would leave out without a word")
@pytest.mark.parametrize("field", [{"echo": True}, {"best_of": 3}])
def test_what_would_be_left_out_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(RuntimeRefusedError, match="neither echo nor best_of") as caught:
        completion_request({"prompt": "x", **field}, options={})
    assert caught.value.code == "runtime-refused"
    assert completion_request({"prompt": "x", "echo": False, "best_of": 1}, options={})


def test_logarithms_without_others_are_asked_with_one() -> None:
    chat = {"messages": [{"role": "user", "content": "hi"}]}
    for top in (None, 0):
        asked = json.loads(chat_request({**chat, "logprobs": True, "top_logprobs": top}, options={}))
        assert (asked["logprobs"], asked["top_logprobs"]) == (True, 1)
    assert "top_logprobs" not in json.loads(chat_request(chat, options={}))
    assert json.loads(completion_request({"prompt": "x", "logprobs": 0}, options={}))["logprobs"] == 1


@pytest.mark.parametrize(
    ("wanted", "schema"),
    [
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "array"}}}, {"type": "array"}),
        ({"type": "text"}, None),
    ],
)
def test_the_format_of_a_plain_completion(wanted: dict[str, Any], schema: Any) -> None:
    made = json.loads(completion_request({"prompt": "x", "response_format": wanted}, options={}))
    assert made.get("json_schema") == schema
    assert "response_format" not in made
