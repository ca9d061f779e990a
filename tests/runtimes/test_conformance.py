"""What a runtime promises (protocol.py), held against each kind of it, all real."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conch_ollama.errors import ConchError, NotFoundError, RuntimeRefusedError
from conch_ollama.runtimes.protocol import Runtime
from tests.parts.ollama import OllamaServer
from tests.runtimes import places
from tests.runtimes.places import HI, TEXT, THOUGHT, TOOL, Place, collect, text_of

KINDS = ("llama.cpp", "ollama", "openai")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return places.write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module", params=KINDS)
def place(request: pytest.FixtureRequest, files: dict[str, Path], ollama_server: OllamaServer) -> Iterator[Place]:
    made = {
        "llama.cpp": lambda: places.llama_cpp(files),
        "ollama": lambda: places.ollama(files, ollama_server),
        "openai": lambda: places.openai_url(files),
    }
    with made[request.param]() as place:
        yield place


def test_it_is_a_runtime_with_its_models(place: Place) -> None:
    assert isinstance(place.runtime, Runtime)
    cards = {card.name: card for card in place.run(place.runtime.models())}
    assert set(cards) == {"plain", "tools"}
    assert cards["plain"].context_length == 2048
    assert place.run(place.runtime.health()).ok


def test_a_stream_is_the_reference_stream(place: Place) -> None:
    chunks = place.chat()
    assert text_of(chunks) == TEXT
    assert all(b"\n" not in chunk.raw for chunk in chunks)
    for key in ("id", "created", "model", "object"):
        assert len({chunk.data[key] for chunk in chunks}) == 1, key
    assert chunks[0].data["model"] == "plain"
    assert chunks[0].data["object"] == "chat.completion.chunk"
    assert isinstance(chunks[0].data["created"], int)
    *said, finish, usage = chunks
    assert said[0].data["choices"][0]["delta"]["role"] == "assistant"
    assert all("role" not in chunk.data["choices"][0]["delta"] for chunk in said[1:])
    assert all(chunk.data["choices"][0]["finish_reason"] is None and "usage" not in chunk.data for chunk in said)
    assert finish.data["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    assert usage.data["choices"] == []
    counted = usage.data["usage"]
    assert counted["prompt_tokens"] > 0
    assert counted["total_tokens"] == counted["prompt_tokens"] + counted["completion_tokens"]


@pytest.mark.parametrize(("wish", "said"), [(5, 5), (0, 1)])
def test_length_is_a_reason(place: Place, wish: int, said: int) -> None:
    *_, finish, usage = place.chat(max_tokens=wish)
    assert finish.data["choices"][0]["finish_reason"] == "length"
    assert usage.data["usage"]["completion_tokens"] == said


@pytest.mark.parametrize("stop", ["knows", ["conch", "knows"]])
def test_stop_cuts(place: Place, stop: Any) -> None:
    *said, finish, _ = place.chat(stop=stop)
    assert text_of(said) == TEXT.partition(stop if isinstance(stop, str) else stop[0])[0]
    assert finish.data["choices"][0]["finish_reason"] == "stop"


def test_options_of_ollama_are_understood(place: Place) -> None:
    chunks = place.chat(options={"num_predict": 4, "num_thread": 1})
    assert chunks[-1].data["usage"]["completion_tokens"] == 4


def test_thoughts_and_tool_calls(place: Place) -> None:
    chunks = place.chat("tools", tools=[TOOL], think=True)
    assert text_of(chunks, "reasoning_content").strip() == THOUGHT
    assert text_of(chunks).strip() == ""
    calls: dict[int, dict[str, str]] = {}
    for chunk in chunks:
        for choice in chunk.data["choices"]:
            assert choice["delta"].get("reasoning_content", "-") not in {None, ""}
            for call in choice["delta"].get("tool_calls") or ():
                known = calls.setdefault(call["index"], {"id": call.get("id", ""), "name": "", "arguments": ""})
                known["name"] += call["function"].get("name") or ""
                known["arguments"] += call["function"].get("arguments") or ""
    assert list(calls) == [0]
    assert calls[0]["name"] == "get_weather" and calls[0]["id"]
    assert json.loads(calls[0]["arguments"]) == {"city": "比奇堡", "days": 3}
    assert chunks[-2].data["choices"][0]["finish_reason"] == "tool_calls"


def test_a_conversation_with_a_tools_answer(place: Place) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "比奇堡"}'}}
    messages = [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]
    chunks = place.chat("tools", messages=messages, tools=[TOOL])
    assert chunks[-1].data["usage"]["prompt_tokens"] > 50


def test_json_schema_binds(place: Place) -> None:
    schema = {"type": "object", "properties": {"answer": {"enum": ["海螺"]}}, "required": ["answer"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    assert json.loads(text_of(place.chat(response_format=wanted, max_tokens=100))) == {"answer": "海螺"}


def test_a_plain_completion(place: Place) -> None:
    chunks = place.run(collect(place.runtime.complete("plain", {"prompt": "Hi", "max_tokens": 30, **place.fixed()})))
    *said, finish, usage = chunks
    assert TEXT.startswith("".join(chunk.data["choices"][0]["text"] for chunk in said))
    assert {chunk.data["object"] for chunk in chunks} == {"text_completion"}
    assert finish.data["choices"][0]["finish_reason"] == "length" and finish.data["choices"][0]["text"] == ""
    assert usage.data["choices"] == [] and usage.data["usage"]["completion_tokens"] == 30


def test_closing_stops_the_generation(place: Place) -> None:
    async def hang_up() -> int:
        stream = place.runtime.chat("plain", {"messages": HI, **place.fixed()})
        async for chunk in stream:
            if text_of([chunk]):
                break
        await stream.aclose()
        if place.kind == "ollama":  # it may lose the place of who hung up; an unloaded model has none
            await place.runtime.unload("plain")
        return len(await collect(place.runtime.chat("plain", {"messages": HI, "max_tokens": 2, **place.fixed()})))

    assert place.run(hang_up()) >= 4


def test_several_at_once(place: Place) -> None:
    async def all_at_once() -> list[Any]:
        body = {"messages": HI, "max_tokens": 20, **place.fixed()}
        return await asyncio.gather(*(collect(place.runtime.chat("plain", body)) for _ in range(6)))

    answers = place.run(all_at_once())
    assert all(text_of(answer) == text_of(answers[0]) and TEXT.startswith(text_of(answer)) for answer in answers)
    assert len({answer[0].data["id"] for answer in answers}) == 6


@pytest.mark.bad_input("a model that no runtime has")
@pytest.mark.parametrize("what", ["chat", "complete", "embed", "load"])
def test_an_unknown_model(place: Place, what: str) -> None:
    work = {
        "chat": lambda: collect(place.runtime.chat("nobody", {"messages": HI})),
        "complete": lambda: collect(place.runtime.complete("nobody", {"prompt": "x"})),
        "embed": lambda: place.runtime.embed("nobody", ["x"], {}),
        "load": lambda: place.runtime.load("nobody"),
    }
    with pytest.raises(NotFoundError) as caught:
        place.run(work[what]())
    assert "nobody" in caught.value.message


@pytest.mark.bad_input("a field of the wrong type")
def test_a_wrong_type_is_refused(place: Place) -> None:
    with pytest.raises(RuntimeRefusedError) as caught:
        place.chat(temperature="hot")
    assert caught.value.status == 400
    assert "temperature" in caught.value.message


@pytest.mark.bad_input("messages that are no list")
@pytest.mark.parametrize("messages", ["Hi", {"role": "user"}, ["Hi"], [{"content": "Hi"}]])
def test_wrong_messages_are_refused(place: Place, messages: Any) -> None:
    with pytest.raises(ConchError) as caught:
        place.chat(messages=messages)
    assert caught.value.code == "runtime-refused"


@pytest.mark.bad_input("a conversation longer than the context")
def test_too_long_is_said_so_or_cut(place: Place) -> None:
    messages = [{"role": "user", "content": "conch " * 1500}]
    if place.kind == "ollama":  # it drops what is oldest
        assert place.chat(messages=messages, max_tokens=3)[-1].data["usage"]["completion_tokens"] == 3
        return
    with pytest.raises(RuntimeRefusedError) as caught:
        place.chat(messages=messages)
    assert (caught.value.status, caught.value.kind) == (400, "context_length_exceeded")


def test_loading_and_letting_go(place: Place) -> None:
    place.run(place.runtime.load("plain", 500.0))
    loaded = place.run(place.runtime.health()).loaded
    if place.kind != "openai":  # its servers are somebody else's
        assert loaded["plain"] > 0
    place.run(place.runtime.unload("plain"))

    async def gone() -> None:
        while "plain" in (await place.runtime.health()).loaded:
            await asyncio.sleep(0.02)

    place.run(gone())
    assert text_of(place.chat(max_tokens=3))


@pytest.mark.parametrize("kind", ["llama.cpp", "ollama"])
def test_embeddings(kind: str, files: dict[str, Path], ollama_server: OllamaServer) -> None:
    made = places.llama_cpp(files) if kind == "llama.cpp" else places.ollama(files, ollama_server)
    with made as place:
        found = place.run(place.runtime.embed("plain", ["hello", "神奇海螺"], place.fixed()))
        short = place.run(place.runtime.embed("plain", ["hello"], {"dimensions": 16, **place.fixed()}))
    assert [len(vector) for vector in found.vectors] == [128, 128]
    assert found.tokens > 0
    for vector in [*found.vectors, *short.vectors]:
        assert math.isclose(math.sqrt(sum(x * x for x in vector)), 1.0, abs_tol=1e-3)
    assert len(short.vectors[0]) == 16
