"""What uvicorn is bettered in: an answer's head comes with what it begins with."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

from tests.server.made_runtime import MadeRuntime
from tests.server.running import RunningShim


def first_packet(url: str, path: str, body: dict[str, object] | None) -> bytes:
    """What the first reading of the answer gives."""
    place = urlsplit(url)
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{'POST' if data else 'GET'} {path} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {len(data)}\r\n\r\n"
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=20) as client:
        client.sendall(head.encode() + data)
        return client.recv(65536)


def test_a_head_comes_with_what_it_begins_with() -> None:
    chat = {"model": "made", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    with RunningShim({"made": MadeRuntime()}) as running:
        for path, body, begins in (("/v1/chat/completions", chat, b"data: {"), ("/v1/models", None, b'{"object"')):
            head, _, rest = first_packet(running.url, path, body).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert begins in rest
