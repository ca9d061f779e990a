"""How long `conch serve` takes until it takes requests, the model's load besides: wall clock, and processor time (user
and system) of the server itself. `python -m benchmarks.serve_start [MODEL]`; without MODEL the SmolLM2 of the tests.

What it loads meanwhile: `python -X importtime -m conch_ollama serve MODEL --port 0 2> imports.txt`.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import psutil

from conch_ollama.sources.smollm2 import smollm2_gguf

RUNS = 7


def start(model: str) -> tuple[float, float]:
    """(wall clock, processor time) in seconds until the line that says it serves."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "conch_ollama", "serve", model, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8") as server:
        assert server.stdout is not None
        for line in server.stdout:
            if line.startswith("serving") or " serving " in line:
                break
        wall = time.perf_counter() - begun
        times = psutil.Process(server.pid).cpu_times()
        server.terminate()
        server.communicate()
    return wall, times.user + times.system


def main() -> None:
    model = sys.argv[1] if len(sys.argv) > 1 else str(smollm2_gguf())
    found = [start(model) for _ in range(RUNS)]
    for name, values in zip(("wall clock", "processor"), zip(*found, strict=True), strict=True):
        print(f"{name}: median {statistics.median(values):.2f} s, {min(values):.2f} to {max(values):.2f} s")


if __name__ == "__main__":
    main()
