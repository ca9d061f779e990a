"""What uvicorn is bettered in: an answer's head comes with what it begins with; a request's head has an end."""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from conch_ollama.server.keys import KeyFile
from conch_ollama.server.protocol import HEAD_BYTES
from tests.server.made_runtime import MadeRuntime
from tests.server.running import RunningShim, with_security

#: Where Linux's struct tcp_info has tcpi_data_segs_in. Source: include/uapi/linux/tcp.h.
SEGMENTS_AT = 152


def first_packet(url: str, path: str, body: dict[str, object] | None) -> bytes:
    """What has come of the answer a moment after its beginning, which must be one packet."""
    place = urlsplit(url)
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{'POST' if data else 'GET'} {path} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {len(data)}\r\n\r\n"
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=20) as client:
        client.sendall(head.encode() + data)
        client.recv(1, socket.MSG_PEEK)
        time.sleep(0.05)
        if sys.platform == "linux":
            told = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, SEGMENTS_AT + 4)
            assert int.from_bytes(told[SEGMENTS_AT:], sys.byteorder) == 1
        return client.recv(65536)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_head_comes_with_what_it_begins_with(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if loop == "asyncio":
        monkeypatch.setitem(sys.modules, "uvloop", None)  # as on Windows, where there is none
    chat = {"model": "made", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    with RunningShim({"made": MadeRuntime(pause_s=1)}) as running:
        for path, body, begins in (("/v1/chat/completions", chat, b"data: {"), ("/v1/models", None, b'{"object"')):
            head, _, rest = first_packet(running.url, path, body).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert begins in rest


CHAT = json.dumps({"model": "made", "messages": [{"role": "user", "content": "hi"}]}).encode()
CHUNKED = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
CHUNK = b"%x\r\n%s\r\n" % (len(CHAT), CHAT)


@pytest.mark.bad_input("a request whose head, trailer or chunk has no end")
@pytest.mark.parametrize(
    "begun",
    [
        b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Long: ",
        b"GET /",
        CHUNKED + b"\r\n" + CHUNK + b"0\r\nX-Long: ",
        CHUNKED + b"\r\n5;x=",
    ],
)
def test_what_has_no_end_is_cut_off(begun: bytes) -> None:
    with RunningShim({"made": MadeRuntime()}) as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=20) as client:
            client.sendall(begun)
            sent = 0
            with pytest.raises(OSError, match=r"reset|pipe|abort"):
                while sent < 1000 * HEAD_BYTES:
                    sent += client.send(b"x" * 4096)
        assert running.client.get("/v1/models").status_code == 200


@pytest.mark.bad_input("a request's head that is too large")
def test_a_large_head_is_refused_and_one_of_a_browsers_size_is_not() -> None:
    with RunningShim({"made": MadeRuntime()}) as running:
        asked = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nCookie: %s\r\nConnection: close\r\n\r\n"
        assert running.raw(asked % (b"x" * 16_000)).startswith(b"HTTP/1.1 200")
        assert running.raw(asked % (b"x" * 40_000)).startswith(b"HTTP/1.1 400")
        with socket.create_connection(("127.0.0.1", running.port), timeout=20) as client:
            before, behind = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", asked % (b"x" * 40_000)
            client.sendall(before + behind[:30_000])  # so that the head's first part comes with something whole
            time.sleep(0.2)
            client.sendall(behind[30_000:])
            answers = b""
            while piece := client.recv(65536):
                answers += piece
        assert answers.startswith(b"HTTP/1.1 200")
        assert b"HTTP/1.1 400" in answers


@pytest.mark.bad_input("a trailer that would be a header")
def test_a_trailer_is_no_header(tmp_path: Path) -> None:
    key = KeyFile(tmp_path / "keys.toml").add("all")
    settings = with_security(keys=tmp_path / "keys.toml")
    with RunningShim({"made": MadeRuntime()}, settings) as running:
        said = b"Authorization: Bearer %s\r\n" % key.encode()
        close = b"Connection: close\r\n"
        assert running.raw(CHUNKED + close + said + b"\r\n" + CHUNK + b"0\r\n\r\n").startswith(b"HTTP/1.1 200")
        assert running.raw(CHUNKED + close + b"\r\n" + CHUNK + b"0\r\n" + said + b"\r\n").startswith(b"HTTP/1.1 401")


def test_an_upgrade_that_is_offered_is_not_taken() -> None:
    """As Java's HttpClient offers it with each request; bodies of both kinds and none, whole and byte by byte."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n\r\n"
    sized = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(CHAT)}\r\n".encode()
    asked = sized + offer + CHAT + CHUNKED + offer + CHUNK + b"0\r\n\r\n"
    asked += b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n" + offer
    asked += sized + b"Connection: close\r\n\r\n" + CHAT
    with RunningShim({"made": MadeRuntime()}) as running:
        assert running.raw(asked).count(b"HTTP/1.1 200") == 4
        with socket.create_connection(("127.0.0.1", running.port), timeout=20) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(len(asked)):
                client.sendall(asked[at : at + 1])
            got = b""
            while piece := client.recv(65536):
                got += piece
        assert got.count(b"HTTP/1.1 200") == 4


def test_a_thousand_upgrades_in_one_packet() -> None:
    offered = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    with RunningShim({"made": MadeRuntime()}) as running:
        got = running.raw(2000 * offered + b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert got.count(b"HTTP/1.1 200") == 2001
