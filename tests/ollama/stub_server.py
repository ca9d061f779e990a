"""A tiny HTTP server for what a real Ollama can't be made to do: fail in mid-upload, hang up, be old, be no Ollama."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[["StubHandler"], None]


@dataclass
class Stub:
    """`routes`: "METHOD /path" or "METHOD /path*" -> behaviour. `seen`: the requests, in order."""

    host: str = ""
    routes: dict[str, Behaviour] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)


class StubHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stub: Stub

    def answer(self, status: int, body: object = None, *, content_type: str = "application/json") -> None:
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def hang_up(self, after: int = 0) -> None:
        """Reads `after` bytes of the body and closes the connection without an answer."""
        self.rfile.read(after)
        self.close_connection = True
        self.connection.close()

    def handle_any(self) -> None:
        request = f"{self.command} {self.path}"
        self.stub.seen.append(request)
        for route, behaviour in self.stub.routes.items():
            if request == route or (route.endswith("*") and request.startswith(route[:-1])):
                behaviour(self)
                return
        self.body()
        self.answer(404, {"error": "not found"})

    do_GET = do_POST = do_HEAD = do_DELETE = handle_any

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def stub_server(routes: dict[str, Behaviour] | None = None) -> Iterator[Stub]:
    """A server on a free port that answers /api/version as Ollama 0.9.3 and otherwise what `routes` say."""
    stub = Stub(routes={"GET /api/version": lambda h: h.answer(200, {"version": "0.9.3"}), **(routes or {})})
    handler = type("Handler", (StubHandler,), {"stub": stub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]  # hanging up is meant
        stub.host = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield stub
        finally:
            server.shutdown()
            thread.join()
