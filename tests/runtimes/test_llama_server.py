"""The supervised runtime: loads once, unloads when idle, survives crashes, stops what nobody reads.

Making room, crash on crash and exchanged models: tests_server/test_supervision.py.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from conch_ollama.errors import ConchError, NotSupportedError, RuntimeFailedError, RuntimeRefusedError
from conch_ollama.runtimes.llama_server import LlamaCppModel, LlamaCppRuntime
from conch_ollama.runtimes.machine_fit import Machine
from conch_ollama.runtimes.protocol import Chunk
from tests.runtimes.places import HI, TEXT, collect, text_of
from tests.runtimes.supervised import LONG, get, model, run, say, until, workers


def test_the_first_requests_wait_for_one_load(gguf: Path) -> None:
    async def work(runtime: LlamaCppRuntime) -> None:
        assert (await runtime.health()).loaded == {}
        assert set(await asyncio.gather(*(say(runtime) for _ in range(5)))) == {TEXT}
        assert len(workers(runtime)) == 1

    run(work, model(gguf))


def test_idle_is_unloaded_and_never_under_an_answer(gguf: Path) -> None:
    async def work(runtime: LlamaCppRuntime) -> None:
        stream = runtime.chat("m", {"messages": HI, "keep_alive": "50ms"})
        first = await anext(stream)
        await asyncio.sleep(0.3)
        assert len(workers(runtime)) == 1
        assert text_of([first, *await collect(stream)]) == TEXT
        assert (await runtime.health()).loaded["m"] > 0
        await until(lambda: not workers(runtime))
        assert (await runtime.health()).loaded == {}
        assert await say(runtime, keep_alive=-1) == TEXT
        assert (await runtime.health()).loaded == {"m": 0.0}
        assert await say(runtime, keep_alive=0) == TEXT
        await until(lambda: not workers(runtime))

    run(work, model(gguf))


@pytest.mark.parametrize("refused", [0, 3])
@pytest.mark.parametrize("kind", ["chat", "complete"])
def test_texts_are_offered_and_none_is_lost(kind: str, refused: int, long_gguf: Path) -> None:
    """Whether all are taken or every third is not, the pieces are in their order.

    What comes together is one piece, and what comes while an untaken one waits is not offered: how many are depends on
    how often this process is let run, so the text is long.
    """
    said: list[str] = []
    offers = 0

    def take(chunks: Sequence[Chunk]) -> bool:
        nonlocal offers
        offers += 1
        if refused and offers % refused == 0:
            return False
        said.extend(map(_said, chunks))
        return True

    async def work(runtime: LlamaCppRuntime) -> None:
        ask, body = (runtime.chat, {"messages": HI}) if kind == "chat" else (runtime.complete, {"prompt": "Hi"})
        async for chunk in ask("m", body | {"max_tokens": 20000}, take):
            said.append(_said(chunk))  # noqa: PERF401 - between these come the taken ones
        assert "".join(said) == LONG
        assert offers > 10

    run(work, model(long_gguf, num_ctx=32768))


def _said(chunk: Chunk) -> str:
    return "".join(str(c.get("text") or c.get("delta", {}).get("content") or "") for c in chunk.data["choices"])


def test_a_crash_ends_its_answers_and_nothing_else(long_gguf: Path, gguf: Path) -> None:
    async def work(runtime: LlamaCppRuntime) -> None:
        await runtime.load("other")
        victims = [runtime.chat("m", {"messages": HI, "max_tokens": 20000}) for _ in range(2)]
        for victim in victims:
            await anext(victim)
        doomed = next(worker for worker in workers(runtime) if worker.users == 2)
        doomed.process.process.kill()
        for victim in victims:
            with pytest.raises(RuntimeFailedError) as caught:
                await collect(victim)
            assert "long.gguf" in caught.value.message and "-9" in caught.value.message
        assert await say(runtime, "other") == TEXT
        assert LONG.startswith(await say(runtime, max_tokens=5))
        assert (await runtime.health()).restarts == 1
        assert len(workers(runtime)) == 2

    run(work, model(long_gguf, num_ctx=32768), model(gguf, "other"))


def test_closing_a_stream_frees_its_slot(long_gguf: Path) -> None:
    async def work(runtime: LlamaCppRuntime) -> None:
        stream = runtime.chat("m", {"messages": HI})
        for _ in range(5):
            await anext(stream)
        (worker,) = workers(runtime)
        assert any(slot["is_processing"] for slot in await get(worker, "/slots"))
        await stream.aclose()
        assert worker.users == 0
        while any(slot["is_processing"] for slot in await get(worker, "/slots")):
            await asyncio.sleep(0.01)

    run(work, model(long_gguf, num_ctx=32768))


def test_defaults_of_the_model_give_way_to_the_request(gguf: Path) -> None:
    async def work(runtime: LlamaCppRuntime) -> None:
        assert await say(runtime) == TEXT.partition("knows")[0]
        assert await say(runtime, stop=["magic"]) == TEXT.partition("magic")[0]
        with_system = await collect(runtime.chat("m", {"messages": HI, "max_tokens": 1}))
        own = [{"role": "system", "content": ""}, *HI]
        without = await collect(runtime.chat("m", {"messages": own, "max_tokens": 1}))
        assert with_system[-1].data["usage"]["prompt_tokens"] > without[-1].data["usage"]["prompt_tokens"] + 20

    options = {"stop": ("knows",), "temperature": 0.5, "num_ctx": 4096}
    run(work, model(gguf, options=options, system="You are the magic conch of the burger shop."))


def test_other_dialects_are_passed_on(gguf: Path) -> None:
    async def work(runtime: LlamaCppRuntime) -> None:
        body = {"messages": HI, "max_tokens": 500}
        answer = json.loads(b"".join([piece async for piece in await runtime.forward("m", "/v1/messages", body)]))
        assert (answer["content"][0]["text"], answer["model"]) == (TEXT, "m")
        pieces = [piece async for piece in await runtime.forward("m", "/v1/responses", {"input": "Hi", "stream": True})]
        assert b"response.completed" in b"".join(pieces)
        with pytest.raises(NotSupportedError):
            await runtime.forward("m", "/v1/audio", {})
        with pytest.raises(RuntimeRefusedError):
            await runtime.forward("m", "/v1/responses", {"input": 3})

    run(work, model(gguf))


@pytest.mark.bad_input("an image for a model that sees none")
def test_an_image_is_refused(gguf: Path) -> None:
    async def work(runtime: LlamaCppRuntime) -> None:
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
        with pytest.raises(RuntimeRefusedError) as caught:
            await say(runtime, messages=[{"role": "user", "content": [image]}])
        assert "image_url" in caught.value.message

    run(work, model(gguf))


def test_the_start_says_what_was_chosen(gguf: Path) -> None:
    runtime = LlamaCppRuntime([LlamaCppModel("m", gguf)], machine=Machine(8 << 30, 4))
    told = "\n".join(runtime.describe())
    assert "m: " in told and "8 answers at once, each up to 4096 tokens of 4096; 4 threads" in told
    assert told.endswith("GPU: none found")


def test_a_gpu_that_cannot_be_used_is_said(gguf: Path) -> None:
    machine = Machine(8 << 30, 4, frozenset({"nvidia"}))
    told = LlamaCppRuntime([LlamaCppModel("m", gguf)], machine=machine).describe()
    assert "nvidia" in told[-1] and "cu128" in told[-1]


@pytest.mark.bad_input("a model file that is not there")
def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConchError) as caught:
        LlamaCppRuntime([model(tmp_path / "no.gguf")])
    assert caught.value.code == "not-found" and "no.gguf" in caught.value.message
