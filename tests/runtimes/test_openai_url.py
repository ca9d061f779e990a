"""Somebody else's servers: several for one model, one of them dead; Ollama's /v1; addresses, keys and errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conch_ollama.errors import (
    ConchError,
    NotFoundError,
    NotSupportedError,
    RuntimeBusyError,
    RuntimeFailedError,
    RuntimeRefusedError,
    RuntimeUnreachableError,
    UsageError,
)
from conch_ollama.runtimes.llama_cpp import LlamaCppWorker
from conch_ollama.runtimes.openai_body import request_for
from conch_ollama.runtimes.openai_chunks import tidy_chunks
from conch_ollama.runtimes.openai_url import OpenAIRuntime, Upstream
from conch_ollama.runtimes.upstreams import refusal
from tests.parts.ollama import OllamaServer
from tests.parts.scripted_gguf import scripted_gguf
from tests.runtimes import places
from tests.runtimes.places import HI, TEXT, collect, text_of
from tests.runtimes.supervised import LONG


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scripted_gguf(tmp_path_factory.mktemp("upstream") / "conch.gguf", TEXT + LONG, context_length=32768)


@pytest.fixture
def two(gguf: Path) -> Iterator[list[LlamaCppWorker]]:
    with LlamaCppWorker(gguf, num_ctx=16384, threads=1) as one, LlamaCppWorker(gguf, threads=1) as other:
        yield [one, other]


def run(work: Callable[[OpenAIRuntime], Awaitable[Any]], *upstreams: Upstream) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(60):
            runtime = OpenAIRuntime(upstreams, check_every=0.05)
            try:
                return await work(runtime)
            finally:
                await runtime.close()

    return asyncio.run(bounded())


async def say(runtime: OpenAIRuntime, **body: Any) -> str:
    return text_of(await collect(runtime.chat("conch", {"messages": HI, "max_tokens": 5, **body})))


def test_the_least_busy_answers_and_a_dead_one_is_passed_over(two: list[LlamaCppWorker]) -> None:
    async def work(runtime: OpenAIRuntime) -> None:
        servers = runtime._servers.all
        streams = [runtime.chat("conch", {"messages": HI, "max_tokens": 3000}) for _ in range(2)]
        for stream in streams:
            await anext(stream)
        assert [server.running for server in servers] == [1, 1]
        two[0]._process.kill()
        two[0]._process.wait()
        # One of the two answers was in its middle: that one is lost, the other is not.
        ends = await asyncio.gather(*(collect(stream) for stream in streams), return_exceptions=True)
        broken = [end for end in ends if isinstance(end, BaseException)]
        assert len(broken) == 1 and type(broken[0]) is RuntimeFailedError
        assert [server.running for server in servers] == [0, 0]
        for _ in range(3):
            assert TEXT.startswith(await say(runtime))
        assert servers[0].down and not servers[1].down
        told = await runtime.health()
        assert told.ok and two[0].address in told.detail
        two[1]._process.kill()
        two[1]._process.wait()
        with pytest.raises(RuntimeUnreachableError):
            await say(runtime)
        assert not (await runtime.health()).ok

    run(work, *(Upstream(worker.address, key=worker.key) for worker in two))


def test_one_that_comes_back_is_used_again(gguf: Path) -> None:
    async def work(runtime: OpenAIRuntime) -> None:
        (server,) = runtime._servers.all
        door = server.door
        with LlamaCppWorker(gguf, num_ctx=512, threads=1) as worker:
            # Unreachable at first, as a server that is still starting.
            url, door.url = door.url, "http://127.0.0.1:9"
            with pytest.raises(RuntimeUnreachableError):
                await say(runtime)
            assert server.down
            door.url = worker.address + "/v1"
            door._client.headers["Authorization"] = f"Bearer {worker.key}"
            while server.down:
                await asyncio.sleep(0.01)
            assert TEXT.startswith(await say(runtime))
            assert url != door.url

    run(work, Upstream("http://127.0.0.1:9/v1", models={"conch": "conch"}))


def test_a_wrong_key_is_not_the_clients_fault(two: list[LlamaCppWorker]) -> None:
    async def work(runtime: OpenAIRuntime) -> None:
        with pytest.raises(RuntimeFailedError) as caught:
            await say(runtime)
        assert type(caught.value) is RuntimeFailedError
        assert "key" in caught.value.message and "wrong-key" not in caught.value.message

    run(work, Upstream(two[0].address, key="wrong-key", models={"conch": "conch"}))


def test_models_are_listed_and_asked_by_our_names(two: list[LlamaCppWorker]) -> None:
    async def work(runtime: OpenAIRuntime) -> None:
        (card,) = await runtime.models()
        assert (card.name, card.parameters > 0, card.embedding_length) == ("海螺", True, 128)
        chunks = await collect(runtime.chat("海螺", {"messages": HI, "max_tokens": 2}))
        assert {chunk.data["model"] for chunk in chunks} == {"海螺"}
        with pytest.raises(NotFoundError):
            await collect(runtime.chat("conch", {"messages": HI}))
        answer = await runtime.forward("海螺", "/v1/responses", {"input": "Hi", "max_output_tokens": 3})
        assert json.loads(b"".join([piece async for piece in answer]))["status"] == "completed"
        with pytest.raises(NotSupportedError):
            await runtime.forward("海螺", "/v1/nowhere", {})

    run(work, Upstream(two[0].address, key=two[0].key, models={"海螺": "conch"}))


def test_ollamas_own_v1_becomes_the_reference_stream(ollama_server: OllamaServer, tmp_path: Path) -> None:
    files = places.write_models(tmp_path)
    places.create_in_ollama(ollama_server, {"plain": files["plain"]})

    async def work(runtime: OpenAIRuntime) -> None:
        chunks = await collect(runtime.chat("plain", {"messages": HI, "max_tokens": 8}))
        *said, finish, usage = chunks
        assert said[0].data["choices"][0]["delta"]["role"] == "assistant"
        assert all("role" not in chunk.data["choices"][0]["delta"] for chunk in said[1:])
        assert TEXT.startswith(text_of(said)) and len(said) > 3
        assert finish.data["choices"][0]["delta"] == {} and finish.data["choices"][0]["finish_reason"] == "length"
        assert usage.data["choices"] == [] and usage.data["usage"]["completion_tokens"] == 8
        assert {chunk.data["model"] for chunk in chunks} == {"plain"}

    run(work, Upstream(f"{ollama_server.host}/v1", models={"plain": "rt-plain"}))


def test_addresses() -> None:
    assert Upstream("http://a:8000").base() == "http://a:8000/v1"
    assert Upstream("http://a:8000/v1/").base() == "http://a:8000/v1"
    assert Upstream("http://a/api/v3").path("/chat/completions", "m") == "/chat/completions"
    azure = Upstream("https://x.openai.azure.com", key="k", api_version="2024-10-21")
    assert azure.base() == "https://x.openai.azure.com"
    assert azure.path("/chat/completions", "my gpt") == (
        "/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21"
    )
    assert azure.takes_openai_only and Upstream("https://api.openai.com/v1").takes_openai_only
    assert not Upstream("http://127.0.0.1:8000/v1").takes_openai_only


def test_azures_key_goes_in_a_header_of_its_own() -> None:
    runtime = OpenAIRuntime([Upstream("https://x.openai.azure.com", key="k", api_version="2024-10-21")])
    headers = runtime._servers.all[0].door._client.headers
    assert headers["api-key"] == "k" and "authorization" not in headers
    asyncio.run(runtime.close())


@pytest.mark.bad_input("an upstream whose address is none")
@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://a/v1", "http://"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        OpenAIRuntime([Upstream(url)])
    assert url in caught.value.message


def test_what_openai_does_not_know_is_left_out_for_it() -> None:
    body = {
        "messages": HI,
        "model": "ours",
        "think": "high",
        "keep_alive": 5,
        "user": None,
        "options": {"temperature": 0.5, "top_k": 5, "num_predict": -1, "stop": ["x"]},
        "temperature": 0.1,
    }
    common = {"messages": HI, "model": "m", "temperature": 0.1, "stop": ["x"], "stream": True}
    common["stream_options"] = {"include_usage": True}
    assert request_for("m", body, strict=True) == {**common, "reasoning_effort": "high"}
    kwargs = {"enable_thinking": True, "reasoning_effort": "high"}
    assert request_for("m", body, strict=False) == {**common, "top_k": 5, "chat_template_kwargs": kwargs}


@pytest.mark.parametrize(
    ("status", "body", "kind", "told"),
    [
        (400, {"error": {"message": "too long", "code": "context_length_exceeded"}}, RuntimeRefusedError, "too long"),
        (
            400,
            {"error": {"message": "long", "type": "BadRequestError", "param": "input_tokens"}},
            RuntimeRefusedError,
            "long",
        ),
        (400, {"error": {"message": "bad", "type": "BadRequestError", "code": 400}}, RuntimeRefusedError, "bad"),
        (422, {"error": {"message": "no", "type": "invalid_request_error"}}, RuntimeRefusedError, "no"),
        (401, {"error": {"message": "bad key"}}, RuntimeFailedError, "our key"),
        (404, {"error": {"message": "no such model"}}, NotFoundError, "no such model"),
        (429, {"error": {"message": "slow down"}}, RuntimeBusyError, "slow down"),
        (500, {"error": {"message": "oops"}}, RuntimeFailedError, "oops"),
        (502, "<html>", RuntimeFailedError, "<html>"),
        (404, "not found", NotSupportedError, "door"),
    ],
)
def test_errors_are_translated(status: int, body: Any, kind: type[ConchError], told: str) -> None:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    error = refusal(status, raw, {"retry-after": "7"})
    assert type(error) is kind and told in error.message
    if isinstance(error, RuntimeBusyError):
        assert error.retry_after == 7.0
    if isinstance(error, RuntimeRefusedError):
        assert error.status == status and error.kind in {"context_length_exceeded", "invalid_request_error"}


async def _given(*texts: str) -> AsyncIterator[bytes]:
    for text in texts:
        yield text.encode()


def test_a_finish_with_content_and_usage_is_taken_apart() -> None:
    choice = '{"index":0,"delta":{"role":"assistant","content":"%s"},"finish_reason":%s}'
    head = '{"id":"1","model":"theirs","choices":[%s]%s}'
    first, last = (
        head % (choice % ("Hel", "null"), ""),
        head % (choice % ("lo", '"stop"'), ',"usage":{"total_tokens":3}'),
    )
    chunks = asyncio.run(collect(tidy_chunks(_given(first, last), "ours")))
    deltas = [[one["delta"] for one in chunk.data["choices"]] for chunk in chunks]
    assert deltas == [[{"role": "assistant", "content": "Hel"}], [{"content": "lo"}], [{}], []]
    assert [chunk.data.get("usage") for chunk in chunks] == [None, None, None, {"total_tokens": 3}]
    assert {chunk.data["model"] for chunk in chunks} == {"ours"}


@pytest.mark.bad_input("an upstream that breaks off with an error event")
@pytest.mark.parametrize("event", ['{"error":{"message":"out of memory","code":500}}', '{"error":"out of memory"}'])
def test_an_error_event_is_an_error(event: str) -> None:
    with pytest.raises(RuntimeFailedError) as caught:
        asyncio.run(collect(tidy_chunks(_given(event), "m")))
    assert "out of memory" in caught.value.message


@pytest.mark.bad_input("an upstream whose events are no JSON objects")
@pytest.mark.parametrize("event", ["hello", "[1]", '{"choices":'])
def test_an_event_that_is_no_json(event: str) -> None:
    with pytest.raises(RuntimeFailedError) as caught:
        asyncio.run(collect(tidy_chunks(_given(event), "m")))
    assert "event" in caught.value.message
