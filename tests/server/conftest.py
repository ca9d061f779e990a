"""One shim for all conformance tests: SmolLM2 in the real llama.cpp runtime, behind real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conch_ollama.runtimes.llama_models import LlamaCppModel
from conch_ollama.runtimes.llama_server import LlamaCppRuntime
from tests.server.made_runtime import MadeRuntime
from tests.server.running import RunningShim, with_limits


@pytest.fixture(scope="session")
def real(smollm2_gguf: Path) -> Iterator[RunningShim]:
    """The model is called `smol`."""
    model = LlamaCppModel("smol", smollm2_gguf, num_ctx=1024, threads=1, slots=2)
    # One thread: on a busy machine llama.cpp's threads wait for one another, spinning.
    settings = with_limits(max_tokens=24)
    with RunningShim(lambda: {"llama.cpp": LlamaCppRuntime([model])}, settings) as running:
        yield running


@pytest.fixture(scope="module")
def made() -> Iterator[tuple[RunningShim, MadeRuntime]]:
    """A shim in front of a made runtime, and that runtime. Both are shared by a file's tests."""
    runtime = MadeRuntime()
    with RunningShim({"made": runtime}) as running:
        yield running, runtime
