"""The runtimes with a model that means something: answers, JSON, vectors alike in llama.cpp and Ollama; memory."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import random
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from conch_ollama.errors import RuntimeFailedError
from conch_ollama.runtimes.llama_server import LlamaCppRuntime
from conch_ollama.runtimes.ollama import OllamaRuntime
from tests.parts.ollama import OllamaServer
from tests.parts.smollm2 import smollm2_gguf
from tests.runtimes.places import collect, text_of
from tests.runtimes.supervised import model, run, workers

FRANCE = [{"role": "user", "content": "What is the capital of France?"}]
TEXTS = ["The capital of France is Paris.", "Paris is France's capital city.", "I like cheese on toast."]


@pytest.fixture(scope="module")
def gguf() -> Path:
    return smollm2_gguf()


@pytest.fixture(scope="module")
def ollama_host(gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with OllamaServer(tmp_path_factory.mktemp("ollama") / "models") as server:
        data = gguf.read_bytes()
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        with httpx.Client(base_url=server.host, timeout=120, trust_env=False) as http:
            http.post(f"/api/blobs/{digest}", content=data).raise_for_status()
            body = {"model": "smollm2", "files": {"m.gguf": digest}, "stream": False}
            http.post("/api/create", json=body).raise_for_status()
        yield server.host


async def with_ollama(host: str, work: Any) -> Any:
    runtime = OllamaRuntime(host)
    try:
        return await work(runtime)
    finally:
        await runtime.close()


def cosine(a: Any, b: Any) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_it_answers_and_binds_itself_to_a_schema(gguf: Path, ollama_host: str) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema}}

    async def work(runtime: Any) -> tuple[str, Any]:
        fixed = {"temperature": 0, "options": {"num_thread": 1}}
        body = {"prompt": "The capital of France is", "max_tokens": 4, **fixed}
        said = await collect(runtime.complete("smollm2", body))
        body = {"messages": FRANCE, "max_tokens": 40, "response_format": wanted, **fixed}
        bound = text_of(await collect(runtime.chat("smollm2", body)))
        return "".join(chunk.data["choices"][0]["text"] for chunk in said[:-1]), json.loads(bound)

    for said, bound in (run(work, model(gguf, "smollm2")), asyncio.run(with_ollama(ollama_host, work))):
        assert "Paris" in said
        assert list(bound) == ["city"] and isinstance(bound["city"], str)


def test_vectors_are_alike(gguf: Path, ollama_host: str) -> None:
    async def work(runtime: Any) -> list[Any]:
        found = await runtime.embed("smollm2", TEXTS, {"options": {"num_thread": 1}})
        return list(found.vectors)

    ours, theirs = run(work, model(gguf, "smollm2")), asyncio.run(with_ollama(ollama_host, work))
    for mine, other in zip(ours, theirs, strict=True):
        assert math.isclose(cosine(mine, mine), 1.0, abs_tol=1e-4)
        assert cosine(mine, other) > 0.99
    assert cosine(ours[0], ours[1]) > cosine(ours[0], ours[2])


def test_a_conversation_that_goes_on_is_not_read_anew(gguf: Path) -> None:
    async def work(runtime: LlamaCppRuntime) -> None:
        long = [{"role": "user", "content": "Tell me about rivers and seas. " * 20}]
        await collect(runtime.chat("m", {"messages": long, "max_tokens": 4}))
        more = [*long, {"role": "assistant", "content": "Rivers run."}, {"role": "user", "content": "And?"}]
        usage = (await collect(runtime.chat("m", {"messages": more, "max_tokens": 2})))[-1].data["usage"]
        assert usage["prompt_tokens_details"]["cached_tokens"] > 100

    run(work, model(gguf))


def test_the_estimate_of_its_memory_is_from_above(gguf: Path) -> None:
    async def work(runtime: LlamaCppRuntime) -> None:
        bodies = [
            {"messages": [{"role": "user", "content": f"Count to {n}. " * 100}], "max_tokens": 8} for n in range(4)
        ]
        await asyncio.gather(*(collect(runtime.chat("m", body)) for body in bodies))
        (worker,) = workers(runtime)
        taken = psutil.Process(worker.process.process.pid).memory_info().rss
        assert taken < worker.plan.memory < 4 * taken

    run(work, model(gguf, slots=4))


def test_hang_ups_and_kills_leave_nothing_behind(gguf: Path) -> None:
    """A short soak: 12 clients that hang up at random, the worker killed four times."""

    async def work(runtime: LlamaCppRuntime) -> None:
        dice = random.Random(5)
        told = {"whole": 0, "hung up": 0, "failed": 0}
        kills = 0

        async def client(number: int) -> None:
            while kills < 4:
                body = {"messages": [{"role": "user", "content": f"Story {number}?"}], "max_tokens": 12}
                stream = runtime.chat("m", body)
                try:
                    async for _ in stream:
                        if dice.random() < 0.03:
                            told["hung up"] += 1
                            break
                    else:
                        told["whole"] += 1
                except RuntimeFailedError as err:
                    assert err.message
                    told["failed"] += 1
                    await asyncio.sleep(0.05)
                finally:
                    await stream.aclose()

        async def killer() -> None:
            nonlocal kills
            while kills < 4:
                before = told["whole"]
                while told["whole"] < before + 10:
                    await asyncio.sleep(0.05)
                for worker in workers(runtime):
                    worker.process.process.kill()
                kills += 1

        await runtime.load("m")
        descriptors = psutil.Process().num_fds()
        async with asyncio.timeout(150):
            await asyncio.gather(killer(), *(client(number) for number in range(12)))
        assert told["whole"] >= 40 and told["hung up"] > 0
        # Each kill ends at most the answers that were running.
        assert told["failed"] <= 4 * 12 * 2
        assert runtime._pool.restarts == 4
        await asyncio.sleep(0.2)
        assert all(worker.users == 0 for worker in workers(runtime))
        assert psutil.Process().num_fds() <= descriptors + 8

    run(work, model(gguf, num_ctx=256, slots=6))
