"""Uploads files to an Ollama server: asks first whether it is there, then streams it, hashing what is sent.

Ollama can't resume an upload, so a cut one is tried once more from the start.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from conch_ollama.errors import BadFileError, NotFoundError, OllamaUnreachableError, TruncatedFileError
from conch_ollama.ollama.client import OllamaClient
from conch_ollama.ollama.failures import refused_by, translated

CHUNK_BYTES = 1 << 20
# bytes done, of how many
Progress = Callable[[int, int], None]


def file_sha256(path: Path, progress: Progress | None = None) -> str:
    """sha256 of the file, hex."""
    digest, done, size = hashlib.sha256(), 0, _size(path)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            if progress:
                progress(done, size)
    return digest.hexdigest()


def has_blob(server: OllamaClient, sha256: str) -> bool:
    """Whether the server holds the file with that sha256 (hex)."""
    with translated(server.host, "blob"):
        response = server.http.head(f"/api/blobs/sha256:{sha256}")
    if response.status_code == 404:
        return False
    if not response.is_success:
        raise refused_by(server.host, "blob", response)
    return True


def upload(server: OllamaClient, path: Path, sha256: str, progress: Progress | None = None) -> bool:
    """Brings the file to the server; False where it had it already.

    Raises BadFileError where the file's sha256 is another (the last bytes are not sent then, so the server keeps
    nothing), OllamaRefusedError with the server's words, OllamaUnreachableError where the upload was cut twice.
    """
    import httpx

    if has_blob(server, sha256):
        return False
    size = _size(path)
    sent = 0

    def watched(done: int, total: int) -> None:
        nonlocal sent
        sent = done
        if progress:
            progress(done, total)

    for _ in range(2):
        try:
            response = server.http.post(
                f"/api/blobs/sha256:{sha256}",
                content=_chunks(path, size, sha256, watched),
                headers={"Content-Length": str(size), "Content-Type": "application/octet-stream"},
            )
        except (httpx.ConnectError, httpx.ConnectTimeout):
            with translated(server.host, f"upload of {path.name}"):
                raise
        except httpx.TransportError as err:
            cut = err
            continue
        if not response.is_success:
            raise refused_by(server.host, f"upload of {path.name}", response)
        return True
    raise OllamaUnreachableError(
        f"{path}: the upload to Ollama at {server.host} was cut twice, last after {sent} of {size} bytes",
        hint="run it again; the server's log, and proxies on the way with a limit for sizes, are where to look",
    ) from cut


def _chunks(path: Path, size: int, sha256: str, progress: Progress) -> Iterator[bytes]:
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while done < size:
            chunk = file.read(min(CHUNK_BYTES, size - done))
            if not chunk:
                raise TruncatedFileError(f"{path}: became shorter while it was uploaded")
            digest.update(chunk)
            done += len(chunk)
            if done == size and digest.hexdigest() != sha256:
                raise BadFileError(
                    f"{path}: its sha256 is {digest.hexdigest()}, not {sha256}",
                    hint="it is not the file that was exported; export again with --force",
                )
            yield chunk
            progress(done, size)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as err:
        raise NotFoundError(f"{path}: no such file") from err
