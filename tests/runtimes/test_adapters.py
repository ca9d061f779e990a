"""One base with several adapters as models of their own names; versions; one exchanged under running answers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from conch_ollama.errors import ConchError
from conch_ollama.runtimes.llama_models import Adapter
from conch_ollama.runtimes.llama_server import LlamaCppRuntime
from tests.parts.scripted_gguf import pieces, scripted_gguf
from tests.runtimes.adapter_gguf import bending_adapter, skipping_adapter
from tests.runtimes.places import HI, TEXT, collect, text_of
from tests.runtimes.supervised import model, run, say, until, workers

CUT = pieces(TEXT)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scripted_gguf(tmp_path_factory.mktemp("base") / "base.gguf", TEXT, context_length=4096)


def rest(skip: int) -> str:
    return "".join(CUT[skip:])


def test_each_name_answers_with_its_own_adapter(base: Path, tmp_path: Path) -> None:
    five, nine = (Adapter(skipping_adapter(tmp_path / f"{n}.gguf", base, n)) for n in (5, 9))

    async def work(runtime: LlamaCppRuntime) -> None:
        names = ["base", "five", "nine", "none"] * 3
        answers = await asyncio.gather(*(say(runtime, name) for name in names))
        assert dict(zip(names, answers, strict=True)) == {"base": TEXT, "five": rest(5), "nine": rest(9), "none": TEXT}
        assert len(workers(runtime)) == 1
        # What a client sends of it does not count.
        assert await say(runtime, "base", lora=[{"id": 0, "scale": 1.0}]) == TEXT
        cards = {card.name: card for card in await runtime.models()}
        assert cards["five"].version == "2" and cards["base"].version == ""

    run(
        work,
        model(base, "base"),
        model(base, "five", adapters=(five,), version="2"),
        model(base, "nine", adapters=(nine,)),
        model(base, "none", adapters=(Adapter(nine.path, 0.0),)),
    )


def test_each_dialect_answers_with_the_names_own_adapter(base: Path, tmp_path: Path) -> None:
    five = Adapter(skipping_adapter(tmp_path / "5.gguf", base, 5))

    async def asked(runtime: LlamaCppRuntime, name: str, path: str) -> Any:
        pieces = await runtime.forward(name, path, {"messages": HI, "input": "Hi", "max_tokens": 500})
        return json.loads(b"".join([piece async for piece in pieces]))

    async def work(runtime: LlamaCppRuntime) -> None:
        for name, text in (("base", TEXT), ("five", rest(5))):
            assert (await asked(runtime, name, "/v1/messages"))["content"][0]["text"] == text
            assert (await asked(runtime, name, "/v1/responses"))["output"][0]["content"][0]["text"] == text
        assert len(workers(runtime)) == 2
        await asked(runtime, "five", "/v1/messages/count_tokens")

    run(work, model(base, "base"), model(base, "five", adapters=(five,)))


def test_a_version_is_exchanged_and_rolled_back_under_answers(base: Path, tmp_path: Path) -> None:
    one, two = (Adapter(skipping_adapter(tmp_path / f"v{n}.gguf", base, n)) for n in (1, 2))
    first = [model(base, "conch", adapters=(one,), version="1")]
    second = [model(base, "conch", adapters=(two,), version="2"), model(base, "conch@1", adapters=(one,), version="1")]

    async def work(runtime: LlamaCppRuntime) -> None:
        stream = runtime.chat("conch", {"messages": HI})
        begun = [await anext(stream)]
        runtime.update(second)
        assert await say(runtime, "conch") == rest(2)
        assert await say(runtime, "conch@1") == rest(1)
        assert text_of([*begun, *await collect(stream)]) == rest(1)
        runtime.update(first)
        assert await say(runtime, "conch") == rest(1)
        await until(lambda: len(workers(runtime)) == 1)

    run(work, *first)


def test_vectors_are_those_of_the_name(base: Path, tmp_path: Path) -> None:
    adapter = Adapter(bending_adapter(tmp_path / "bent.gguf", base))

    async def work(runtime: LlamaCppRuntime) -> None:
        plain, bent, again = [(await runtime.embed(name, ["x"], {})).vectors[0] for name in ("base", "bent", "base")]
        assert plain == again
        assert sum(a * b for a, b in zip(plain, bent, strict=True)) < 0.99
        await runtime.unload("bent")
        await until(lambda: not workers(runtime))

    run(work, model(base, "base"), model(base, "bent", adapters=(adapter,)))


@pytest.mark.bad_input("an adapter file that is not there")
def test_an_adapter_that_is_not_there(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConchError) as caught:
        LlamaCppRuntime([model(base, adapters=(Adapter(tmp_path / "no.gguf"),))])
    assert caught.value.code == "not-found" and "no.gguf" in caught.value.message


@pytest.mark.bad_input("an adapter file that is no adapter")
def test_an_adapter_that_is_none(base: Path, tmp_path: Path) -> None:
    async def work(runtime: LlamaCppRuntime) -> None:
        with pytest.raises(ConchError) as caught:
            await say(runtime)
        assert caught.value.code == "runtime-failed"
        assert "adapter" in (caught.value.hint or "") or "lora" in (caught.value.hint or "")

    run(work, model(base, adapters=(Adapter(base),)))
