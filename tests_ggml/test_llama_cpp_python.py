"""llama-cpp-python as a runtime: one answer at a time, the others wait, none is cut; what it can't do it says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from conch_ollama.errors import NotSupportedError, RuntimeFailedError, RuntimeRefusedError, UsageError
from conch_ollama.runtimes.llama_models import Adapter
from conch_ollama.runtimes.llama_server import LlamaCppModel, LlamaCppRuntime
from conch_ollama.runtimes.machine_fit import Machine
from conch_ollama.runtimes.protocol import Chunk
from tests.parts.scripted_gguf import pieces, scripted_gguf
from tests.runtimes import supervised
from tests.runtimes.adapter_gguf import skipping_adapter
from tests.runtimes.places import HI, collect, text_of

TEXT = "Ask the magic conch, it knows. 问神奇海螺吧。🐚 " + " ".join(str(n * n) for n in range(40))
LONG = " ".join(str(n * n * n) for n in range(900))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scripted_gguf(tmp_path_factory.mktemp("base") / "base.gguf", TEXT, context_length=2048)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scripted_gguf(tmp_path_factory.mktemp("long") / "long.gguf", LONG, context_length=8192)


def model(path: Path, name: str = "m", **settings: Any) -> LlamaCppModel:
    return LlamaCppModel(name, path, **{"num_ctx": 2048, "threads": 1, "binding": "llama-cpp-python", **settings})


def run(work: Callable[[LlamaCppRuntime], Awaitable[Any]], *models: LlamaCppModel) -> Any:
    return supervised.run(work, *models, patience_s=100, machine=Machine(8 << 30, 2))


async def ask(runtime: LlamaCppRuntime, name: str = "m", **body: Any) -> list[Chunk]:
    return await collect(runtime.chat(name, {"messages": HI, "temperature": 0, **body}))


def test_a_stream_is_the_reference_stream(base: Path) -> None:
    async def work(runtime: LlamaCppRuntime) -> None:
        *said, finish, usage = await ask(runtime)
        assert text_of(said) == TEXT
        assert said[0].data["choices"][0]["delta"]["role"] == "assistant"
        assert all("role" not in chunk.data["choices"][0]["delta"] for chunk in said[1:])
        assert finish.data["choices"][0]["delta"] == {} and finish.data["choices"][0]["finish_reason"] == "stop"
        assert usage.data["choices"] == [] and usage.data["usage"]["completion_tokens"] > 10
        assert len({(chunk.data["id"], chunk.data["created"], chunk.data["model"]) for chunk in [*said, usage]}) == 1
        chunks = await collect(runtime.complete("m", {"prompt": "x", "max_tokens": 5}))
        assert TEXT.startswith("".join(choice["text"] for chunk in chunks for choice in chunk.data["choices"]))
        assert chunks[-2].data["choices"][0]["finish_reason"] == "length"

    run(work, model(base))


def test_the_second_waits_and_the_first_is_not_cut(long: Path) -> None:
    async def work(runtime: LlamaCppRuntime) -> None:
        answers = await asyncio.gather(*(ask(runtime, max_tokens=300) for _ in range(4)))
        assert all(LONG.startswith(text_of(answer)) and len(answer) > 250 for answer in answers)

    run(work, model(long, num_ctx=8192))


def test_who_hangs_up_lets_the_next_one_in(long: Path) -> None:
    async def work(runtime: LlamaCppRuntime) -> None:
        stream = runtime.chat("m", {"messages": HI})
        for _ in range(3):
            await anext(stream)
        await stream.aclose()
        assert len(await ask(runtime, max_tokens=2)) >= 3

    run(work, model(long, num_ctx=8192))


def test_a_crash_and_the_next(long: Path) -> None:
    async def work(runtime: LlamaCppRuntime) -> None:
        stream = runtime.chat("m", {"messages": HI})
        await anext(stream)
        (worker,) = supervised.workers(runtime)
        worker.process.process.kill()
        with pytest.raises(RuntimeFailedError):
            async for _ in stream:
                pass
        assert text_of(await ask(runtime, max_tokens=3))

    run(work, model(long, num_ctx=8192))


def test_what_it_cannot_it_says(base: Path) -> None:
    async def work(runtime: LlamaCppRuntime) -> None:
        with pytest.raises(NotSupportedError):
            await runtime.embed("m", ["x"], {})
        with pytest.raises(NotSupportedError):
            await runtime.forward("m", "/v1/responses", {"input": "x"})
        with pytest.raises(RuntimeRefusedError):
            await ask(runtime, temperature="hot")
        with pytest.raises(RuntimeRefusedError):
            await ask(runtime, messages=[{"role": "user", "content": "conch " * 3000}])

    run(work, model(base))


def test_an_adapter(base: Path, tmp_path: Path) -> None:
    adapter = Adapter(skipping_adapter(tmp_path / "a.gguf", base, 5))

    async def work(runtime: LlamaCppRuntime) -> None:
        assert text_of(await ask(runtime, "bare")) == TEXT
        assert text_of(await ask(runtime, "five")) == "".join(pieces(TEXT)[5:])

    run(work, model(base, "bare"), model(base, "five", adapters=(adapter,)))
    with pytest.raises(UsageError):
        LlamaCppRuntime([model(base, adapters=(adapter, adapter))], machine=Machine(8 << 30, 2))
