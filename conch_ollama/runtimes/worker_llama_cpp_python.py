"""The child process around llama-cpp-python: `python -m conch_ollama.runtimes.worker_llama_cpp_python`.

For people who compiled it for their GPU. The same pipes, address and HTTP as worker.py's child, as far as this binding
goes: chats, completions and tokens, with the file's own chat template; no tool parsing, no thoughts apart, no
embeddings. One answer at a time: the others wait in the order in which they came, and no stream is cut.
"""

from __future__ import annotations

import hmac
import inspect
import json
import os
import select
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from conch_ollama.runtimes.slice import lengthen_slice

_MOST_BYTES = 64 << 20


class Turns:
    """A lock that is taken in the order of asking."""

    def __init__(self) -> None:
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        mine = threading.Event()
        with self._lock:
            self._waiting.append(mine)
            if len(self._waiting) == 1:
                mine.set()
        mine.wait()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._waiting.popleft()
            if self._waiting:
                self._waiting[0].set()


class Binding:
    """A loaded model, asked in llama.cpp's dialect."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        import llama_cpp

        adapters = settings.get("adapters") or []
        self.name = settings["name"]
        self.turns = Turns()
        self._model = llama_cpp.Llama(
            settings["path"],
            n_ctx=settings["num_ctx"],
            n_gpu_layers=settings["gpu_layers"],
            n_threads=settings["threads"],
            n_threads_batch=settings["threads"],
            lora_path=adapters[0][0] if adapters else None,
            lora_scale=adapters[0][1] if adapters else 1.0,
            verbose=True,  # to the log: it is what a failure is explained with
        )

    def chat(self, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Chunks of /v1/chat/completions, the usage last."""
        wanted = dict(body)
        form = wanted.get("response_format")
        if isinstance(form, dict) and form.get("type") == "json_schema":
            schema = (form.get("json_schema") or {}).get("schema")
            wanted["response_format"] = {"type": "json_object", "schema": schema}
        return self._counted(self._model.create_chat_completion, wanted)

    def complete(self, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Chunks of /v1/completions, the usage last."""
        return self._counted(self._model.create_completion, body)

    def tokenize(self, body: Mapping[str, Any]) -> dict[str, Any]:
        text = str(body["content"]).encode("utf-8", "replace")
        return {"tokens": self._model.tokenize(text, add_bos=bool(body.get("add_special")), special=True)}

    def _counted(self, ask: Callable[..., Any], body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        known = inspect.signature(ask).parameters
        options = {key: value for key, value in body.items() if key in known and value is not None}
        options |= {"stream": True, "model": self.name}
        if options.get("max_tokens") in {-1, None}:
            options["max_tokens"] = None  # up to the end of the context; completions have 16 as default
        said, last = 0, {}
        for chunk in ask(**options):
            last = chunk
            for choice in chunk["choices"]:
                said += bool(choice.get("text") or choice.get("delta", {}).get("content"))
                choice.setdefault("finish_reason", None)
            yield chunk
        prompt = max(0, self._model.n_tokens - said)
        usage = {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said}
        yield {**last, "choices": [], "usage": usage}


class Handler(BaseHTTPRequestHandler):
    """Answers for the `binding` and to the `key` of its server."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: requests are the parent's to log."""

    def do_GET(self) -> None:
        if self.path == "/health":
            self._answer(200, {"status": "ok"})
        else:
            self._error(404, "no such door")

    def do_POST(self) -> None:
        given = self.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.server.key}".encode()):
            self._error(401, "wrong key")
            return
        size = int(self.headers.get("Content-Length") or 0)
        if size > _MOST_BYTES:
            self._error(413, "too long")
            return
        text = self.rfile.read(size)
        with self.server.binding.turns:
            if not self._gone():
                self._ask(text)

    def _ask(self, text: bytes) -> None:
        binding = self.server.binding
        streams = {"/v1/chat/completions": binding.chat, "/v1/completions": binding.complete}
        try:
            body = json.loads(text)
            if self.path == "/tokenize":
                self._answer(200, binding.tokenize(body))
            elif self.path in streams:
                self._stream(streams[self.path](body))
            else:
                self._error(501, f"llama-cpp-python has no {self.path} here")
        except (ValueError, TypeError, KeyError, AttributeError) as err:
            self._error(400, f"{type(err).__name__}: {err}")

    def _stream(self, chunks: Iterator[dict[str, Any]]) -> None:
        """The first chunk before the headers, so that what is wrong with the request is still said as its status."""
        first = next(chunks)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            self._event(json.dumps(first))
            for chunk in chunks:
                self._event(json.dumps(chunk))
            self._event("[DONE]")
            self.wfile.write(b"0\r\n\r\n")
        except OSError:  # it hung up: generating ends here
            self.close_connection = True
        except Exception as err:
            self._event(json.dumps({"error": {"message": str(err), "code": 500, "type": "server_error"}}))
            self.close_connection = True

    def _event(self, data: str) -> None:
        line = f"data: {data}\n\n".encode()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
        self.wfile.flush()
        if self._gone():
            raise BrokenPipeError

    def _gone(self) -> bool:
        ready, _, _ = select.select([self.connection], [], [], 0)
        try:
            return bool(ready) and self.connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True

    def _answer(self, status: int, body: Mapping[str, Any]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _error(self, status: int, text: str) -> None:
        kind = "not_supported_error" if status == 501 else "invalid_request_error"
        self._answer(status, {"error": {"message": text, "code": status, "type": kind}})


class Server(ThreadingHTTPServer):
    """On loopback, on a free port; a thread for each connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, binding: Binding, key: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.binding = binding
        self.key = key


def main() -> None:
    """Serve until standard input closes."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    settings = json.loads(sys.stdin.readline())
    lengthen_slice()
    try:
        server = Server(Binding(settings), settings["key"])
    except Exception as err:  # the binding raises what it likes; the parent says which model
        answer.write(json.dumps({"error": f"{type(err).__name__}: {err}"}) + "\n")
        answer.flush()
        raise SystemExit(1) from err
    threading.Thread(target=server.serve_forever, daemon=True).start()
    answer.write(json.dumps({"address": f"http://127.0.0.1:{server.server_port}"}) + "\n")
    answer.flush()
    while sys.stdin.read(4096):
        pass
    os._exit(0)  # an answer may be running in C


if __name__ == "__main__":
    main()
