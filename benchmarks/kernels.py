"""Throughput of the quantisation kernels: million weights a second, on one thread and on several, type by type.

Run as `python benchmarks/kernels.py`. Rows are as long as a 7 B model's; measured is the kernel with its checks.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from conch_ollama.quantize.kernels import Kernel, available_kernels
from conch_ollama.quantize.types import GGML

COLUMNS = 4096


def throughput(kernel: Kernel, type: int, rows: NDArray[np.float32], threads: int, seconds: float) -> float:
    """Weights a second: the best round of those that fit into `seconds`, each with every thread on its own rows."""
    parts = np.array_split(rows, threads)
    best, end = float("inf"), time.perf_counter() + seconds
    with ThreadPoolExecutor(threads) as pool:
        while best == float("inf") or time.perf_counter() < end:
            start = time.perf_counter()
            list(pool.map(lambda part: kernel.quantize(part, type), parts))
            best = min(best, time.perf_counter() - start)
    return rows.size / best


def main(arguments: list[str] | None = None) -> None:
    """Print one table for every kernel that works here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads of the second measurement")
    parser.add_argument("--rows", type=int, default=256, help=f"rows of {COLUMNS} columns in one round")
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each number")
    options = parser.parse_args(arguments)
    rows = np.random.default_rng(0).standard_normal((options.rows, COLUMNS), dtype=np.float32) * np.float32(0.02)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, numpy {np.__version__}")
    for kernel in available_kernels():
        print(
            f"\n{kernel.name}, million weights a second\n{'type':6} {'1 thread':>10} {f'{options.threads} threads':>10}"
        )
        for name, type in GGML.items():
            if type in kernel.types:
                counts = [throughput(kernel, type, rows, n, options.seconds) for n in (1, options.threads)]
                print(f"{name:6} {counts[0] / 1e6:10.0f} {counts[1] / 1e6:10.0f}")


if __name__ == "__main__":
    main()
