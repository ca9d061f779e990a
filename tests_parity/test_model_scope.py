"""Fetching from ModelScope with its own package, from a local server that answers as ModelScope does.

In this suite because the package is optional; the default suite tests what is said where it is missing.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from conch_ollama.errors import HubError, NotFoundError, QuantizedBaseError
from conch_ollama.sources.folder import HuggingFaceFolder
from conch_ollama.sources.resolve import resolve_base
from tests.sources.model_folders import f32, write_folder

WEIGHTS = np.random.default_rng(0).standard_normal((20, 10)).astype(np.float32)


class ModelScopeServer:
    """`repositories`: their files by their names; `fetched` lists the files that were asked for."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.fetched: list[str] = []
        outer = self

        class Handler(_Handler):
            server_repositories = outer.repositories
            server_fetched = outer.fetched

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_repositories: dict[str, dict[str, bytes]]
    server_fetched: list[str]

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        found = re.fullmatch(r"/api/v1/models/([^/]+/[^/]+)(/.*)?", url.path)
        files = self.server_repositories.get(found[1]) if found else None
        if found is None or files is None:
            return self._json(404, {"Code": 10010205001, "Success": False, "Message": "record not found"})
        if found[2] == "/repo":
            return self._file(query["FilePath"], files[query["FilePath"]])
        listed = [self._entry(name, content) for name, content in files.items()]
        return self._json(200, {"Code": 200, "Success": True, "Data": {"Files": listed}})

    def _entry(self, name: str, content: bytes) -> dict[str, Any]:
        sha256 = hashlib.sha256(content).hexdigest()
        return {"Name": name, "Path": name, "Type": "blob", "Size": len(content), "Revision": "abc", "Sha256": sha256}

    def _file(self, name: str, content: bytes) -> None:
        self.server_fetched.append(name)
        ranged = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        start, stop = (int(ranged[1]), int(ranged[2] or len(content) - 1) + 1) if ranged else (0, len(content))
        self.send_response(206 if ranged else 200)
        if ranged:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self._body(content[start:stop])

    def _json(self, status: int, value: Any) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self._body(json.dumps(value).encode())

    def _body(self, content: bytes) -> None:
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelScopeServer]:
    """One for all tests: the package looks at its environment only once."""
    scope = ModelScopeServer()
    thread = threading.Thread(target=scope.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELSCOPE_ENDPOINT", scope.url)
        patch.setenv("MODELSCOPE_DOMAIN", scope.url.removeprefix("http://"))
        patch.setenv("MODELSCOPE_CACHE", str(tmp_path_factory.mktemp("modelscope")))
        patch.setenv("OLLAMA_MODELS", str(tmp_path_factory.mktemp("ollama")))
        yield scope
    scope.server.shutdown()
    scope.server.server_close()
    thread.join()


def put(server: ModelScopeServer, repo: str, folder: Path, *shards: Any, config: dict[str, Any] | None = None) -> None:
    write_folder(folder, shards, config)
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    (folder / "photo.png").write_bytes(b"not needed")
    server.repositories[repo] = {path.name: path.read_bytes() for path in folder.iterdir()}
    server.fetched.clear()


@pytest.mark.parametrize("sharded", [False, True])
def test_a_model_is_fetched_with_what_it_needs_and_nothing_else(
    server: ModelScopeServer, tmp_path: Path, sharded: bool
) -> None:
    repo = f"o/shell-{'two' if sharded else 'one'}"
    shards = [{"a": f32(WEIGHTS)}, {"b": f32(WEIGHTS)}] if sharded else [{"a": f32(WEIGHTS)}]
    put(server, repo, tmp_path, *shards)
    server.repositories[repo]["pytorch_model.bin"] = b"not needed"
    base = resolve_base(repo, hub="modelscope")
    assert (base.name, base.repo, base.origin) == (repo.removeprefix("o/"), repo, "modelscope")
    source = HuggingFaceFolder(base.path)
    assert np.array_equal(source.read("a", 0, 20), WEIGHTS)
    source.close()
    assert sorted(server.fetched) == sorted(set(server.repositories[repo]) - {"photo.png", "pytorch_model.bin"})
    server.fetched.clear()
    assert resolve_base(f"modelscope:{repo}").path == base.path
    assert server.fetched == []


@pytest.mark.bad_input("ModelScope: repository that is not there")
def test_a_repository_that_is_not_there_is_named(server: ModelScopeServer) -> None:
    with pytest.raises(HubError, match="o/nothing could not be fetched from ModelScope"):
        resolve_base("o/nothing", hub="modelscope")


@pytest.mark.bad_input("ModelScope: quantised model, or none")
def test_what_is_no_base_is_refused_before_its_weights_come(server: ModelScopeServer, tmp_path: Path) -> None:
    config = {"quantization_config": {"quant_method": "gptq"}}
    put(server, "o/four-bits", tmp_path, {"a": f32(WEIGHTS)}, config=config)
    with pytest.raises(QuantizedBaseError, match="o/four-bits is quantised by gptq"):
        resolve_base("modelscope:o/four-bits")
    assert "model.safetensors" not in server.fetched


@pytest.mark.bad_input("ModelScope: repository without weights")
def test_a_repository_without_weights_is_named(server: ModelScopeServer, tmp_path: Path) -> None:
    put(server, "o/empty", tmp_path, {"a": f32(WEIGHTS)})
    del server.repositories["o/empty"]["model.safetensors"]
    with pytest.raises(NotFoundError, match="o/empty on ModelScope has no weights"):
        resolve_base("modelscope:o/empty")
