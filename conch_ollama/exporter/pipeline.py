"""Runs a plan: reads rows, merges and reorders them, quantises, writes and hashes, block by block, in one pass.

Reading, computing and writing overlap: workers convert blocks of a small window ahead while this thread writes them in
order, so memory is the window's, whatever the model's size.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conch_ollama.architectures.outputs import Output
from conch_ollama.exporter.blocks import row_blocks
from conch_ollama.exporter.plan import Plan
from conch_ollama.exporter.sinks import GGUFSink, HuggingFaceSink, Sink, WrittenFile
from conch_ollama.sources.weights import WeightSource

#: (parameters done, parameters in all, name of the tensor being written)
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class _Job:
    index: int
    output: Output
    start: int
    stop: int


def run_plan(plan: Plan, *, threads: int = 0, progress: Progress | None = None) -> list[WrittenFile]:
    """Write every file of the plan; returns them with their hashes.

    `threads`: 0 for one per core. On any error, Ctrl-C too, nothing is left but what was there before.
    """
    from threadpoolctl import threadpool_limits

    sinks: list[Sink] = [GGUFSink(file) for file in plan.files]
    if plan.folder is not None:
        names = {i: output.source for i, output in enumerate(plan.outputs) if output.source is not None}
        sinks.append(HuggingFaceSink(plan.folder, names))
    count = threads or os.cpu_count() or 1
    with ExitStack() as stack:
        # One BLAS thread for each of ours: more of them would only fight over the same cores.
        stack.enter_context(threadpool_limits(limits=1, user_api="blas"))
        for sink in sinks:
            stack.enter_context(sink)
        _stream(plan, sinks, count, progress)
        return [file for sink in sinks for file in sink.finish()]


def _stream(plan: Plan, sinks: Sequence[Sink], threads: int, progress: Progress | None) -> None:
    done = 0
    window: deque[tuple[_Job, Future[list[NDArray[np.uint8] | None]]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="conch-export")
    try:
        jobs = _jobs(plan.outputs)
        for job in jobs:
            window.append((job, pool.submit(_convert, plan.source, sinks, job)))
            if len(window) > threads + 1:
                done = _write(window, sinks, plan, done, progress)
        while window:
            done = _write(window, sinks, plan, done, progress)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _jobs(outputs: Sequence[Output]) -> Iterator[_Job]:
    for index, output in enumerate(outputs):
        rows, columns = output.shape[0], math.prod(output.shape[1:])
        # A 1-D tensor is one row of the file's, so it goes whole.
        blocks = row_blocks(rows, columns, output.order) if len(output.shape) > 1 else [(0, rows)]
        for start, stop in blocks:
            yield _Job(index, output, start, stop)


def _convert(source: WeightSource, sinks: Sequence[Sink], job: _Job) -> list[NDArray[np.uint8] | None]:
    output = job.output
    if output.source is not None:
        rows = source.read(output.source, job.start, job.stop)
    elif output.values is not None:
        rows = output.values[job.start : job.stop]
    else:
        raise AssertionError(f"{output.name} has neither source nor values")
    ordered = rows if output.order is None else rows[output.order[job.start : job.stop] - job.start]
    return [_converted(source, sink, job, rows, ordered) if sink.wants(output) else None for sink in sinks]


def _converted(
    source: WeightSource, sink: Sink, job: _Job, rows: NDArray[np.float32], ordered: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """The sink's bytes of a block; the source's own where they are of the type already, as llama.cpp does it: to
    quantise what was dequantised would lose a little for nothing."""
    output = job.output
    if output.source is not None and sink.keeps(job.index, source.tensors[output.source].dtype):
        stored = source.read_stored(output.source, job.start, job.stop)
        if stored is not None:
            return stored if output.order is None else stored[output.order[job.start : job.stop] - job.start]
    return sink.convert(job.index, job.start, rows, ordered)


def _write(
    window: deque[tuple[_Job, Future[list[NDArray[np.uint8] | None]]]],
    sinks: Sequence[Sink],
    plan: Plan,
    done: int,
    progress: Progress | None,
) -> int:
    job, future = window.popleft()
    for sink, block in zip(sinks, future.result(), strict=True):
        if block is not None:
            sink.write(job.index, block)
    if job.output.source is None:
        return done
    done += (job.stop - job.start) * math.prod(job.output.shape[1:])
    if progress is not None:
        progress(done, plan.parameters, job.output.name)
    return done
