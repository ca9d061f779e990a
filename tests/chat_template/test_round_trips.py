"""Tools and thoughts through a real Ollama: what a family says to call a tool comes back as `tool_calls`, the result
that follows is rendered as the Jinja renders it, a thought comes back as `thinking`.

A scripted model says the words; the TEMPLATE is the one that is chosen for the family's own Jinja.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from conch_ollama.chat_template.compare import likeness
from conch_ollama.chat_template.conversations import MORE_TOOLS, TOOLS, Conversation
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.ollama_render import render_chat
from conch_ollama.chat_template.prove import best_template
from conch_ollama.chat_template.tool_limits import SORTED, WITHOUT_IDS, tool_limit
from conch_ollama.chat_template.verdicts import EQUAL_JSON, Proof, Server
from tests.chat_template.references import index
from tests.chat_template.test_real_ollama import OPTIONS, Renderer
from tests.parts.long import shortened
from tests.parts.ollama import OllamaServer
from tests.parts.scripted_gguf import pieces, scripted_gguf

ASK = {"role": "user", "content": "Will it rain in Paris?"}
ARGUMENTS = {"query": 'rain "in" Paris\n海螺', "limit": 3, "kind": "text"}
ID = "call12345"
_JSON = json.dumps(ARGUMENTS, ensure_ascii=False)
_HERMES = f'<tool_call>\n{{"name": "search_files", "arguments": {_JSON}}}\n</tool_call>'
#: model -> where its TEMPLATE comes from, and what the model says to call a tool.
CALLERS = {
    "hermes-2-pro": ("curated:hermes-2-pro", _HERMES),
    "qwen2.5": ("curated:qwen2.5", _HERMES),
    "qwen3": ("curated:qwen3", _HERMES),
    "llama3.1": ("compiled", f'{{"name": "search_files", "parameters": {_JSON}}}'),
    "mistral-7b-v0.3": (
        "compiled",
        f'[TOOL_CALLS] [{{"name": "search_files", "arguments": {_JSON}, "id": "{ID}"}}]',
    ),
}
#: What no TEMPLATE of Ollama 0.9 can say of them.
LIMITS = {"hermes-2-pro": SORTED, "mistral-7b-v0.3": WITHOUT_IDS}
THOUGHT = "It may.\nOr not."


@cache
def proof(name: str) -> Proof:
    of = index()[name]
    return best_template(of.template(), add_bos=of.add_bos, bos_token=of.bos_token)


@pytest.fixture(scope="module")
def renderer(ollama_server: OllamaServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Renderer]:
    made = Renderer(ollama_server, scripted_gguf(tmp_path_factory.mktemp("scripted") / "mute.gguf", ""))
    yield made
    made.http.close()


def _says(renderer: Renderer, folder: Path, name: str, text: str, architecture: str = "llama") -> str:
    """A model in Ollama with the TEMPLATE of `name`, that says `text`."""
    of, found = index()[name], proof(name)
    path = scripted_gguf(
        folder / "scripted.gguf",
        text,
        chat_template=of.template().source,
        architecture=architecture,
        extra_tokens=[of.eos_token],
        bos_token=of.bos_token or "<s>",
        add_bos=of.add_bos,
    )
    return renderer.create(f"says-{name}", found.template, renderer.upload(path))


def _chat(renderer: Renderer, model: str, messages: Sequence[Mapping[str, Any]], **extra: Any) -> dict[str, Any]:
    body = {"model": model, "messages": messages, "stream": False, "options": {**OPTIONS, "num_predict": 300}, **extra}
    answer = renderer.http.post("/api/chat", json=body)
    assert answer.status_code == 200, answer.text
    message: dict[str, Any] = answer.json()["message"]
    return message


@pytest.mark.parametrize("name", shortened(CALLERS, ("qwen3", "mistral-7b-v0.3")))
def test_a_call_comes_back_and_its_result_is_rendered(renderer: Renderer, name: str, tmp_path: Path) -> None:
    found, of = proof(name), index()[name]
    assert found.strategy == CALLERS[name][0]
    model = _says(renderer, tmp_path, name, CALLERS[name][1])

    answer = _chat(renderer, model, [ASK], tools=MORE_TOOLS)
    assert [one["function"] for one in answer["tool_calls"]] == [{"name": "search_files", "arguments": ARGUMENTS}]
    assert answer["content"] == ""

    called = [{"id": ID, "type": "function", **one} for one in answer["tool_calls"]]
    result = {"role": "tool", "content": "dry", "tool_call_id": ID}
    followed = Conversation("tools called and answered", (ASK, {**answer, "tool_calls": called}, result), MORE_TOOLS)
    prompt = renderer.prompt(model, followed)
    assert prompt == render_chat(found.template, followed.messages, tools=MORE_TOOLS)
    server = Server(of.add_bos, of.bos_token)
    wanted = server.without_bos(of.template().render(followed.messages, tools=MORE_TOOLS))
    if likeness(followed, wanted, prompt) != EQUAL_JSON:
        assert tool_limit(of.template(), server, followed, prompt) == LIMITS[name]


@pytest.mark.parametrize("name", ["qwen2.5", "llama3.1"])
def test_an_answer_without_a_call_stays_one(renderer: Renderer, name: str, tmp_path: Path) -> None:
    model = _says(renderer, tmp_path, name, "It will rain.")
    answer = _chat(renderer, model, [ASK], tools=TOOLS)
    assert (answer["content"], answer.get("tool_calls")) == ("It will rain.", None)


def test_two_calls_and_the_text_before_them(renderer: Renderer, tmp_path: Path) -> None:
    other = _HERMES.replace("search_files", "weather").replace(_JSON, '{"city": "Oslo"}')
    model = _says(renderer, tmp_path, "qwen2.5", f"Let me see.\n{_HERMES}\n{other}")
    answer = _chat(renderer, model, [ASK], tools=MORE_TOOLS)
    assert [one["function"]["name"] for one in answer["tool_calls"]] == ["search_files", "weather"]
    assert answer["tool_calls"][1]["function"]["arguments"] == {"city": "Oslo"}
    assert answer["content"].strip() == "Let me see."


def test_a_thought_comes_back_as_such_and_calls_after_it(renderer: Renderer, tmp_path: Path) -> None:
    said = f"<think>\n{THOUGHT}\n</think>\n\n"
    model = _says(renderer, tmp_path, "qwen3", said + "Yes.", "qwen3")
    answer = _chat(renderer, model, [ASK], think=True)
    assert (answer["thinking"].strip(), answer["content"]) == (THOUGHT, "Yes.")
    model = _says(renderer, tmp_path, "qwen3", said + _HERMES, "qwen3")
    answer = _chat(renderer, model, [ASK], think=True, tools=MORE_TOOLS)
    assert (answer["thinking"].strip(), answer["content"].strip()) == (THOUGHT, "")
    assert answer["tool_calls"][0]["function"]["arguments"] == ARGUMENTS
    result = {"role": "tool", "content": "dry"}
    followed = Conversation("tools called in thought", (ASK, answer, result), MORE_TOOLS)
    wanted = index()["qwen3"].template().render(followed.messages, tools=MORE_TOOLS)
    assert THOUGHT in wanted
    assert likeness(followed, wanted, renderer.prompt(model, followed)) == EQUAL_JSON


def test_a_thought_that_the_prompt_opens(renderer: Renderer, ollama_server: OllamaServer, tmp_path: Path) -> None:
    """DeepSeek-R1's distills: before 0.11.7 all of it lands in `content`, its closing tag too; asked to think, with the
    first token twice."""
    said = f"{THOUGHT}\n</think>\n\nYes."
    model = _says(renderer, tmp_path, "deepseek-r1-distill", said)
    answer = _chat(renderer, model, [ASK], think=True)
    if tuple(map(int, ollama_server.version.split("-")[0].split("."))) < (0, 11, 7):
        assert _chat(renderer, model, [ASK])["content"] == said
        assert answer["content"] == pieces(said)[0] + said
        assert "thinking" not in answer
    else:
        assert (answer["thinking"].strip(), answer["content"]) == (THOUGHT, "Yes.")


def test_a_thought_that_the_model_opens_itself(renderer: Renderer, tmp_path: Path) -> None:
    """DeepSeek-R1's distills as they were first published."""
    jinja = index()["deepseek-r1-distill"].template()
    early = JinjaTemplate(
        jinja.source.replace("<｜Assistant｜><think>\\n", "<｜Assistant｜>"), bos_token=jinja.bos_token
    )
    found = best_template(early, add_bos=True, bos_token=jinja.bos_token)
    assert found.strategy == "curated:deepseek-r1-distill-early"
    said = f"<think>\n{THOUGHT}\n</think>\n\nYes."
    path = scripted_gguf(tmp_path / "s.gguf", said, chat_template=early.source, bos_token=jinja.bos_token, add_bos=True)
    model = renderer.create("says-early", found.template, renderer.upload(path))
    answer = _chat(renderer, model, [ASK], think=True)
    assert (answer["thinking"].strip(), answer["content"]) == (THOUGHT, "Yes.")
