"""Starts and ends the child process that holds llama.cpp, and keeps the end of its log.

Shared by the plain client of one worker (llama_cpp.py) and by the supervised ones (worker_pool.py). Speaks to the child
over its pipes only; HTTP is theirs.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from conch_ollama.errors import RuntimeFailedError

_LOG_LINES = 6
_LOG_BYTES = 1 << 20
#: Binding of llama.cpp -> the child that holds it.
_MODULES = {
    "xllamacpp": "conch_ollama.runtimes.worker",
    "llama-cpp-python": "conch_ollama.runtimes.worker_llama_cpp_python",
}


class WorkerProcess:
    """One child with one model; `settings` as in worker.py, but for `key`, which is drawn anew for each start;
    `binding`: "xllamacpp" (worker.py, the default) or "llama-cpp-python" (worker_llama_cpp_python.py).

    Being made, it runs and loads; `wait_ready` tells when it can be asked at `.address` with `.key`.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.path = Path(settings["path"])
        self.key = secrets.token_urlsafe(24)
        self.address = ""
        # Appended to by both sides' rules, so that cutting it leaves no hole.
        self._log: IO[bytes] = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - lives as long as the worker
        self.process = subprocess.Popen(
            [sys.executable, "-m", _MODULES[settings.get("binding", "xllamacpp")]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=worker_environment(),
        )
        self._settings = {**settings, "key": self.key}

    def wait_ready(self, timeout: float = 600.0) -> None:
        """Hand over the settings and return when the model is loaded, in seconds at most.

        Raises `RuntimeFailedError` with what llama.cpp said last. `close` from another thread ends the waiting.
        """
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeFailedError(f"the worker for {self.path} has no pipes")
        watchdog = threading.Timer(timeout, self.process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            self.process.stdin.write(json.dumps(self._settings).encode() + b"\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except (OSError, ValueError):  # the child, or our end of the pipe, is gone
            line = b""
        finally:
            watchdog.cancel()
        answer: dict[str, str] = json.loads(line) if line else {}
        if "address" not in answer:
            raise self.failure("llama.cpp could not load", answer.get("error"))
        self.address = answer["address"]

    def failure(self, what: str, said: str | None = None) -> RuntimeFailedError:
        """An error that names the model and carries the end of llama.cpp's log."""
        try:
            status = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            status = None
        ended = "" if status is None else f" (the worker ended with status {status})"
        tail = self.log_tail()
        hint = "llama.cpp's last lines:\n" + "\n".join(tail) if tail else None
        return RuntimeFailedError(f"{what} {self.path}{ended}: {said or 'it said nothing'}", hint=hint)

    def log_tail(self, lines: int = _LOG_LINES) -> list[str]:
        """The last lines that llama.cpp logged."""
        if self._log.closed:
            return []
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - (64 << 10)))
        return self._log.read().decode("utf-8", "replace").splitlines()[-lines:]

    def trim_log(self) -> None:
        """Empty the log when it has grown long: a worker may live for months."""
        if not self._log.closed and os.fstat(self._log.fileno()).st_size > _LOG_BYTES:
            self._log.truncate(0)

    def close(self, patience: float = 10.0) -> None:
        """End the child, killing it after `patience` seconds; safe to call twice."""
        if self.process.poll() is None:
            self._close_input()
            try:
                self.process.wait(timeout=patience)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._close_input()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._log.close()

    def _close_input(self) -> None:
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):  # the child may be gone already
                self.process.stdin.close()


def worker_environment() -> dict[str, str]:
    """Environment in which a child finds this package, also when it is not installed."""
    root = str(Path(__file__).resolve().parents[2])
    before = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, before]) if before else root, "PYTHONUTF8": "1"}
