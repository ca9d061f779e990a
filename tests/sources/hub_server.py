"""A local HTTP server that answers as the Hugging Face hub does: model info, tree, resolve, redirects, ranges, refusal.

Large files are redirected to another host name, as the hub does to its file servers. It can break off, stall or lie.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    """Files of one commit; `large` ones are stored as LFS files are."""

    files: dict[str, bytes]
    commit: str = "c0ffee" + "0" * 34
    gated: bool = False
    large: tuple[str, ...] = (".safetensors", ".bin")

    def is_large(self, name: str) -> bool:
        return name.endswith(self.large)

    def etag(self, name: str) -> str:
        content = self.files[name]
        if self.is_large(name):
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class HubServer:
    """`with HubServer({"org/name": Repository(...)}) as hub:`; `hub.url` is the endpoint.

    Faults: `break_after`: a large file's connection ends after so many bytes, for the first `breaks` answers, and
    `down_after` that they are refused; `stall`: it stays open instead; `status`: every answer is that; `corrupt`: large
    files have one other byte; `announce_more`: they are shorter than announced; `no_ranges`: ranges are ignored.
    """

    repositories: dict[str, Repository]
    break_after: int | None = None
    breaks: int = 0
    down_after: bool = False
    stall: bool = False
    status: int | None = None
    corrupt: bool = False
    no_ranges: bool = False
    announce_more: int = 0
    requests: list[Request] = field(default_factory=list)
    stalled: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.files_url = f"http://localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self.stalled.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fetched(self, name: str) -> list[Request]:
        """The requests that asked for a file's bytes."""
        return [r for r in self.requests if r.method == "GET" and r.path.endswith(f"/{name}")]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_hub: HubServer

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: `HubServer.requests` keeps them."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub = self.server_hub
        path = unquote(urlsplit(self.path).path)
        hub.requests.append(Request(self.command, path, {k.lower(): v for k, v in self.headers.items()}))
        if hub.status is not None:
            return self._answer(hub.status, b"{}", {"X-Error-Message": "the hub is down"})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path):
            return self._api(*found.groups())
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._resolve(*found.groups())
        if found := re.fullmatch(r"/files/([^/]+/[^/]+)/(.+)", path):
            return self._file(*found.groups())
        return self._answer(404, b"", {})

    def _repository(self, name: str) -> Repository | None:
        repository = self.server_hub.repositories.get(name)
        if repository is None:  # as the hub answers to those who are not logged in
            self._answer(401, b'{"error":"Repository not found"}', {"X-Error-Code": "RepoNotFound"})
        return repository

    def _api(self, name: str, kind: str | None, revision: str | None) -> None:
        repository = self._repository(name)
        if repository is None:
            return None
        if revision not in (None, "main", "v1", repository.commit):
            return self._answer(404, b'{"error":"Invalid rev id"}', {"X-Error-Code": "RevisionNotFound"})
        if kind == "tree":
            return self._json([self._tree_entry(repository, file) for file in repository.files])
        siblings = [{"rfilename": file} for file in repository.files]
        return self._json({"id": name, "modelId": name, "sha": repository.commit, "siblings": siblings, "tags": []})

    def _tree_entry(self, repository: Repository, file: str) -> dict[str, Any]:
        size, etag = len(repository.files[file]), repository.etag(file)
        entry: dict[str, Any] = {"type": "file", "path": file, "size": size, "oid": etag[:40]}
        if repository.is_large(file):
            entry["lfs"] = {"oid": etag, "size": size, "pointerSize": 130}
        return entry

    def _resolve(self, name: str, revision: str, file: str) -> None:
        repository = self._repository(name)
        if repository is None:
            return None
        if repository.gated:
            return self._answer(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
        common = {"X-Repo-Commit": repository.commit}
        if file not in repository.files:
            return self._answer(404, b"", {**common, "X-Error-Code": "EntryNotFound"})
        etag = f'"{repository.etag(file)}"'
        if not repository.is_large(file):
            return self._answer(200, repository.files[file], {**common, "ETag": etag})
        size = str(len(repository.files[file]) + self.server_hub.announce_more)
        location = f"{self.server_hub.files_url}/files/{name}/{file}"
        return self._answer(
            302, b"", {**common, "X-Linked-Etag": etag, "X-Linked-Size": size, "Location": location, "ETag": '"x"'}
        )

    def _file(self, name: str, file: str) -> None:
        hub = self.server_hub
        content = hub.repositories[name].files[file]
        if hub.corrupt:
            content = bytes([content[0] ^ 1]) + content[1:]
        ranged = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(ranged.group(1)) if ranged and not hub.no_ranges else 0
        if start >= len(content):
            return self._answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        headers = {"Accept-Ranges": "bytes"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        breaking = hub.break_after is not None and hub.breaks > 0
        if hub.down_after and not breaking:
            return self._answer(503, b"", {})
        hub.breaks -= breaking
        return self._answer(206 if start else 200, content[start:], headers, hub.break_after if breaking else None)

    def _json(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str], only: int | None = None) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body if only is None else body[:only])
        self.wfile.flush()
        if only is not None:
            if self.server_hub.stall:
                self.server_hub.stalled.wait(60)
            self.close_connection = True
