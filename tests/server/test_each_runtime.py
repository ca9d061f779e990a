"""The shim in front of each kind of runtime, all real, with models that say an exact text: calls, thoughts, schemas.

One shim with three runtimes: the models are called `llama-plain`, `ollama-tools` and so on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import Any

import ollama
import openai
import pytest

from conch_ollama.runtimes.llama_cpp import LlamaCppWorker
from conch_ollama.runtimes.llama_models import LlamaCppModel
from conch_ollama.runtimes.llama_server import LlamaCppRuntime
from conch_ollama.runtimes.ollama import OllamaRuntime
from conch_ollama.runtimes.openai_url import OpenAIRuntime
from conch_ollama.runtimes.upstreams import Upstream
from conch_ollama.server.settings import ModelSettings, Settings
from tests.parts.ollama import OllamaServer
from tests.parts.waiting import wait_until
from tests.runtimes.places import HI, TEXT, THOUGHT, TOOL, create_in_ollama, write_models
from tests.server.running import RunningShim

KINDS = ("llama", "ollama", "url")
CITY = {"city": "比奇堡", "days": 3}


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory, ollama_server: OllamaServer) -> Iterator[RunningShim]:
    files = write_models(tmp_path_factory.mktemp("models"))
    create_in_ollama(ollama_server, files)
    with contextlib.ExitStack() as stack:
        upstreams = []
        for name, path in files.items():
            worker = stack.enter_context(LlamaCppWorker(path, num_ctx=2048, threads=1))
            upstreams.append(Upstream(worker.address, key=worker.key, models={name: path.stem}))

        def runtimes() -> dict[str, Any]:
            models = [LlamaCppModel(name, path, num_ctx=2048, slots=2, threads=1) for name, path in files.items()]
            return {
                "llama": LlamaCppRuntime(models),
                "ollama": OllamaRuntime(ollama_server.host, models={name: f"rt-{name}" for name in files}),
                "url": OpenAIRuntime(upstreams),
            }

        # On a shared machine Ollama's default of all cores is ten times slower.
        slow = {"ollama": {"options": {"num_thread": 1}}}
        served = {
            f"{kind}-{name}": ModelSettings(kind, name, defaults=slow.get(kind, {})) for kind in KINDS for name in files
        }
        yield stack.enter_context(RunningShim(runtimes, Settings(models=served)))


@pytest.fixture(scope="module")
def client(shim: RunningShim) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{shim.url}/v1", api_key="any", max_retries=0, timeout=60)


@pytest.fixture(scope="module")
def ollama_client(shim: RunningShim) -> ollama.Client:
    return ollama.Client(host=shim.url, timeout=60)


@pytest.mark.parametrize("kind", KINDS)
def test_openai_streams(client: openai.OpenAI, kind: str) -> None:
    stream = list(
        client.chat.completions.create(
            model=f"{kind}-plain", messages=HI, temperature=0, stream=True, stream_options={"include_usage": True}
        )
    )
    *said, finish, usage = stream
    assert "".join(chunk.choices[0].delta.content or "" for chunk in said) == TEXT
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in stream}) == 1
    assert stream[0].model == f"{kind}-plain"
    assert (finish.choices[0].finish_reason, finish.choices[0].delta.content, finish.usage) == ("stop", None, None)
    assert (usage.choices, ((usage.usage and usage.usage.total_tokens) or 0) > 0) == ([], True)
    whole = client.chat.completions.create(model=f"{kind}-plain", messages=HI, temperature=0)
    assert whole.choices[0].message.content == TEXT
    assert whole.usage == usage.usage or whole.usage is not None


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_openai_tools_and_thoughts(client: openai.OpenAI, kind: str, stream: bool) -> None:
    asked: dict[str, Any] = {"model": f"{kind}-tools", "messages": HI, "tools": [TOOL], "extra_body": {"think": True}}
    if stream:
        thought, arguments, names, finish = "", "", [], None
        for chunk in client.chat.completions.create(**asked, stream=True):
            (choice,) = chunk.choices
            thought += getattr(choice.delta, "reasoning_content", None) or ""
            for call in choice.delta.tool_calls or ():
                assert call.index == 0
                names += [call.function.name] if call.function and call.function.name else []
                arguments += call.function.arguments or "" if call.function else ""
            finish = choice.finish_reason or finish
    else:
        (choice,) = client.chat.completions.create(**asked).choices
        finish, thought = choice.finish_reason, choice.message.reasoning_content  # type: ignore[attr-defined]
        (call,) = choice.message.tool_calls or ()
        names, arguments = [call.function.name], call.function.arguments  # type: ignore[union-attr]
    assert thought.strip() == THOUGHT
    assert (names, json.loads(arguments), finish) == (["get_weather"], CITY, "tool_calls")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_ollama_tools_and_thoughts(ollama_client: ollama.Client, kind: str, stream: bool) -> None:
    found = ollama_client.chat(f"{kind}-tools", HI, tools=[TOOL], stream=stream, think=True if kind != "url" else None)
    parts = list(found) if stream else [found]
    assert "".join(part.message.thinking or "" for part in parts).strip() == THOUGHT
    calls = [call for part in parts for call in part.message.tool_calls or ()]
    assert [(call.function.name, dict(call.function.arguments)) for call in calls] == [("get_weather", CITY)]
    assert parts[-1].done
    assert "".join(part.message.content or "" for part in parts).strip() == ""


@pytest.mark.parametrize("kind", KINDS)
def test_thoughts_can_be_left_out(shim: RunningShim, ollama_client: ollama.Client, kind: str) -> None:
    found = ollama_client.chat(f"{kind}-plain", HI, options={"num_predict": 5})
    assert found.message.thinking is None
    given = shim.client.post("/generate", json={"prompt": "hi", "model": f"{kind}-tools"}).json()
    assert THOUGHT not in given["generated_text"]
    assert "think>" not in given["generated_text"]
    given = shim.client.post("/generate", json={"prompt": "hi", "model": f"{kind}-plain"}).json()
    assert given["generated_text"].strip() == TEXT.strip()


@pytest.mark.parametrize("kind", KINDS)
def test_json_schema(client: openai.OpenAI, ollama_client: ollama.Client, kind: str) -> None:
    schema = {"type": "object", "properties": {"answer": {"enum": ["海螺"]}}, "required": ["answer"]}
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    name = f"{kind}-plain"
    found = client.chat.completions.create(model=name, messages=HI, response_format=wanted, max_tokens=100)
    assert json.loads(found.choices[0].message.content or "") == {"answer": "海螺"}
    said = ollama_client.chat(name, HI, format=schema, options={"num_predict": 100}).message.content
    assert json.loads(said or "") == {"answer": "海螺"}


@pytest.mark.parametrize("kind", KINDS)
def test_logarithms_or_a_word_why_there_are_none(ollama_client: ollama.Client, kind: str) -> None:
    asked: dict[str, Any] = {"logprobs": True, "top_logprobs": 2, "options": {"num_predict": 5}}
    if kind == "ollama":  # the one here is older than they are
        with pytest.raises(ollama.ResponseError, match=r"no logprobs; 0\.12\.11"):
            ollama_client.chat(f"{kind}-plain", HI, **asked)
        return
    found = ollama_client.chat(f"{kind}-plain", HI, **asked)
    seen = found.logprobs or ()
    assert "".join(token.token for token in seen).startswith(found.message.content or "?")
    assert {len(token.top_logprobs or ()) for token in seen} == {2}


@pytest.mark.bad_input("a picture for a model that reads text only, by each runtime")
@pytest.mark.parametrize("kind", ["llama", "ollama"])
def test_pictures_are_not_left_out_without_a_word(client: openai.OpenAI, kind: str) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    messages: Any = [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, picture]}]
    with pytest.raises(openai.BadRequestError, match="takes text only, not image_url"):
        client.chat.completions.create(model=f"{kind}-plain", messages=messages)


@pytest.mark.bad_input("a prompt longer than the context, by each runtime")
@pytest.mark.parametrize("kind", ["llama", "url"])  # Ollama drops the oldest messages instead
def test_too_long(client: openai.OpenAI, kind: str) -> None:
    messages: Any = [{"role": "user", "content": "7 " * 5000}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=f"{kind}-plain", messages=messages)
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize("kind", KINDS)
def test_hanging_up_frees_the_place(shim: RunningShim, kind: str) -> None:
    async def hang_up() -> None:
        async with openai.AsyncOpenAI(base_url=f"{shim.url}/v1", api_key="any", max_retries=0) as client:
            stream = await client.chat.completions.create(model=f"{kind}-plain", messages=HI, stream=True)
            async for _ in stream:
                break
            await stream.close()

    asyncio.run(hang_up())
    queue = shim.shim.queues[f"{kind}-plain"]
    wait_until(lambda: not queue.running)
    # Ollama may lose the place of who hung up, for whoever comes next; an unloaded model has none.
    shim.client.post("/api/generate", json={"model": f"{kind}-plain", "keep_alive": 0}).raise_for_status()


def test_all_are_listed(shim: RunningShim, client: openai.OpenAI, ollama_client: ollama.Client) -> None:
    names = {f"{kind}-{name}" for kind in KINDS for name in ("plain", "tools")}
    assert {model.id for model in client.models.list()} == names
    assert {model.model for model in ollama_client.list().models} == {f"{name}:latest" for name in names}
    for name in names:
        info = ollama_client.show(name).modelinfo or {}
        assert info["general.architecture"]
    assert shim.client.get("/ready").status_code == 200
