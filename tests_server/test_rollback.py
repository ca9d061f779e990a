"""conch.toml changed under load: an alias moves between versions, a model comes and goes, and no answer is lost."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import httpx

from tests.parts.scripted_gguf import scripted_gguf
from tests_server.soak import serving

WORDS = {version: " ".join(f"{version}-{n * n}" for n in range(40)) for version in ("one", "two")}
TEXT = """
port = 0
[models."conch@one"]
path = "one.gguf"
num_ctx = 1024
threads = 1
slots = 4
[models."conch@two"]
path = "two.gguf"
num_ctx = 1024
threads = 1
slots = 4
[aliases]
conch = "conch@{}"
"""


def test_an_alias_moves_under_load(tmp_path: Path) -> None:
    for version, words in WORDS.items():
        scripted_gguf(tmp_path / f"{version}.gguf", words, context_length=1024)
    config = tmp_path / "conch.toml"
    config.write_text(TEXT.format("one"), encoding="utf-8")
    with serving("--config", str(config), port=False) as (url, _):
        said = asyncio.run(play(url, config))
    assert set(said) == set(WORDS.values()), "every answer is whole, of one version or the other"
    assert said[0] == WORDS["one"]
    assert said[-1] == WORDS["one"], "rolled back"
    assert WORDS["two"] in said


async def play(url: str, config: Path) -> list[str]:
    """Eight streams at a time while the alias moves to two and back; the answers in the order of their ends."""
    said: list[str] = []
    end = time.monotonic() + 60
    ask = {"model": "conch", "messages": [{"role": "user", "content": "Hi"}], "stream": True, "temperature": 0}

    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60, verify=False) as client:

        async def answer() -> str:
            text = ""
            async with client.stream("POST", "/v1/chat/completions", json=ask) as found:
                assert found.status_code == 200, await found.aread()
                async for line in found.aiter_lines():
                    if line.startswith("data: {"):
                        for choice in json.loads(line[6:])["choices"]:
                            text += choice["delta"].get("content") or ""
            assert line == "" or line == "data: [DONE]"
            return text

        async def stream(done: asyncio.Event) -> None:
            while not done.is_set():
                assert time.monotonic() < end
                said.append(await answer())

        async def now(version: str) -> None:
            config.write_text(TEXT.format(version), encoding="utf-8")
            while (await answer()) != WORDS[version]:
                assert time.monotonic() < end

        done = asyncio.Event()
        streams = [asyncio.create_task(stream(done)) for _ in range(8)]
        await asyncio.sleep(1)
        await now("two")
        await asyncio.sleep(1)
        await now("one")
        done.set()
        await asyncio.gather(*streams)
        said.append(await answer())
    return said
