"""conch serve beside llama.cpp's own server, llama-cpp-python's server, Ollama, and transformers.

python -m benchmarks.serve [--runs N] [--model FILE.gguf | --large [--work DIR]] [--streams 1 8 32]. The same server of
llama.cpp is asked in turns past the shim and through it: two of them may differ by themselves, from run to run. The
peers come one after the other. They need CONCH_GGML_PYTHON (llama-cpp-python[server]) and CONCH_PARITY_PYTHON
(transformers); one that is not set is left out, and said.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.large_model import make
from benchmarks.measure import machine
from benchmarks.streams import Load, interval, load, paired, spread
from conch_ollama.runtimes.llama_models import ALIAS
from conch_ollama.workflows.export import export
from tests.parts.ollama import OllamaServer
from tests.parts.ports import free_port
from tests.parts.smollm2 import smollm2_gguf

CONTEXT, SLOTS, TOKENS, SHORT = 512, 32, 64, 4
#: llama.cpp's threads go on looking for work for a while, which would be the next one's time.
PAUSE_S = 0.2
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
    with tempfile.TemporaryDirectory() as folder, _shim(gguf, Path(folder) / "worker") as shim:
        asyncio.run(load(shim, "bench", 1, tokens=1))  # it is loaded by now
        address, key = (Path(folder) / "worker").read_text(encoding="utf-8").split()
        direct = f"{address}/v1/chat/completions"
        print("| streams | tokens | | first token, ms | tokens/s | lost |\n| --- | --- | --- | --- | --- | --- |")
        for count, length, repeats in _kinds(streams, runs, tokens):
            ours: list[Load] = []
            theirs: list[Load] = []
            pair = [(theirs, direct, ALIAS, key), (ours, shim, "bench", "none")]
            for _ in range(1 + repeats):
                for found, url, model, secret in pair:
                    time.sleep(PAUSE_S)
                    found.append(asyncio.run(load(url, model, count, tokens=length, key=secret)))
                pair.reverse()  # who comes first may have it easier
            for name, found in (("llama.cpp's server", theirs[1:]), ("conch serve", ours[1:])):
                print(_row(f"{count} | {length}", name, found))
            for name, compare in (("difference of the medians", interval), ("median of the differences", paired)):
                print(_difference(f"{count} | {length} | {name}", theirs[1:], ours[1:], compare), flush=True)


def _kinds(streams: list[int], runs: int, tokens: int) -> Iterator[tuple[int, int, int]]:
    """Streams at once, tokens of an answer, how many runs.

    At one stream the differences are below the spread of a few runs, most of all that of the first token's time, for
    which answers may be short.
    """
    if 1 in streams:
        yield 1, min(SHORT, tokens), 40 * runs
    for count in streams:
        yield count, tokens, 10 * runs if count == 1 else runs


def _peers(gguf: Path, hf: Path | None, work: Path, tokens: int) -> None:
    print("\n| | streams | first token, ms | tokens/s | lost |\n| --- | --- | --- | --- | --- |")
    for name, server in (("conch serve", _shim), ("llama-cpp-python's server", _llama_cpp_python), ("Ollama", _ollama)):
        try:
            with server(gguf) as url:
                for count in (1, 8):
                    found = [asyncio.run(load(url, "bench", count, tokens=tokens)) for _ in range(4)][1:]
                    print(_row(name, str(count), found))
        except LookupError as err:
            print(f"| {name} | left out: {err} | | | |")
    parity = os.environ.get("CONCH_PARITY_PYTHON")
    if hf is not None and parity:
        done = subprocess.run([parity, "-c", SEEDS, str(hf), str(tokens)], capture_output=True, text=True, check=True)
        seconds = float(done.stdout.split()[-1])
        print(f"| transformers, float32, not streamed | 1 | {seconds * 1000:.0f} | {tokens / seconds:.0f} | 0 |")


def _difference(
    first: str,
    theirs: list[Load],
    ours: list[Load],
    compare: Callable[[list[float], list[float]], tuple[float, float, float]],
) -> str:
    """How much later the first token comes and how much faster the others do, with 95% intervals (bootstrap)."""
    later = compare([one.first for one in theirs], [one.first for one in ours])
    rates = [[one.rate for one in found] for found in (theirs, ours)]
    usual = spread(rates[0])[1]
    faster = compare(*rates)
    times = f"{later[1] * 1000:+.1f} ({later[0] * 1000:+.1f} to {later[2] * 1000:+.1f})"
    shares = f"{faster[1] / usual:+.1%} ({faster[0] / usual:+.1%} to {faster[2] / usual:+.1%})"
    return f"| {first} | {times} | {shares} | |"


def _row(first: str, second: str, found: list[Load]) -> str:
    times = " / ".join(f"{value * 1000:.1f}" for value in spread([one.first for one in found]))
    rates = " / ".join(f"{value:.1f}" for value in spread([one.rate for one in found]))
    return f"| {first} | {second} | {times} | {rates} | {sum(one.lost for one in found)} |"


@contextlib.contextmanager
def _shim(gguf: Path, told: Path = Path(os.devnull)) -> Iterator[str]:
    """`told`: the file that is told where its worker listens."""
    port = free_port()
    options = ["--port", str(port), "--name", "bench", "--num-ctx", str(CONTEXT), "--slots", str(SLOTS)]
    serve = [sys.executable, "-m", "benchmarks.shim", str(told), "serve", str(gguf)]
    command = [*serve, *options, "--keep-alive", "-1"]
    with _running(command, f"http://127.0.0.1:{port}/v1/models"):
        yield f"http://127.0.0.1:{port}/v1/chat/completions"


@contextlib.contextmanager
def _llama_cpp_python(gguf: Path) -> Iterator[str]:
    python = os.environ.get("CONCH_GGML_PYTHON")
    if not python:
        raise LookupError("CONCH_GGML_PYTHON is not set")
    port = free_port()
    options = ["--model", str(gguf), "--model_alias", "bench", "--port", str(port), "--n_ctx", str(CONTEXT)]
    command = [python, "-m", "llama_cpp.server", *options, "--interrupt_requests", "False"]
    with _running(command, f"http://127.0.0.1:{port}/v1/models"):
        yield f"http://127.0.0.1:{port}/v1/chat/completions"


@contextlib.contextmanager
def _ollama(gguf: Path) -> Iterator[str]:
    settings = {"OLLAMA_NUM_PARALLEL": "8", "OLLAMA_CONTEXT_LENGTH": str(CONTEXT), "OLLAMA_KEEP_ALIVE": "-1"}
    with tempfile.TemporaryDirectory() as models, OllamaServer(Path(models), environment=settings) as server:
        modelfile = Path(models) / "Modelfile"
        modelfile.write_text(f"FROM {gguf.resolve()}\nPARAMETER num_ctx {CONTEXT}\n", encoding="utf-8")
        server.run("create", "bench", "-f", str(modelfile))
        yield f"{server.host}/v1/chat/completions"


@contextlib.contextmanager
def _running(command: list[str], url: str) -> Iterator[None]:
    """The command, once `url` answers."""
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            until = time.monotonic() + 120
            while not _answers(url):
                if child.poll() is not None or time.monotonic() > until:
                    log.seek(0)
                    raise RuntimeError(f"{' '.join(command)}\n{log.read()[-3000:].decode('utf-8', 'replace')}")
                time.sleep(0.1)
            yield
        finally:
            child.terminate()
            child.wait(60)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    main()
