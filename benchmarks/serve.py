"""conch serve beside llama.cpp's own server, llama-cpp-python's server, Ollama, and transformers.

python -m benchmarks.serve [--runs N] [--model FILE.gguf | --large [--work DIR]] [--streams 1 8 32]. The same server of
llama.cpp is asked in turns past the shim and through it: two of them may differ by themselves, from run to run. A first
token's time varies by more than the shim's part of it. So it is also shown less the time for which llama.cpp's server
says it read that prompt; and measured with a model of one small layer, which costs llama.cpp next to nothing. The peers
come one after the other. They need CONCH_GGML_PYTHON (llama-cpp-python[server]) and CONCH_PARITY_PYTHON (transformers);
one that is not set is left out, and said.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.large_model import make
from benchmarks.measure import machine
from benchmarks.servers import CONTEXT, SLOTS, llama_cpp_python, ollama, shim, worker_and_shim
from benchmarks.streams import PROMPT, Load, interval, load, paired, spread
from conch_ollama.workflows.export import export
from tests.parts.scripted_gguf import scripted_gguf
from tests.parts.smollm2 import smollm2_gguf

TOKENS, SHORT = 64, 4
#: Runs for each one of --runs: of short answers at one stream, of whole ones, of a few streams, of more.
ALONE_SHORT, ALONE, FEW, MANY = 40, 10, 8, 4
#: llama.cpp's threads go on looking for work for a while, which would be the next one's time.
PAUSE_S = 0.2
COLUMNS = "first token, ms | less the prompt's reading | tokens/s | lost"
SEEDS = """
import sys, time, torch
from transformers import AutoModelForCausalLM
folder, tokens = sys.argv[1], int(sys.argv[2])
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
ids = torch.arange(100, 140).unsqueeze(0)  # a prompt of 40 tokens: which ones costs the same
mask = torch.ones_like(ids)
times = []
for _ in range(4):
    start = time.perf_counter()
    out = model.generate(ids, attention_mask=mask, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
    times.append(time.perf_counter() - start)
print(sorted(times[1:])[1])
"""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="benchmarks.serve", description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--model", type=Path, help="a GGUF (default: SmolLM2-135M-Instruct, q8_0)")
    parser.add_argument("--large", action="store_true", help="a random model of a 1.5 B shape, q4_K_M (4 GB of disk)")
    parser.add_argument("--work", type=Path, help="where the large model is kept (default: made in a temporary folder)")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--tokens", type=int, default=TOKENS)
    parser.add_argument("--no-peers", action="store_true")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that its servers end too
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        hf = None
        gguf = _large(given.work or work) if given.large else given.model
        if gguf is None:
            made = export(
                smollm2_gguf(), types=["q8_0"], name="bench", out=work / "out", check=False, hugging_face=True
            )
            gguf, hf = made.gguf, work / "out" / "hf"
        print(
            f"\n{machine()}; {gguf.name}, {given.tokens} tokens an answer, {CONTEXT} tokens of context, {SLOTS} slots\n"
        )
        _overhead(gguf, given.streams, given.runs, given.tokens)
        if 1 in given.streams:
            print("\nThe same with a model that costs next to nothing: of its first token most is the shim's.\n")
            _overhead(scripted_gguf(work / "scripted.gguf", PROMPT), [1], given.runs, SHORT)
        if not given.no_peers:
            _peers(gguf, hf, work, given.tokens)


def _large(work: Path) -> Path:
    base, _ = make(work)
    out = work / "served"
    found = out / "bench.q4_K_M.gguf"
    if not found.is_file():
        found = export(base, types=["q4_K_M"], name="bench", out=out, check=False).gguf
    return found


def _overhead(gguf: Path, streams: list[int], runs: int, tokens: int) -> None:
    with worker_and_shim(gguf) as (worker, through):
        print(f"| streams | tokens | | {COLUMNS} |\n| --- | --- | --- | --- | --- | --- | --- |")
        for count, length, repeats in _kinds(streams, runs, tokens):
            ours: list[Load] = []
            theirs: list[Load] = []
            pair = [(theirs, worker), (ours, through)]
            for _ in range(1 + repeats):
                for found, target in pair:
                    time.sleep(PAUSE_S)
                    found.append(asyncio.run(load(target.url, target.model, count, tokens=length, key=target.key)))
                pair.reverse()  # who comes first may have it easier
            for name, found in (("llama.cpp's server", theirs[1:]), ("conch serve", ours[1:])):
                print(_row(f"{count} | {length}", name, found))
            for name, compare in (("difference of the medians", interval), ("median of the differences", paired)):
                print(_difference(f"{count} | {length} | {name}", theirs[1:], ours[1:], compare), flush=True)


def _kinds(streams: list[int], runs: int, tokens: int) -> Iterator[tuple[int, int, int]]:
    """Streams at once, tokens of an answer, how many runs.

    The differences are below the spread of a few runs. At one stream that is most of all the first token's time, for
    which answers may be short. Of many at once now all and now one are in llama.cpp's first batch, whoever is asked;
    the shorter their answers, the more of a run is that batch: seven runs of 8 tokens may be off by a fifth.
    """
    if 1 in streams:
        yield 1, min(SHORT, tokens), ALONE_SHORT * runs
        if tokens > SHORT:
            yield 1, tokens, ALONE * runs
    for count in streams:
        if count > 1:
            yield count, tokens, (FEW if count <= 8 else MANY) * runs  # the rates of few vary by more


def _peers(gguf: Path, hf: Path | None, work: Path, tokens: int) -> None:
    print(f"\n| | streams | {COLUMNS} |\n| --- | --- | --- | --- | --- | --- |")
    for name, server in (("conch serve", shim), ("llama-cpp-python's server", llama_cpp_python), ("Ollama", ollama)):
        try:
            with server(gguf) as url:
                for count in (1, 8):
                    found = [asyncio.run(load(url, "bench", count, tokens=tokens)) for _ in range(4)][1:]
                    print(_row(name, str(count), found))
        except LookupError as err:
            print(f"| {name} | left out: {err} | | | | |")
    parity = os.environ.get("CONCH_PARITY_PYTHON")
    if hf is not None and parity:
        done = subprocess.run([parity, "-c", SEEDS, str(hf), str(tokens)], capture_output=True, text=True, check=True)
        seconds = float(done.stdout.split()[-1])
        print(f"| transformers, float32, not streamed | 1 | {seconds * 1000:.0f} | | {tokens / seconds:.0f} | 0 |")


def _difference(
    first: str,
    theirs: list[Load],
    ours: list[Load],
    compare: Callable[[list[float], list[float]], tuple[float, float, float]],
) -> str:
    """How much later the first token comes and how much faster the others do, with 95% intervals (bootstrap)."""
    first_token = _later(compare([one.first for one in theirs], [one.first for one in ours]))
    way = _later(compare([one.way for one in theirs], [one.way for one in ours]))
    rates = [[one.rate for one in found] for found in (theirs, ours)]
    usual = spread(rates[0])[1]
    least, middle, most = (value / usual for value in compare(*rates))
    return f"| {first} | {first_token} | {way} | {middle:+.1%} ({least:+.1%} to {most:+.1%}) | |"


def _later(seconds: tuple[float, float, float]) -> str:
    least, middle, most = (value * 1000 for value in seconds)
    return f"{middle:+.2f} ({least:+.2f} to {most:+.2f})"


def _row(first: str, second: str, found: list[Load]) -> str:
    times = _spread([one.first * 1000 for one in found])
    way = _spread([one.way * 1000 for one in found])
    rates = _spread([one.rate for one in found])
    return f"| {first} | {second} | {times} | {way} | {rates} | {sum(one.lost for one in found)} |"


def _spread(values: list[float]) -> str:
    """Least, median, most; nothing where a server does not tell."""
    return "" if any(map(math.isnan, values)) else " / ".join(f"{value:.1f}" for value in spread(values))


if __name__ == "__main__":
    main()
