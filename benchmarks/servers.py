"""The servers that are measured, each with one model behind OpenAI's chat endpoint."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.streams import load
from conch_ollama.runtimes.llama_models import ALIAS
from tests.parts.ollama import OllamaServer
from tests.parts.ports import free_port

CONTEXT, SLOTS = 512, 32


@dataclass(frozen=True)
class Target:
    """Where to ask what, with which key."""

    url: str
    model: str
    key: str = "none"


@contextlib.contextmanager
def worker_and_shim(gguf: Path) -> Iterator[tuple[Target, Target]]:
    """The same server of llama.cpp past `conch serve` and through it."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "worker"
        with shim(gguf, told) as url:
            asyncio.run(load(url, "bench", 1, tokens=1))  # it is loaded by now
            address, key = told.read_text(encoding="utf-8").split()
            yield Target(f"{address}/v1/chat/completions", ALIAS, key), Target(url, "bench")


@contextlib.contextmanager
def shim(gguf: Path, told: Path = Path(os.devnull)) -> Iterator[str]:
    """`told`: see benchmarks/shim.py."""
    port = free_port()
    options = ["--port", str(port), "--name", "bench", "--num-ctx", str(CONTEXT), "--slots", str(SLOTS)]
    serve = [sys.executable, "-m", "benchmarks.shim", str(told), "serve", str(gguf)]
    command = [*serve, *options, "--keep-alive", "-1"]
    with _running(command, f"http://127.0.0.1:{port}/v1/models"):
        yield f"http://127.0.0.1:{port}/v1/chat/completions"


@contextlib.contextmanager
def llama_cpp_python(gguf: Path) -> Iterator[str]:
    """Raises LookupError where it is not told where that is installed."""
    python = os.environ.get("CONCH_GGML_PYTHON")
    if not python:
        raise LookupError("CONCH_GGML_PYTHON is not set")
    port = free_port()
    options = ["--model", str(gguf), "--model_alias", "bench", "--port", str(port), "--n_ctx", str(CONTEXT)]
    command = [python, "-m", "llama_cpp.server", *options, "--interrupt_requests", "False"]
    with _running(command, f"http://127.0.0.1:{port}/v1/models"):
        yield f"http://127.0.0.1:{port}/v1/chat/completions"


@contextlib.contextmanager
def ollama(gguf: Path) -> Iterator[str]:
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
