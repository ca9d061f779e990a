"""No answer of the real Ollama goes on for ever: `limits.max_tokens` holds whatever `num_predict` says, a model that
repeats itself is cut with a reason, and who hangs up takes no place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from conch_ollama.errors import RuntimeFailedError
from conch_ollama.runtimes.ollama import OllamaRuntime
from conch_ollama.runtimes.ollama_chunks import OllamaAnswer
from tests.parts.ollama import OllamaServer
from tests.parts.scripted_gguf import scripted_gguf
from tests.runtimes.places import HI, TEXT
from tests.server.running import RunningShim, with_limits

CAP = 60
ENDLESS = "Ask again later."
MODELS = {"ends": (TEXT, True), "endless": (ENDLESS, False)}


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory, ollama_server: OllamaServer) -> Iterator[RunningShim]:
    folder = tmp_path_factory.mktemp("bounds")
    with httpx.Client(base_url=ollama_server.host, timeout=60, trust_env=False) as http:
        for name, (text, ends) in MODELS.items():
            data = scripted_gguf(folder / f"{name}.gguf", text, context_length=2048, ends=ends).read_bytes()
            digest = "sha256:" + hashlib.sha256(data).hexdigest()
            http.post(f"/api/blobs/{digest}", content=data).raise_for_status()
            body = {"model": f"bounds-{name}", "files": {"m.gguf": digest}, "template": "{{ .Prompt }}"}
            http.post("/api/create", json={**body, "stream": False}).raise_for_status()
    names = {name: f"bounds-{name}" for name in MODELS}
    runtimes = {"ollama": OllamaRuntime(ollama_server.host, models=names)}
    with RunningShim(lambda: runtimes, with_limits(max_tokens=CAP)) as running:
        yield running


def asked(shim: RunningShim, path: str, **body: Any) -> dict[str, Any]:
    options = {"num_thread": 1, **body.pop("options", {})}
    question = {"prompt": "Hi"} if path == "/api/generate" else {"messages": HI}
    answer = shim.client.post(path, json={"model": "ends", **question, "stream": False, **body, "options": options})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(("wish", "said"), [(None, CAP), (-1, CAP), (-2, CAP), (0, 1), (5, 5), (100_000, CAP)])
def test_the_limit_holds_whatever_num_predict_says(shim: RunningShim, wish: int | None, said: int) -> None:
    options = {} if wish is None else {"num_predict": wish}
    for path, more in (("/api/chat", {}), ("/api/generate", {}), ("/api/generate", {"raw": True})):
        answer = asked(shim, path, options=options, **more)
        assert (answer["eval_count"], answer["done_reason"]) == (said, "length"), (path, more)
    assert asked(shim, "/v1/chat/completions", options=options)["usage"]["completion_tokens"] == CAP
    if wish is not None and wish >= 0:
        assert asked(shim, "/v1/chat/completions", max_tokens=wish)["usage"]["completion_tokens"] == said


def test_a_model_that_repeats_itself_is_cut_with_a_reason(shim: RunningShim) -> None:
    """Ollama ends its stream without a last line then."""
    for path, more in (("/api/chat", {}), ("/api/generate", {"raw": True})):
        answer = asked(shim, path, model="endless", **more)
        text = answer["message"]["content"] if path == "/api/chat" else answer["response"]
        assert text.startswith(ENDLESS) and answer["done"] and answer["done_reason"] == "length"
        assert len(ENDLESS) < len(text)
    (choice,) = asked(shim, "/v1/chat/completions", model="endless")["choices"]
    assert choice["message"]["content"].startswith(ENDLESS) and choice["finish_reason"] == "length"
    body = {"model": "endless", "messages": HI, "options": {"num_thread": 1}}
    *_, last = shim.client.post("/api/chat", json=body).text.splitlines()
    assert json.loads(last)["done_reason"] == "length"


@pytest.mark.bad_input("an Ollama that ends its answer before it has begun")
@pytest.mark.parametrize("kind", ["chat", "text"])
def test_nothing_at_all_is_no_answer(kind: str) -> None:
    with pytest.raises(RuntimeFailedError, match="before it began"):
        list(OllamaAnswer("m", kind).cut_off())


@pytest.mark.bad_input("a client that hangs up while Ollama loads the model")
def test_whoever_hangs_up_leaves_no_place_taken(shim: RunningShim) -> None:
    body = {"model": "ends", "messages": HI, "options": {"num_thread": 1}}
    unload = {"model": "ends", "keep_alive": 0}
    for moment in ("loading", "begun"):
        assert shim.client.post("/api/generate", json=unload).json()["done_reason"] == "unload"
        patience = httpx.Timeout(30.0, read=0.05) if moment == "loading" else httpx.Timeout(30.0)
        with httpx.Client(base_url=shim.url, timeout=patience, trust_env=False) as http:
            try:
                with http.stream("POST", "/api/chat", json=body) as answer:
                    next(answer.iter_lines())
                assert moment == "begun"
            except httpx.ReadTimeout:
                assert moment == "loading"
        # Ollama itself may lose the place of who hung up; an unloaded model has none.
        assert shim.client.post("/api/generate", json=unload).json()["done_reason"] == "unload"
        assert asked(shim, "/api/chat", options={"num_predict": 3})["eval_count"] == 3
    assert [queue.running for queue in shim.shim.queues.values()] == [0] * len(shim.shim.queues)
