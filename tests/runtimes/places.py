"""The three kinds of runtime, each real, with the same models: `plain` says TEXT, `tools` thinks and calls a tool.

llama.cpp: the files themselves. Ollama: made from them, with the curated TEMPLATE of Qwen 3. A URL: llama.cpp's own
server, started for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from conch_ollama.runtimes.llama_cpp import LlamaCppWorker
from conch_ollama.runtimes.llama_server import LlamaCppModel, LlamaCppRuntime
from conch_ollama.runtimes.ollama import OllamaRuntime
from conch_ollama.runtimes.openai_url import OpenAIRuntime, Upstream
from conch_ollama.runtimes.protocol import Chunk, Runtime
from tests.parts.ollama import OllamaServer
from tests.parts.scripted_gguf import scripted_gguf

ROOT = Path(__file__).resolve().parents[2]
TEXT = "Ask the magic conch, it knows. 问神奇海螺吧，它什么都知道。🐚 " + " ".join(str(n * n) for n in range(60))
THOUGHT = "The user asks about the weather."
CALL = '{"name": "get_weather", "arguments": {"city": "比奇堡", "days": 3}}'
TOOLS_TEXT = f"<think>\n{THOUGHT}\n</think>\n\n<tool_call>\n{CALL}\n</tool_call>"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}
HI = [{"role": "user", "content": "Hi"}]


@dataclass(frozen=True)
class Place:
    """A runtime with `plain` and `tools`; `run` waits for what it does, in the runtime's one event loop."""

    kind: str
    runtime: Runtime
    runner: asyncio.Runner

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        async def bounded() -> Any:
            async with asyncio.timeout(60):
                return await work

        return self.runner.run(bounded())

    def chat(self, model: str = "plain", **body: Any) -> list[Chunk]:
        return self.run(collect(self.runtime.chat(model, {"messages": HI, "temperature": 0, **self.fixed(), **body})))

    def fixed(self) -> dict[str, Any]:
        """On a shared machine Ollama's default of all cores is ten times slower."""
        return {"options": {"num_thread": 1}} if self.kind == "ollama" else {}


async def collect(stream: AsyncGenerator[Chunk, None]) -> list[Chunk]:
    return [chunk async for chunk in stream]


def text_of(chunks: list[Chunk], field: str = "content") -> str:
    deltas = [choice["delta"] for chunk in chunks for choice in chunk.data["choices"]]
    return "".join(delta.get(field) or "" for delta in deltas)


def write_models(folder: Path) -> dict[str, Path]:
    templates = ROOT / "tests/chat_template/templates"
    chatml, qwen3 = ((templates / f"{name}.jinja").read_text(encoding="utf-8") for name in ("chatml", "qwen3"))
    return {
        "plain": scripted_gguf(folder / "plain.gguf", TEXT, chat_template=chatml, context_length=2048),
        "tools": scripted_gguf(
            folder / "tools.gguf", TOOLS_TEXT, chat_template=qwen3, architecture="qwen3", context_length=2048
        ),
    }


def create_in_ollama(server: OllamaServer, files: Mapping[str, Path]) -> None:
    families = {"plain": "chatml", "tools": "qwen3"}
    with httpx.Client(base_url=server.host, timeout=120, trust_env=False) as http:
        for name, path in files.items():
            data = path.read_bytes()
            digest = "sha256:" + hashlib.sha256(data).hexdigest()
            http.post(f"/api/blobs/{digest}", content=data).raise_for_status()
            template = (ROOT / "modelfiles" / families[name] / "template.gotmpl").read_text(encoding="utf-8")
            body = {"model": f"rt-{name}", "files": {"m.gguf": digest}, "template": template, "stream": False}
            http.post("/api/create", json=body).raise_for_status()


@contextlib.contextmanager
def llama_cpp(files: Mapping[str, Path]) -> Iterator[Place]:
    models = [LlamaCppModel(name, path, num_ctx=2048, slots=2, threads=1) for name, path in files.items()]
    with _place("llama.cpp", lambda: LlamaCppRuntime(models)) as place:
        yield place


@contextlib.contextmanager
def ollama(files: Mapping[str, Path], server: OllamaServer) -> Iterator[Place]:
    create_in_ollama(server, files)
    names = {name: f"rt-{name}" for name in files}
    with _place("ollama", lambda: OllamaRuntime(server.host, models=names)) as place:
        yield place


@contextlib.contextmanager
def openai_url(files: Mapping[str, Path]) -> Iterator[Place]:
    with contextlib.ExitStack() as stack:
        upstreams = []
        for name, path in files.items():
            worker = stack.enter_context(LlamaCppWorker(path, num_ctx=2048, threads=1))
            upstreams.append(Upstream(worker.address, key=worker.key, models={name: path.stem}))
        yield stack.enter_context(_place("openai", lambda: OpenAIRuntime(upstreams)))


@contextlib.contextmanager
def _place(kind: str, make: Any) -> Iterator[Place]:
    with asyncio.Runner() as runner:
        place = Place(kind, make(), runner)
        try:
            yield place
        finally:
            runner.run(place.runtime.close())
