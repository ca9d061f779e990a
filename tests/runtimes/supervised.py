"""Runs the supervised runtime in a test: nothing of it may be left over afterwards."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from conch_ollama.runtimes import loopback
from conch_ollama.runtimes.llama_server import LlamaCppModel, LlamaCppRuntime
from conch_ollama.runtimes.worker_seats import Worker
from tests.parts.scripted_gguf import scripted_gguf
from tests.runtimes.places import HI, TEXT, collect, text_of

LONG = " ".join(str(n * n * n) for n in range(1500))


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scripted_gguf(tmp_path_factory.mktemp("模型 folder") / "plain.gguf", TEXT, context_length=4096)


@pytest.fixture(scope="module")
def long_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its answer takes seconds."""
    return scripted_gguf(tmp_path_factory.mktemp("long") / "long.gguf", LONG, context_length=32768)


def model(path: Path, name: str = "m", **settings: Any) -> LlamaCppModel:
    return LlamaCppModel(name, path, **{"num_ctx": 2048, "slots": 2, "threads": 1, **settings})


def run(
    work: Callable[[LlamaCppRuntime], Awaitable[Any]], *models: LlamaCppModel, patience_s: float = 200, **settings: Any
) -> Any:
    """`work` with a runtime; nothing of it may be left over."""

    async def bounded() -> Any:
        async with asyncio.timeout(patience_s):
            runtime = LlamaCppRuntime(models, **settings)
            try:
                return await work(runtime)
            finally:
                await runtime.close()

    before = set(psutil.Process().children(recursive=True))
    result = asyncio.run(bounded())
    assert set(psutil.Process().children(recursive=True)) <= before
    return result


def workers(runtime: LlamaCppRuntime) -> list[Worker]:
    return sorted(runtime._pool._alive, key=lambda worker: worker.born)


async def say(runtime: LlamaCppRuntime, name: str = "m", **body: Any) -> str:
    return text_of(await collect(runtime.chat(name, {"messages": HI, **body})))


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.01)


async def loading(runtime: LlamaCppRuntime) -> None:
    """Wait until it begins to load: a fixed pause may be too long, a small model is loaded within 50 ms."""
    while not workers(runtime):
        await asyncio.sleep(0)


async def get(worker: Worker, path: str) -> Any:
    answer = await loopback.ask(worker.address, worker.key, "GET", path)
    try:
        return json.loads(await answer.read())
    finally:
        answer.close()
