"""The soak: `python -m tests_server.soak --seconds 600`. Streams with random hang-ups, the worker killed now and then.

Prints what came of it and fails unless nine in ten of the requests outside the three seconds after a kill complete, all
others end in a proper error, and memory and descriptors stay flat. Used shorter by test_soak.py.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from tests.parts.smollm2 import smollm2_gguf

ROOT = Path(__file__).parents[1]
AFTER_A_KILL_S = 3.0


@dataclass
class Result:
    """`ended`: how requests ended outside kills; `memory` in bytes and `descriptors` of the shim, in time: first and
    last without a connection, between them under load. `strange`: ends that are no proper ones, at any time."""

    ended: Counter[str] = field(default_factory=Counter)
    after_kills: Counter[str] = field(default_factory=Counter)
    strange: list[str] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    def note(self, begun: float, how: str) -> None:
        now = time.monotonic()
        near = any(begun - AFTER_A_KILL_S <= kill <= now for kill in self.kills)
        (self.after_kills if near else self.ended)[how] += 1

    def look(self, shim: psutil.Process) -> None:
        self.memory.append(shim.memory_info().rss)
        self.descriptors.append(shim.num_fds() if hasattr(shim, "num_fds") else 0)

    @property
    def share(self) -> float:
        """Of the requests outside kills whose clients stayed, those that were answered to their end."""
        asked = sum(count for how, count in self.ended.items() if how != "hung up")
        return self.ended["complete"] / asked if asked else 0.0

    def report(self) -> dict[str, object]:
        return {
            "complete outside the 3 s after a kill": f"{self.share:.2%}",
            "outside": dict(self.ended),
            "after kills": dict(self.after_kills),
            "without a proper end": self.strange[:10],
            "kills": len(self.kills),
            "memory MB (start, most, end)": [size >> 20 for size in _first_most_last(self.memory)],
            "descriptors (start, most, end)": _first_most_last(self.descriptors),
        }

    def check(self) -> None:
        assert self.share >= 0.9, self.ended
        assert not self.strange, self.strange[:5]
        assert self.descriptors[-1] <= self.descriptors[0] + 10, self.descriptors
        settled = len(self.memory) // 3
        assert max(self.memory[settled:]) < 1.3 * self.memory[settled] + (20 << 20), self.memory
        assert max(self.descriptors[settled:]) < self.descriptors[settled] + 150, self.descriptors


def _first_most_last(values: list[int]) -> list[int]:
    return [values[0], max(values), values[-1]]


@contextlib.contextmanager
def serving(*args: str, port: bool = True) -> Iterator[tuple[str, psutil.Process]]:
    """`conch serve` as a process, on a free port or on the configuration's: its URL and itself."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "conch_ollama",
            "serve",
            *args,
            *(["--port", "0"] if port else []),
            "--log-level",
            "error",
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        assert "serving" in line, line
        yield line.split()[-1], psutil.Process(process.pid)
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()


async def ask(client: httpx.AsyncClient, result: Result, chance: random.Random) -> None:
    """One streamed answer, or half of one."""
    begun = time.monotonic()
    stops_after = chance.randint(1, 10) if chance.random() < 0.2 else None
    body = {
        "model": "soak",
        "messages": [{"role": "user", "content": f"Tell me about the number {chance.randint(1, 99)}."}],
        "max_tokens": chance.randint(4, 24),
        "stream": True,
    }
    events = 0
    last = ""
    try:
        async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            if answer.status_code != 200:
                error = json.loads(await answer.aread())["error"]
                result.note(begun, f"{answer.status_code} {error['code']}")
                await asyncio.sleep(min(float(answer.headers.get("retry-after", 0.2)), 2))
                return
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    last = line[6:]
                    events += 1
                    if events == stops_after:
                        result.note(begun, "hung up")
                        return
    except (httpx.HTTPError, ValueError, KeyError) as err:
        result.strange.append(f"{type(err).__name__}: {err}")
        return
    if last == "[DONE]":
        result.note(begun, "complete")
    elif last and "error" in json.loads(last):
        result.note(begun, "error event")
    else:
        result.strange.append(f"a stream that ends in {last!r}")


async def soak(seconds: float, streams: int, kill_every: float, *, model: Path | None = None, seed: int = 0) -> Result:
    """`model`: a GGUF, else SmolLM2."""
    result = Result()
    args = [str(model or smollm2_gguf()), "--name", "soak", "--num-ctx", "256", "--slots", "8", "--threads", "1"]
    with serving(*args) as (url, shim):
        end = time.monotonic() + seconds
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False, limits=limits, verify=False) as client:
            await client.get("/health")
            result.look(shim)

            async def stream(number: int) -> None:
                chance = random.Random(seed * 1000 + number)
                while time.monotonic() < end:
                    await ask(client, result, chance)

            async def kill() -> None:
                while time.monotonic() < end - kill_every:
                    await asyncio.sleep(kill_every)
                    for child in shim.children(recursive=True):
                        with contextlib.suppress(psutil.Error):
                            if "conch_ollama.runtimes.worker" in child.cmdline():
                                result.kills.append(time.monotonic())
                                child.kill()

            async def watch() -> None:
                while True:
                    await asyncio.sleep(max(0.5, seconds / 60))
                    result.look(shim)

            watcher = asyncio.create_task(watch())
            await asyncio.gather(kill(), *(stream(number) for number in range(streams)))
            watcher.cancel()
            ready = await client.get("/health")
            assert ready.status_code == 200
        await asyncio.sleep(1)  # it sees that the client is gone
        result.look(shim)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--kill-every", type=float, default=60)
    given = parser.parse_args()
    result = asyncio.run(soak(given.seconds, given.streams, given.kill_every))
    sys.stdout.write(json.dumps(result.report(), indent=1) + "\n")
    result.check()


if __name__ == "__main__":
    main()
