"""Room for models: how many may be loaded, what they may take together, and which of them goes.

With models of a real size: test_memory.py.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from conch_ollama.errors import RuntimeFailedError
from conch_ollama.runtimes.bounds import Bounds
from conch_ollama.runtimes.llama_server import LlamaCppRuntime
from conch_ollama.runtimes.worker_room import Room
from tests.runtimes.places import TEXT
from tests.runtimes.supervised import model, run, say, until, workers


def test_room_is_made_for_another_model(gguf: Path, tmp_path: Path) -> None:
    other = shutil.copy(gguf, tmp_path / "other.gguf")

    async def work(runtime: LlamaCppRuntime) -> None:
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, len(workers(runtime)))
                await asyncio.sleep(0.005)

        watching = asyncio.create_task(watch())
        # Both wanted at once, again and again, and room for one: each waits for the other's answers to end.
        answers = await asyncio.gather(*(say(runtime, name) for name in ("a", "b", "a", "b")))
        answers += [await say(runtime, name) for name in ("a", "b")]
        watching.cancel()
        assert set(answers) == {TEXT}
        assert most == 1

    run(work, model(gguf, "a"), model(Path(other), "b"), bounds=Bounds(max_loaded=1))


def test_memory_is_a_limit(gguf: Path, tmp_path: Path) -> None:
    other = Path(shutil.copy(gguf, tmp_path / "other.gguf"))

    async def work(runtime: LlamaCppRuntime) -> None:
        need = runtime._entries["a"].plan.memory
        runtime._pool.room = Room(memory=2 * need - 1, strict=False)
        await say(runtime, "a")
        await say(runtime, "b")
        assert list((await runtime.health()).loaded) == ["b"]
        # One that does not fit alone: refused where the limit was given, else tried.
        runtime._pool.room = Room(memory=need - 1, strict=False)
        await say(runtime, "a")
        await runtime.unload("a")
        await until(lambda: not workers(runtime))
        runtime._pool.room = Room(memory=need - 1)
        with pytest.raises(RuntimeFailedError) as caught:
            await say(runtime, "a")
        assert gguf.name in caught.value.message

    run(work, model(gguf, "a"), model(other, "b"))


def test_a_limit_that_shrinks_unloads_the_longest_unused(gguf: Path, tmp_path: Path) -> None:
    models = [model(Path(shutil.copy(gguf, tmp_path / f"{name}.gguf")), name) for name in "ab"]

    async def work(runtime: LlamaCppRuntime) -> None:
        for name in ("b", "a"):
            await say(runtime, name)
        assert set((await runtime.health()).loaded) == {"a", "b"}
        need = runtime._entries["a"].plan.memory
        runtime.update(models, Bounds(memory=2 * need))
        assert set((await runtime.health()).loaded) == {"a", "b"}
        runtime.update(models, Bounds(memory=2 * need - 1))
        assert set((await runtime.health()).loaded) == {"a"}
        await until(lambda: len(workers(runtime)) == 1)
        assert await say(runtime, "a") == TEXT

    run(work, *models)
