"""The supervised runtime where it takes longer: crash on crash, workers that hang, closing, models exchanged."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from pathlib import Path

import pytest

from conch_ollama.errors import RuntimeBusyError, RuntimeFailedError, RuntimeRefusedError
from conch_ollama.runtimes import worker_seats
from conch_ollama.runtimes.bounds import Bounds
from conch_ollama.runtimes.llama_server import LlamaCppRuntime
from tests.parts.scripted_gguf import scripted_gguf
from tests.runtimes.places import HI, TEXT, collect, text_of
from tests.runtimes.supervised import LONG, get, loading, model, run, say, until, workers


def test_one_who_leaves_while_it_loads_takes_nothing_along(gguf: Path) -> None:
    async def work(runtime: LlamaCppRuntime) -> None:
        impatient, patient = asyncio.create_task(say(runtime)), asyncio.create_task(say(runtime))
        await loading(runtime)
        impatient.cancel()
        assert await patient == TEXT
        (worker,) = workers(runtime)
        assert worker.users == 0

    run(work, model(gguf))


def test_one_who_comes_right_after_a_crash_is_answered(gguf: Path) -> None:
    async def work(runtime: LlamaCppRuntime) -> None:
        await runtime.load("m")
        process = workers(runtime)[0].process.process
        process.kill()
        process.wait(timeout=5)  # the loop stands still meanwhile: nobody has seen it end
        assert await say(runtime) == TEXT

    run(work, model(gguf))


def test_crash_on_crash_is_not_started_for_ever(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_seats, "_CRASHES", 2)

    async def work(runtime: LlamaCppRuntime) -> None:
        await runtime.load("m")
        for restarts in range(1, 4):
            await until(lambda: any(not worker.retiring and worker.address for worker in workers(runtime)))
            workers(runtime)[-1].process.process.kill()
            await until(lambda: runtime._pool.restarts == restarts)  # noqa: B023 - used at once
        with pytest.raises(RuntimeBusyError) as caught:
            await say(runtime)
        assert caught.value.retry_after > 5
        assert gguf.name in caught.value.message

    run(work, model(gguf))


@pytest.mark.bad_input("a model file that changed into no model after the start")
def test_a_file_that_went_bad(gguf: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(gguf, tmp_path / "bad.gguf"))

    async def work(runtime: LlamaCppRuntime) -> None:
        path.write_bytes(path.read_bytes()[:4000])
        for _ in range(3):
            with pytest.raises(RuntimeFailedError) as caught:
                await say(runtime)
            assert "bad.gguf" in caught.value.message
        assert workers(runtime) == []
        told = await runtime.health()
        assert not told.ok and "bad.gguf" in told.detail

    run(work, model(path))


def test_a_cancelled_task_frees_its_slot(long_gguf: Path) -> None:
    async def work(runtime: LlamaCppRuntime) -> None:
        await runtime.load("m")
        task = asyncio.create_task(say(runtime))
        (worker,) = workers(runtime)
        while not any(slot["is_processing"] for slot in await get(worker, "/slots")):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while any(slot["is_processing"] for slot in await get(worker, "/slots")):
            await asyncio.sleep(0.01)
        assert worker.users == 0

    run(work, model(long_gguf, num_ctx=32768))


def test_closing_ends_running_answers(long_gguf: Path) -> None:
    async def work(runtime: LlamaCppRuntime) -> None:
        stream = runtime.chat("m", {"messages": HI})
        await anext(stream)
        closing = asyncio.create_task(runtime.close())
        with pytest.raises(RuntimeFailedError):
            await collect(stream)
        await closing
        with pytest.raises(RuntimeFailedError):
            await runtime.load("m")
        await runtime.close()

    run(work, model(long_gguf, num_ctx=32768))


def test_closing_while_it_loads(gguf: Path) -> None:
    async def work(runtime: LlamaCppRuntime) -> None:
        waiting = asyncio.create_task(say(runtime))
        await loading(runtime)
        await runtime.close()
        with pytest.raises(RuntimeFailedError):
            await waiting

    run(work, model(gguf))


def test_models_are_exchanged_under_an_answer(gguf: Path, long_gguf: Path) -> None:
    async def work(runtime: LlamaCppRuntime) -> None:
        stream = runtime.chat("m", {"messages": HI, "max_tokens": 200})
        first = await anext(stream)
        runtime.update([model(gguf, "new")])
        assert [card.name for card in await runtime.models()] == ["new"]
        assert await say(runtime, "new") == TEXT
        assert len(text_of([first, *await collect(stream)])) > 200
        await until(lambda: len(workers(runtime)) == 1)

    run(work, model(long_gguf, num_ctx=32768))


@pytest.mark.bad_input("a conversation that the chat template refuses")
def test_what_the_template_refuses_is_the_requests_fault(tmp_path: Path) -> None:
    strict = (
        "{% if messages[0]['role'] != 'user' %}{{ raise_exception('user first') }}{% endif %}<|im_start|><|im_end|>"
    )
    path = scripted_gguf(tmp_path / "strict.gguf", TEXT, chat_template=strict)

    async def work(runtime: LlamaCppRuntime) -> None:
        with pytest.raises(RuntimeRefusedError) as caught:
            await say(runtime, messages=[{"role": "assistant", "content": "Hi"}])
        assert "user first" in caught.value.message
        assert caught.value.status == 400

    run(work, model(path))


def test_too_long_texts_to_embed_are_cut_if_wanted(gguf: Path) -> None:
    async def work(runtime: LlamaCppRuntime) -> None:
        texts = ["hello", "conch " * 1000]
        with pytest.raises(RuntimeRefusedError) as caught:
            await runtime.embed("m", texts, {})
        assert caught.value.kind == "context_length_exceeded"
        found = await runtime.embed("m", texts, {"truncate": True})
        assert len(found.vectors) == 2 and found.tokens > 2000

    run(work, model(gguf))


def test_one_that_hangs_is_killed_and_started_again(long_gguf: Path) -> None:
    """SIGSTOP: the child lives, its sockets take connections, and nothing is ever said."""

    async def work(runtime: LlamaCppRuntime) -> None:
        streams = [runtime.chat("m", {"messages": HI}) for _ in range(2)]
        for stream in streams:
            await anext(stream)
        (worker,) = workers(runtime)
        worker.process.process.send_signal(signal.SIGSTOP)
        late = asyncio.create_task(say(runtime, max_tokens=5))
        for stream in streams:
            with pytest.raises(RuntimeFailedError) as caught:
                await collect(stream)
            assert "long.gguf" in caught.value.message and "hung" in caught.value.message
        with pytest.raises(RuntimeFailedError):  # it may have been begun
            await late
        assert LONG.startswith(await say(runtime, max_tokens=5))
        assert worker.ended.is_set()
        told = await runtime.health()
        assert told.ok and told.restarts == 1

    run(work, model(long_gguf, num_ctx=32768), bounds=Bounds(hung_s=1.5))


def test_an_idle_one_that_hangs_is_replaced_before_it_is_asked(gguf: Path) -> None:
    async def work(runtime: LlamaCppRuntime) -> None:
        await runtime.load("m")
        (worker,) = workers(runtime)
        worker.process.process.send_signal(signal.SIGSTOP)
        await until(lambda: runtime._pool.restarts == 1)
        assert await say(runtime) == TEXT

    run(work, model(gguf), bounds=Bounds(hung_s=1.5))


def test_a_long_prompt_is_no_hang(large_ggufs: tuple[Path, Path]) -> None:
    """Reading it takes many times the patience, in silence."""
    hung_s = 1.5

    async def work(runtime: LlamaCppRuntime) -> None:
        await runtime.load("m")
        begun = time.monotonic()
        messages = [{"role": "user", "content": "x" * 250}]
        usage = (await collect(runtime.chat("m", {"messages": messages, "max_tokens": 1})))[-1].data["usage"]
        assert usage["prompt_tokens"] > 250
        assert time.monotonic() - begun > 2 * hung_s, "too short to show anything"
        assert (await runtime.health()).restarts == 0

    run(work, model(large_ggufs[0], num_ctx=512, slots=1), bounds=Bounds(hung_s=hung_s))
