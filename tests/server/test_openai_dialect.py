"""OpenAI's dialect on chunks that no small model makes: other names, thoughts, calls, usage in the wrong place."""

from __future__ import annotations

import json

import pytest

from conch_ollama.runtimes.protocol import Chunk
from conch_ollama.server.dialects.openai import Rewriter, Whole
from tests.server.made_runtime import MadeRuntime
from tests.server.running import RunningShim

HI = [{"role": "user", "content": "hi"}]


def made(choices: list, **more: object) -> Chunk:
    return Chunk.of(
        {"id": "i", "object": "chat.completion.chunk", "created": 5, "model": "inner", "choices": choices, **more}
    )


def one(delta: dict, finish: str | None = None, index: int = 0) -> list:
    return [{"index": index, "delta": delta, "finish_reason": finish}]


def rewritten(*chunks: Chunk, model: str = "outer", usage: bool = True, field: str = "reasoning_content") -> list[dict]:
    rewriter = Rewriter(model, usage=usage, reasoning_field=field)
    told = b"".join(rewriter.events((chunk,)) for chunk in chunks)
    return [json.loads(data.removeprefix(b"data: ")) for data in told.split(b"\n\n") if data]


def test_chunks_of_the_same_name_pass_as_they_are() -> None:
    raw = b'{"model":"m","id":"i","created":5,"x":[1, 2],"choices":[{"index":0,"delta":{"content":"a"}}]}'
    rewriter = Rewriter("m", usage=True, reasoning_field="reasoning_content")
    for chunk in (Chunk(raw), Chunk(raw)):
        assert rewriter.events((chunk,)) == b"data: " + raw + b"\n\n"
        assert "data" not in vars(chunk), "it was parsed"


def test_one_name_and_one_time_of_creation() -> None:
    found = rewritten(
        made(one({"content": '"model":"inner","created":9'})), Chunk(b'{"created": 6, "model":"inner", "choices": []}')
    )
    assert [(chunk["model"], chunk["created"]) for chunk in found] == [("outer", 5), ("outer", 5)]
    assert found[0]["choices"][0]["delta"]["content"] == '"model":"inner","created":9'


@pytest.mark.parametrize("name", ['a"b', "\\", "模型", "a/b:c@1", '","x":"'])
def test_any_name(name: str) -> None:
    found = rewritten(made(one({"content": "x"})), made(one({"content": "y"})), model=name)
    assert [chunk["model"] for chunk in found] == [name, name]
    again = Chunk.of({"id": "i", "created": 5, "model": name, "choices": []})
    assert rewritten(again, model="plain")[0]["model"] == "plain"


def test_usage_gets_a_chunk_of_its_own_or_none() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    mixed = made(one({}, "stop"), usage=usage)
    finish, last = rewritten(made(one({"content": "x"}), usage=None), mixed)[1:]
    assert "usage" not in finish
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert (last["choices"], last["usage"], last["id"]) == ([], usage, "i")
    assert [chunk.get("usage") for chunk in rewritten(mixed, usage=False)] == [None]
    assert rewritten(made(one({}, "stop")), made([], usage=usage), usage=False)[1:] == []


def test_empty_thoughts_are_left_out_and_the_field_has_the_name_that_is_set() -> None:
    chunks = (
        made(one({"role": "assistant", "reasoning_content": None})),
        made(one({"content": "x", "reasoning_content": ""})),
        made(one({"reasoning_content": "hm", "content": '"reasoning_content":'})),
    )
    found = [chunk["choices"][0]["delta"] for chunk in rewritten(*chunks, field="reasoning")]
    assert found == [{"role": "assistant"}, {"content": "x"}, {"reasoning": "hm", "content": '"reasoning_content":'}]


def test_a_whole_answer_of_two_choices_with_calls_and_log_probabilities() -> None:
    whole = Whole()
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
    for chunk in (
        made(one({"role": "assistant", "reasoning_content": "h"})),
        made(one({"reasoning_content": "m"})),
        made(one({"tool_calls": [call]})),
        made(one({"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]})),
        made(one({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]})),
        made(one({"tool_calls": [{"index": 1, "id": "c2", "function": {"name": "g", "arguments": "{}"}}]})),
        made([{"index": 1, "delta": {"content": "x"}, "logprobs": {"content": [{"token": "x"}]}}]),
        made([{"index": 1, "delta": {"content": "y"}, "logprobs": {"content": [{"token": "y"}]}}]),
        made(one({}, "tool_calls") + one({}, "stop", 1)),
        made([], usage={"total_tokens": 3}),
    ):
        whole.add(chunk)
    answer = whole.chat("outer", "reasoning")
    first, second = answer["choices"]
    assert first["message"] == {
        "role": "assistant",
        "content": None,
        "reasoning": "hm",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
            {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
    }
    assert (first["finish_reason"], second["finish_reason"]) == ("tool_calls", "stop")
    assert second["message"] == {"role": "assistant", "content": "xy"}
    assert [piece["token"] for piece in second["logprobs"]["content"]] == ["x", "y"]
    assert (answer["usage"], answer["model"], answer["created"]) == ({"total_tokens": 3}, "outer", 5)


def test_responses_are_passed_on_where_the_runtime_has_them() -> None:
    runtime = MadeRuntime()
    with RunningShim({"made": runtime}) as running:
        answer = running.client.post("/v1/responses", json={"model": "made", "input": "hi"})
        assert (answer.status_code, answer.json()["id"]) == (200, "resp-made")
        metrics = running.client.get("/metrics").text
        assert 'conch_tokens_in_total{model="made",version=""} 5.0' in metrics
        assert 'conch_tokens_out_total{model="made",version=""} 3.0' in metrics
        refused = running.client.post("/v1/messages", json={"model": "made", "messages": HI})
        assert (refused.status_code, refused.json()["error"]["code"]) == (501, "not_supported")


def test_what_the_runtime_is_asked(made_shim: tuple[RunningShim, MadeRuntime]) -> None:
    running, runtime = made_shim
    body = {
        "model": "made:latest",
        "messages": [{"role": "developer", "content": "be kind"}, {"role": "user", "content": "hi"}],
        "temperature": None,
        "top_k": 7,
        "tools": [{"type": "function", "function": {"name": "f"}}],
    }
    assert running.client.post("/v1/chat/completions", json=body).json()["model"] == "made:latest"
    model, asked = runtime.asked[-1]
    assert model == "made"
    assert asked["messages"][0] == {"role": "system", "content": "be kind"}
    assert (asked["top_k"], asked["tools"], "temperature" in asked) == (7, body["tools"], False)


@pytest.fixture(scope="module")
def made_shim():
    runtime = MadeRuntime()
    with RunningShim({"made": runtime}) as running:
        yield running, runtime


@pytest.mark.bad_input("OpenAI requests whose fields are wrong")
@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages.0.role"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"max_tokens": -5}, "max_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"n": 1000}, "n"),
        ({"seed": 2**70}, "seed"),
        ({"tools": [{"type": "function"}]}, "tools.0.function"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"model": 5}, "model"),
    ],
)
def test_wrong_fields(made_shim: tuple[RunningShim, MadeRuntime], change: dict, param: str) -> None:
    running, runtime = made_shim
    before = len(runtime.asked)
    body = {"model": "made", "messages": [{"role": "user", "content": "hi"}]} | change
    answer = running.client.post("/v1/chat/completions", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_value")
    assert answer.json()["error"]["param"].startswith(param)
    assert answer.headers["x-should-retry"] == "false"
    assert len(runtime.asked) == before
