"""OpenAI's newer dialect and Anthropic's through the shim, at llama.cpp's own server: openai-python, and plain HTTP.

The models say an exact text: `plain`, `tools` (a thought and a call), `city` (JSON).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from conch_ollama.runtimes.llama_models import LlamaCppModel
from conch_ollama.runtimes.llama_server import LlamaCppRuntime
from conch_ollama.server.settings import ModelSettings, Settings
from tests.parts.scripted_gguf import scripted_gguf
from tests.runtimes.places import HI, TEXT, THOUGHT, TOOL, write_models
from tests.server.made_runtime import MadeRuntime
from tests.server.running import RunningShim, with_limits

TOOLS: Any = [{"type": "function", **TOOL["function"]}]
#: In Anthropic's dialect.
ANTHROPIC_TOOLS = [{"name": "get_weather", "input_schema": TOOL["function"]["parameters"]}]
CALLED = {"city": "比奇堡", "days": 3}


class City(BaseModel):
    """What `city` answers with."""

    city: str
    days: int


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningShim]:
    folder = tmp_path_factory.mktemp("models")
    files = write_models(folder)
    files["city"] = scripted_gguf(folder / "city.gguf", json.dumps(CALLED, ensure_ascii=False))

    def runtimes() -> dict[str, Any]:
        models = [LlamaCppModel(name, path, num_ctx=2048, slots=2, threads=1) for name, path in files.items()]
        return {"llama.cpp": LlamaCppRuntime(models)}

    with RunningShim(runtimes) as running:
        yield running


@pytest.fixture(scope="module")
def client(shim: RunningShim) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{shim.url}/v1", api_key="any", max_retries=0, timeout=60)


def streamed(client: openai.OpenAI, **asked: Any) -> tuple[list[Any], Any]:
    """The events of openai-python's own reading of a stream, and the answer that it makes of them."""
    with client.responses.stream(input="Hi", **asked) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    for event in events if "text_format" not in asked else ():  # it does not check them itself
        type(event).model_validate(event.to_dict(mode="json", warnings=False))
    return events, final


def test_a_response_is_the_same_streamed_and_whole(client: openai.OpenAI) -> None:
    events, final = streamed(client, model="plain", temperature=0)
    said = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(said) == final.output_text == TEXT
    whole = client.responses.create(model="plain", input="Hi", temperature=0)
    assert whole.output_text == TEXT
    type(whole).model_validate(whole.to_dict(mode="json", warnings=False))
    for answer in (final, whole):
        assert (answer.status, answer.model, answer.error, answer.incomplete_details) == (
            "completed",
            "plain",
            None,
            None,
        )
        assert (answer.temperature, answer.tools, answer.tool_choice) == (0, [], "auto")
        assert answer.usage is not None and answer.usage.output_tokens > 100


def test_thoughts_and_calls_of_a_response(client: openai.OpenAI) -> None:
    events, final = streamed(client, model="tools", tools=TOOLS)
    kinds = [event.type.removeprefix("response.") for event in events if not event.type.endswith(".delta")]
    assert kinds == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_item.added",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    whole = client.responses.create(model="tools", input="Hi", tools=TOOLS)
    for answer in (final, whole):
        thought, call = answer.output
        assert thought.content[0].text.strip() == THOUGHT
        assert (call.name, json.loads(call.arguments)) == ("get_weather", CALLED)
        # What it said goes back as it came, with the call's result.
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "sun"}
        again: Any = [{"role": "user", "content": "Hi"}, *answer.output, result]
        assert client.responses.create(model="tools", input=again, tools=TOOLS).output[-1].type == "function_call"


def test_a_response_is_bound_and_parsed(client: openai.OpenAI) -> None:
    whole = client.responses.parse(model="city", input="Hi", text_format=City)
    _, final = streamed(client, model="city", text_format=City)
    assert whole.output_parsed == final.output_parsed == City(city="比奇堡", days=3)
    wanted: Any = {"type": "json_schema", "name": "one", "schema": {"enum": ["yes"]}}
    bound = client.responses.create(model="plain", input="Hi", text={"format": wanted})
    assert json.loads(bound.output_text) == "yes"


def test_a_response_that_is_cut_says_so(client: openai.OpenAI) -> None:
    whole = client.responses.create(model="plain", input="Hi", max_output_tokens=5)
    *_, last = client.responses.create(model="plain", input="Hi", max_output_tokens=5, stream=True)
    assert last.type == "response.incomplete"
    for answer in (whole, last.response):
        assert answer.status == "incomplete"
        assert answer.incomplete_details is not None and answer.incomplete_details.reason == "max_output_tokens"
        assert answer.usage is not None and answer.usage.output_tokens == 5


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_the_tool_that_must_be_called_is(client: openai.OpenAI, path: str) -> None:
    other: Any = {"type": "function", "name": "other", "parameters": {"type": "object"}}
    if path == "/v1/responses":
        choice: Any = {"type": "function", "name": "other"}
        answer = client.responses.create(
            model="tools", input="Hi", tools=[*TOOLS, other], tool_choice=choice, max_output_tokens=200, temperature=0
        )
        names = [item.name for item in answer.output if item.type == "function_call"]
    else:
        tools: Any = [TOOL, {"type": "function", "function": {"name": "other", "parameters": {"type": "object"}}}]
        forced: Any = {"type": "function", "function": {"name": "other"}}
        found = client.chat.completions.create(
            model="tools", messages=HI, tools=tools, tool_choice=forced, max_tokens=200, temperature=0
        )
        names = [call.function.name for call in found.choices[0].message.tool_calls or ()]  # type: ignore[union-attr]
    assert set(names) == {"other"}


def test_a_message_streamed_and_whole(shim: RunningShim) -> None:
    asked: dict[str, Any] = {"model": "tools", "max_tokens": 500, "messages": HI, "tools": ANTHROPIC_TOOLS}
    whole = shim.client.post("/v1/messages", json=asked).json()
    thought, call = whole["content"]
    assert (thought["type"], thought["thinking"].strip()) == ("thinking", THOUGHT)
    assert (call["type"], call["name"], call["input"]) == ("tool_use", "get_weather", CALLED)
    assert (whole["type"], whole["role"], whole["model"]) == ("message", "assistant", "tools")
    assert (whole["stop_reason"], whole["stop_sequence"]) == ("tool_use", None)
    text = shim.client.post("/v1/messages", json=asked | {"stream": True}).text
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    assert [line[7:] for line in text.splitlines() if line.startswith("event: ")] == [e["type"] for e in events]
    kinds = [event["type"] for event in events if event["type"] != "content_block_delta"]
    starts = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    assert kinds == [
        "message_start",
        *["content_block_start"] * 2,
        *["content_block_stop"] * 2,
        "message_delta",
        "message_stop",
    ]
    assert events[0]["message"]["model"] == "tools"
    assert (starts[0], starts[1]["input"]) == ({"type": "thinking", "thinking": "", "signature": ""}, {})
    said = "".join(event["delta"].get("partial_json", "") for event in events if "delta" in event)
    assert json.loads(said) == CALLED


def test_a_stop_sequence_of_a_message_is_its_reason(shim: RunningShim) -> None:
    asked = {"model": "plain", "max_tokens": 50, "messages": HI, "stop_sequences": ["magic"]}
    found = shim.client.post("/v1/messages", json=asked).json()
    assert found["content"] == [{"type": "text", "text": "Ask the "}]
    assert (found["stop_reason"], found["stop_sequence"]) == ("stop_sequence", "magic")


def test_tokens_are_counted_and_none_is_read(shim: RunningShim, client: openai.OpenAI) -> None:
    def read() -> float:
        lines = shim.client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("conch_tokens_in_total"))

    asked: dict[str, Any] = {"model": "tools", "messages": HI, "tools": ANTHROPIC_TOOLS, "system": "Be brief."}
    used = shim.client.post("/v1/messages", json=asked | {"max_tokens": 1}).json()["usage"]
    before = read()
    counted = shim.client.post("/v1/messages/count_tokens", json=asked)
    assert counted.headers["content-type"].startswith("application/json")
    assert counted.json() == {"input_tokens": used["input_tokens"] + used["cache_read_input_tokens"]}
    fewer = client.responses.input_tokens.count(model="tools", input="Hi")
    assert 0 < fewer.input_tokens < counted.json()["input_tokens"]
    assert shim.client.post("/v1/messages/count_tokens", json=asked | {"stream": True}).json() == counted.json()
    assert read() == before
    assert 'endpoint="count_tokens"' in shim.client.get("/metrics").text


@pytest.mark.bad_input("a count of tokens that can't be made")
def test_a_count_that_cannot_be(shim: RunningShim, made: tuple[RunningShim, MadeRuntime]) -> None:
    for path in ("/v1/messages/count_tokens", "/v1/responses/input_tokens"):
        asked = {"model": "nope", "messages": HI, "input": "Hi"}
        error = shim.client.post(path, json=asked).json()
        assert error["error"]["code"] == "model_not_found"
        assert error.get("type") == ("error" if "messages" in path else None)
        assert shim.client.post(path, json={"model": "plain"}).status_code == 400
        refused = made[0].client.post(path, json=asked | {"model": "made"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (501, "not_supported")


@pytest.mark.parametrize(
    ("path", "field", "own"),
    [
        ("/v1/responses", "instructions", {"input": "hi", "instructions": "mine"}),
        ("/v1/messages", "system", {"messages": HI, "system": "mine"}),
        ("/v1/messages/count_tokens", "system", {"messages": HI, "system": "mine"}),
    ],
)
def test_the_models_own_system_prompt(path: str, field: str, own: dict[str, Any]) -> None:
    runtime = MadeRuntime()
    settings = Settings(models={"made": ModelSettings("made", "made", system="You are the conch.")})
    with RunningShim({"made": runtime}, with_limits(settings, max_tokens=7)) as running:
        for asked, wanted in ((own, "mine"), (own | {field: None}, "You are the conch.")):
            running.client.post(path, json=asked | {"model": "made"})
            assert runtime.forwarded[-1][0] == path
            assert runtime.forwarded[-1][1][field] == wanted
        assert ("max_tokens" in runtime.forwarded[-1][1]) == (path == "/v1/messages")
        asked = {"model": "made", "input": [{"role": "developer", "content": "mine"}]}
        running.client.post("/v1/responses", json=asked)
        assert "instructions" not in runtime.forwarded[-1][1]
