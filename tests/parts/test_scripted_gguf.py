"""The scripted GGUF says its text through both runtimes, whatever it is asked."""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx
import pytest

from conch_ollama.runtimes.llama_cpp import LlamaCppWorker
from tests.parts.ollama import OllamaServer
from tests.parts.scripted_gguf import pieces, scripted_gguf

ANSWER = '<think>\nhm, hm, hm\n</think>\n\n{"name": "weather", "arguments": {"city": "海螺海螺"}} 🐚🐚 aaaaaaaaaaaa\n\n'


@pytest.mark.parametrize(
    "answer", ["", "a", "ab", "he", "aaaaaa", "abab", "heheh", "海海海", "<think>", "x<think>x", ANSWER]
)
def test_no_two_pieces_are_alike(answer: str) -> None:
    found = pieces(answer)
    assert "".join(found) == answer
    assert len(set(found)) == len(found)
    assert "<think>" not in found
    assert len(answer) < 2 or all(len(piece.encode()) > 1 for piece in found)


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_llama_cpp_says_it(architecture: str, tmp_path: Path) -> None:
    gguf = scripted_gguf(tmp_path / "scripted.gguf", ANSWER, architecture=architecture)
    with LlamaCppWorker(gguf, num_ctx=512, threads=1) as worker:
        for prompt in ("Hi", "<|im_start|>assistant\n", ANSWER[:20]):
            assert worker.complete(prompt, max_tokens=200)["content"] == ANSWER


@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
def test_ollama_says_it(architecture: str, ollama_server: OllamaServer, tmp_path: Path) -> None:
    data = scripted_gguf(tmp_path / "scripted.gguf", ANSWER, architecture=architecture).read_bytes()
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    name = f"scripted-{architecture}"
    with httpx.Client(base_url=ollama_server.host, timeout=120, trust_env=False) as http:
        http.post(f"/api/blobs/{digest}", content=data).raise_for_status()
        body = {"model": name, "files": {"m.gguf": digest}, "template": "{{ .Prompt }}", "stream": False}
        http.post("/api/create", json=body).raise_for_status()
        asked = {"model": name, "messages": [{"role": "user", "content": "Hi"}], "stream": False}
        answer = http.post("/api/chat", json={**asked, "options": {"num_thread": 1, "num_ctx": 512}}).json()
    assert answer["message"]["content"] == ANSWER
    assert answer["done_reason"] == "stop"
