"""What /api/generate and /api/chat of Ollama can besides a question: raw prompts, templates, contexts, gaps, formats,
logarithms. On the real llama.cpp."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from conch_ollama.runtimes.llama_models import LlamaCppModel
from conch_ollama.runtimes.llama_server import LlamaCppRuntime
from tests.parts.scripted_gguf import pieces, scripted_gguf
from tests.server.made_runtime import MadeRuntime
from tests.server.running import RunningShim

CHATML = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
#: What SmolLM2's own template puts before a conversation without a system message.
SYSTEM = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
QUESTION = "Name one color."
GREEDY = {"temperature": 0, "num_predict": 4, "seed": 1}


def generate(running: RunningShim, **given: Any) -> httpx.Response:
    body = {"model": "smol", "prompt": QUESTION, "stream": False, "options": GREEDY} | given
    return running.client.post("/api/generate", json=body)


def test_raw_template_and_the_models_own_say_the_same_where_they_are_the_same(real: RunningShim) -> None:
    own = generate(real).json()
    raw = generate(real, prompt=SYSTEM + CHATML.format(QUESTION), raw=True).json()
    template = "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}" + CHATML.format("{{ .Prompt }}")
    system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    rendered = generate(real, template=template, system=system).json()
    assert own["response"] == raw["response"] == rendered["response"] != ""
    assert own["prompt_eval_count"] == raw["prompt_eval_count"] == rendered["prompt_eval_count"]
    assert own["context"] == rendered["context"]
    assert "context" not in raw
    gone = generate(real, keep_alive=0).json()
    assert gone["context"] == own["context"]
    assert real.client.get("/api/ps").json()["models"] == [], "not loaded again to tell the context"
    real.client.post("/api/generate", json={"model": "smol", "keep_alive": 300})
    other = generate(real, template="{{ .Prompt }}").json()
    assert other["prompt_eval_count"] < own["prompt_eval_count"]


def test_a_conversation_by_context_is_the_one_by_messages(real: RunningShim) -> None:
    first = generate(real).json()
    lines = generate(real, stream=True).text.splitlines()
    assert json.loads(lines[-1])["context"] == first["context"]
    assert all("context" not in json.loads(line) for line in lines[:-1])
    ended = first["context"] + tokens_of(real, "<|im_end|>\n")
    second = generate(real, prompt="Another.", context=ended, template=CHATML.format("{{ .Prompt }}")).json()
    messages = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": first["response"]},
        {"role": "user", "content": "Another."},
    ]
    body = {"model": "smol", "messages": messages, "stream": False, "options": GREEDY}
    chat = real.client.post("/api/chat", json=body).json()
    assert second["response"] == chat["message"]["content"]
    assert second["prompt_eval_count"] == chat["prompt_eval_count"]
    by_own_template = generate(real, prompt="Another.", context=first["context"]).json()
    assert by_own_template["context"][: len(first["context"])] == first["context"]


def tokens_of(running: RunningShim, text: str) -> list[int]:
    runtime = running.shim.registry.runtimes["llama.cpp"]
    return running.call(runtime.tokenize("smol", text))


@pytest.mark.parametrize("raw", [False, True])
def test_a_format_is_kept(real: RunningShim, raw: bool) -> None:
    schema = {"type": "object", "properties": {"n": {"enum": [7]}}, "required": ["n"], "additionalProperties": False}
    answer = generate(real, raw=raw, format=schema, options=GREEDY | {"num_predict": 20})
    assert json.loads(answer.json()["response"]) == {"n": 7}


def test_logarithms_in_ollamas_dialect(real: RunningShim) -> None:
    chat = {"model": "smol", "messages": [{"role": "user", "content": QUESTION}], "options": GREEDY}
    wishes = {"logprobs": True, "top_logprobs": 2}
    whole = real.client.post("/api/chat", json=chat | wishes | {"stream": False}).json()
    lines = [json.loads(line) for line in real.client.post("/api/chat", json=chat | wishes).text.splitlines()]
    streamed = [token for line in lines for token in line.get("logprobs", ())]
    assert [token["token"] for token in streamed] == [token["token"] for token in whole["logprobs"]]
    assert "".join(token["token"] for token in streamed).startswith(whole["message"]["content"])
    for token in whole["logprobs"]:
        assert token.keys() == {"token", "logprob", "bytes", "top_logprobs"}
        assert bytes(token["bytes"]).decode() == token["token"]
        assert len(token["top_logprobs"]) == 2
        assert token["top_logprobs"][0].keys() == {"token", "logprob", "bytes"}
        assert token["logprob"] <= token["top_logprobs"][0]["logprob"] <= 0.0
        assert math.exp(token["top_logprobs"][1]["logprob"]) < 0.5 + 1e-6
    bare = generate(real, logprobs=True).json()
    raw = generate(real, prompt=SYSTEM + CHATML.format(QUESTION), raw=True, logprobs=True).json()
    templated = generate(real, template="{{ .Prompt }}", logprobs=True).json()
    assert [t["token"] for t in bare["logprobs"]] == [t["token"] for t in raw["logprobs"]]
    assert {tuple(t) for t in bare["logprobs"] + templated["logprobs"]} == {("token", "logprob", "bytes")}
    assert "logprobs" not in generate(real).json()


def test_logarithms_of_plain_completions_have_the_shape_of_such(real: RunningShim) -> None:
    client = openai.OpenAI(base_url=f"{real.url}/v1", api_key="any", max_retries=0)
    asked: Any = {"model": "smol", "prompt": "The sky is", "max_tokens": 4, "temperature": 0, "logprobs": 2}
    choice = client.completions.create(**asked).choices[0]
    told = choice.logprobs
    assert told is not None
    assert "".join(told.tokens or ()) == choice.text
    assert told.text_offset == [choice.text.index(token) for token in told.tokens or ()]
    for token, value, near in zip(told.tokens or (), told.token_logprobs or (), told.top_logprobs or (), strict=True):
        assert len(near) == 2
        assert near[token] == value
    pieces = [chunk.choices[0].logprobs for chunk in client.completions.create(**asked, stream=True) if chunk.choices]
    streamed = [piece for piece in pieces if piece is not None]
    assert [token for piece in streamed for token in piece.tokens or ()] == told.tokens
    assert [offset for piece in streamed for offset in piece.text_offset or ()] == told.text_offset
    assert client.completions.create(**asked | {"logprobs": None}).choices[0].logprobs is None


@pytest.mark.bad_input("prompts of Ollama's dialect that can't be made")
@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        ({"suffix": "x"}, 400, "smol does not support insert"),
        ({"template": "{{ .Prompt"}, 400, "template"),
        ({"template": "{{ nix .Prompt }}"}, 400, "template"),
        ({"template": "{{ .Prompt.Nix }}"}, 400, "template"),
        ({"template": "{{ range 999999999 }}x{{ end }}"}, 400, "template"),
        ({"context": [10**6]}, 400, "no such tokens"),
        ({"context": [-1]}, 400, "context"),
        ({"context": ["x"]}, 400, "context"),
        ({"logprobs": True, "top_logprobs": 21}, 400, "top_logprobs"),
    ],
)
def test_what_can_not_be_made(real: RunningShim, given: dict[str, Any], status: int, words: str) -> None:
    answer = generate(real, **given)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["error"]


@pytest.mark.bad_input("a context for a runtime that shows no tokens")
def test_a_runtime_that_shows_no_tokens(made: tuple[RunningShim, MadeRuntime]) -> None:
    running, runtime = made
    answer = generate(running, model="made", context=[1])
    assert (answer.status_code, "/api/chat" in answer.json()["error"]) == (400, True)
    assert "context" not in generate(running, model="made").json()
    assert generate(running, model="made", template="<{{ .Prompt }}>").json()["response"] == "Hello you"
    assert runtime.asked[-1][1]["prompt"] == f"<{QUESTION}>"


@pytest.fixture(scope="module")
def coder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningShim]:
    tokens = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
    path: Path = scripted_gguf(tmp_path_factory.mktemp("c") / "c.gguf", "return a + b", extra_tokens=tokens)
    model = LlamaCppModel("coder", path, num_ctx=512, threads=1, slots=1)
    with RunningShim(lambda: {"llama.cpp": LlamaCppRuntime([model])}) as running:
        yield running


def test_a_gap_is_filled_in_both_dialects(coder: RunningShim) -> None:
    before, after = "def add(a, b):\n    ", "\n"
    gap = {"model": "coder", "prompt": before, "suffix": after, "options": {"temperature": 0}}
    whole = generate(coder, **gap, logprobs=True).json()
    assert whole["response"] == "return a + b"
    assert "".join(token["token"] for token in whole["logprobs"]).startswith("return a + b")
    lines = [json.loads(line) for line in generate(coder, **gap, stream=True).text.splitlines()]
    assert "".join(line["response"] for line in lines) == "return a + b"
    figures = [(answer["prompt_eval_count"], answer["eval_count"]) for answer in (whole, lines[-1])]
    read, said = len(before + after) + 3, len(pieces("return a + b")) + 1  # a token a byte, the gap's three; the end
    assert figures == [(read, said)] * 2
    plain = coder.client.post("/v1/completions", json=gap | {"max_tokens": 40}).json()
    assert plain["choices"][0]["text"] == "return a + b"
    assert (plain["usage"]["prompt_tokens"], plain["usage"]["completion_tokens"]) == (read, said)
    assert "insert" in coder.client.post("/api/show", json={"model": "coder"}).json()["capabilities"]
