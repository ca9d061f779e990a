"""How long a question and its first token are on their way, past the shim and through it.

A relay before llama.cpp's server writes down when the question had come and when the first text left (relay.py), the
client when it asked and when that text had come: what lies between is llama.cpp's, and left out. So a difference of
tenths of a millisecond shows, which is below what llama.cpp's own time varies by. The relay is on both ways.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks.servers import worker_and_shim
from benchmarks.streams import answer, interval, paired, question, spread

#: Seconds to the question, from the first token, and both.
Way = tuple[float, float, float]


def on_the_way(gguf: Path, runs: int, tokens: int, pause_s: float) -> None:
    """Print the table: milliseconds, least / median / most, and the differences with 95% intervals (bootstrap)."""
    past: list[Way] = []
    through: list[Way] = []
    with tempfile.TemporaryDirectory() as folder:
        stamps = Path(folder) / "stamps"
        with worker_and_shim(gguf, str(stamps)) as (worker, shim):
            pair = [(past, worker), (through, shim)]
            for _ in range(1 + runs):
                for found, target in pair:
                    time.sleep(pause_s)
                    body = question(target.model, 0, tokens)
                    told = asyncio.run(answer(target.url, body, target.key))
                    asked, first = _last(stamps, told.asked)
                    to, back = asked - told.asked, told.asked + told.first - first
                    found.append((to, back, to + back))
                pair.reverse()  # who comes first may have it easier
    print(f"\n| on the way, ms; {tokens} tokens | the question | the first token | both |\n| --- | --- | --- | --- |")
    for name, ways in (("past the shim", past), ("through it", through)):
        cells = [_cell("{:.2f} / {:.2f} / {:.2f}", spread([way[leg] for way in ways[1:]])) for leg in range(3)]
        print(f"| {name} | {' | '.join(cells)} |")
    for name, compare in (("difference of the medians", interval), ("median of the differences", paired)):
        legs = [compare([way[leg] for way in past[1:]], [way[leg] for way in through[1:]]) for leg in range(3)]
        cells = [_cell("{1:+.2f} ({0:+.2f} to {2:+.2f})", leg) for leg in legs]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _last(stamps: Path, since: float) -> tuple[float, float]:
    """The relay's two times of the question asked after `since`; it writes them down when the answer has ended."""
    for _ in range(100):
        lines = stamps.read_text(encoding="utf-8").splitlines(keepends=True)
        if lines and lines[-1].endswith("\n"):
            asked, first = map(float, lines[-1].split())
            if asked >= since:
                return asked, first
        time.sleep(0.01)
    raise RuntimeError("the relay has not seen the question")


def _cell(form: str, seconds: tuple[float, float, float]) -> str:
    return form.format(*(1000 * value for value in seconds))
