from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from conch_ollama.errors import (
    BadFileError,
    NotFoundError,
    OllamaRefusedError,
    OllamaUnreachableError,
    TruncatedFileError,
)
from conch_ollama.ollama.blobs import CHUNK_BYTES, file_sha256, has_blob, upload
from conch_ollama.ollama.client import OllamaClient
from tests.ollama.store import blobs
from tests.ollama.stub_server import Behaviour, StubHandler, stub_server
from tests.parts.ollama import OllamaServer

SIZE = 3 * CHUNK_BYTES + 17
MISSING: dict[str, Behaviour] = {"HEAD /api/blobs/*": lambda h: h.answer(404)}


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    path = tmp_path / "海 螺.gguf"
    path.write_bytes(bytes(range(256)) * (SIZE // 256) + b"x" * (SIZE % 256))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_is_uploaded_once(ollama_server: OllamaServer, blob: Path) -> None:
    seen: list[tuple[int, int]] = []
    with OllamaClient(ollama_server.host) as client:
        assert not has_blob(client, sha256(blob))
        assert upload(client, blob, sha256(blob), lambda done, total: seen.append((done, total)))
        assert has_blob(client, sha256(blob))
        stored = ollama_server.models / "blobs" / f"sha256-{sha256(blob)}"
        assert stored.read_bytes() == blob.read_bytes()
        assert seen == [(n, SIZE) for n in (CHUNK_BYTES, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES, SIZE)]
        assert not upload(client, blob, sha256(blob), lambda done, total: seen.append((done, total)))
        assert len(seen) == 4


def test_hash(blob: Path) -> None:
    seen: list[tuple[int, int]] = []
    assert file_sha256(blob, lambda done, total: seen.append((done, total))) == sha256(blob)
    assert seen[-1] == (SIZE, SIZE)


@pytest.mark.bad_input("upload: the file is not the one whose hash was recorded")
def test_another_file_than_was_meant(ollama_server: OllamaServer, blob: Path) -> None:
    blob.write_bytes(b"another" + blob.read_bytes())
    meant = "0" * 64
    before = blobs(ollama_server)
    with OllamaClient(ollama_server.host) as client, pytest.raises(BadFileError) as caught:
        upload(client, blob, meant)
    assert caught.value.code == "bad-file"
    assert str(blob) in caught.value.message
    assert meant in caught.value.message
    assert blobs(ollama_server) == before


@pytest.mark.bad_input("upload: the file becomes shorter")
def test_a_file_that_shrinks(ollama_server: OllamaServer, blob: Path) -> None:
    blob.write_bytes(b"shrinks" + blob.read_bytes())
    meant = sha256(blob)

    def shorten(done: int, total: int) -> None:
        with blob.open("r+b") as file:
            file.truncate(CHUNK_BYTES)

    with OllamaClient(ollama_server.host) as client:
        with pytest.raises(TruncatedFileError) as caught:
            upload(client, blob, meant, shorten)
        assert caught.value.code == "truncated-file"
        assert str(blob) in caught.value.message
        assert not has_blob(client, meant)


@pytest.mark.bad_input("upload: no such file")
def test_a_file_that_is_not_there(ollama_server: OllamaServer, tmp_path: Path) -> None:
    with OllamaClient(ollama_server.host) as client, pytest.raises(NotFoundError) as caught:
        upload(client, tmp_path / "gone.gguf", "1" * 64)
    assert caught.value.code == "not-found"
    assert "gone.gguf" in caught.value.message


def test_a_cut_upload_is_tried_once_more(blob: Path) -> None:
    received: list[bytes] = []

    def cut_once(handler: StubHandler) -> None:
        if not received:
            received.append(b"")
            handler.hang_up(after=1000)
        else:
            received.append(handler.body())
            handler.answer(201)

    with stub_server({**MISSING, "POST /api/blobs/*": cut_once}) as stub:
        assert upload(OllamaClient(stub.host), blob, sha256(blob))
    assert received[1] == blob.read_bytes()


@pytest.mark.bad_input("upload: cut twice")
def test_an_upload_that_is_always_cut(blob: Path) -> None:
    with stub_server({**MISSING, "POST /api/blobs/*": lambda h: h.hang_up(after=1000)}) as stub:
        with pytest.raises(OllamaUnreachableError) as caught:
            upload(OllamaClient(stub.host), blob, sha256(blob))
        assert [request[:4] for request in stub.seen] == ["HEAD", "POST", "POST"]
    assert caught.value.code == "ollama-unreachable"
    assert str(blob) in caught.value.message
    assert f"of {SIZE} bytes" in caught.value.message


@pytest.mark.bad_input("upload: the server's disk is full")
def test_a_full_disk_on_the_server(blob: Path) -> None:
    def full(handler: StubHandler) -> None:  # as Ollama does: reads what it can, answers, leaves the rest unread
        handler.rfile.read(1000)
        handler.answer(500, {"error": "write /models/blobs/sha256-12: no space left on device"})
        handler.close_connection = True

    with stub_server({**MISSING, "POST /api/blobs/*": full}) as stub, pytest.raises(OllamaRefusedError) as caught:
        upload(OllamaClient(stub.host), blob, sha256(blob))
    assert caught.value.code == "ollama-refused"
    assert "no space left on device (HTTP 500)" in caught.value.message
    assert blob.name in caught.value.message
    assert "OLLAMA_MODELS" in str(caught.value.hint)


@pytest.mark.bad_input("upload: too large for a gateway")
def test_a_gateway_that_refuses_the_size(blob: Path) -> None:
    def too_large(handler: StubHandler) -> None:
        handler.body()
        handler.answer(413, b"<html>413 Request Entity\n Too Large</html>", content_type="text/html")

    with stub_server({**MISSING, "POST /api/blobs/*": too_large}) as stub, pytest.raises(OllamaRefusedError) as caught:
        upload(OllamaClient(stub.host), blob, sha256(blob))
    assert caught.value.code == "ollama-refused"
    assert "413 Request Entity Too Large</html> (HTTP 413)" in caught.value.message


@pytest.mark.bad_input("upload: the server goes away before it")
def test_a_server_that_is_gone(blob: Path) -> None:
    with stub_server(MISSING) as stub:
        client = OllamaClient(stub.host)
    with pytest.raises(OllamaUnreachableError) as caught:
        upload(client, blob, sha256(blob))
    assert caught.value.code == "ollama-unreachable"
    assert stub.host in caught.value.message
