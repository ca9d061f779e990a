"""A shim that really listens: in a thread of its own, on a free port, ended with the `with`."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import threading
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from conch_ollama.runtimes.protocol import Runtime
from conch_ollama.server.app import make_app
from conch_ollama.server.listen import listen, open_socket
from conch_ollama.server.loop import run
from conch_ollama.server.settings import Settings
from conch_ollama.server.shim import Shim
from conch_ollama.workflows.serve import render_template

Runtimes = Mapping[str, Runtime] | Callable[[], Mapping[str, Runtime]]


class RunningShim:
    """`.url`, `.port`, `.shim`; `.client` an httpx client of it; `.call` runs a coroutine in its loop."""

    def __init__(self, runtimes: Runtimes, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self._runtimes = runtimes
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.client = httpx.Client(timeout=60, trust_env=False, verify=False)

    def __enter__(self) -> Self:
        self._socket: socket.socket = open_socket(self.settings.host, 0)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{self.settings.host}:{self.port}"
        self._thread.start()
        self._ready.wait(30)
        if self._error is not None:
            raise self._error
        self.client.base_url = httpx.URL(self.url)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        self.end()
        self._thread.join(30)
        self._socket.close()
        assert not self._thread.is_alive(), "the shim did not end"

    def end(self) -> None:
        """As a signal would."""
        with contextlib.suppress(RuntimeError):  # it has ended already
            self.loop.call_soon_threadsafe(self._end)

    def _run(self) -> None:
        try:
            run(self._serve())
        except BaseException as err:
            self._error = err
            self._ready.set()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        runtimes = self._runtimes() if callable(self._runtimes) else self._runtimes
        app = make_app(self.settings, runtimes, render=render_template)
        self.shim: Shim = app.state.shim

        def ready(end: Callable[[], None]) -> None:
            self._end = end
            self._ready.set()

        await listen(app, self.settings, self._socket, ready)

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def raw(self, data: bytes, *, wait_s: float = 5.0) -> bytes:
        """What a socket gets back for these bytes, until the shim closes or is silent for `wait_s`."""
        got = b""
        with socket.create_connection((self.settings.host, self.port), timeout=wait_s) as connection:
            with contextlib.suppress(ConnectionError):  # it may close before it has read all, as with a huge head
                connection.sendall(data)
            try:
                while piece := connection.recv(65536):
                    got += piece
            except (TimeoutError, ConnectionResetError):
                pass
        return got


def with_limits(settings: Settings | None = None, **limits: Any) -> Settings:
    """Settings with other limits."""
    settings = settings or Settings()
    return dataclasses.replace(settings, limits=dataclasses.replace(settings.limits, **limits))


def with_security(settings: Settings | None = None, **security: Any) -> Settings:
    """Settings with other rules of who may come in."""
    settings = settings or Settings()
    return dataclasses.replace(settings, security=dataclasses.replace(settings.security, **security))


def figures(running: RunningShim) -> dict[tuple[str, ...], float]:
    """Of /metrics: name and label values -> figure."""
    text = running.client.get("/metrics").text
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
