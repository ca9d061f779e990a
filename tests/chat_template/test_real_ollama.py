"""The curated TEMPLATEs in a real Ollama: the prompt in its log is, byte for byte, the Jinja's and our own rendering's.

One tiny model with another TEMPLATE each time: what a model knows has no part in what is rendered.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from conch_ollama.chat_template.capabilities import go_capabilities
from conch_ollama.chat_template.conversations import CONVERSATIONS, ODD_KIND, PLAIN, Conversation, conversation
from conch_ollama.chat_template.families import Family, families, family_by_name
from conch_ollama.chat_template.go.literals import unquote
from conch_ollama.chat_template.ollama_render import OllamaTemplate, render_chat
from conch_ollama.errors import BadTemplateError
from tests.chat_template.references import REFERENCES, reference
from tests.chat_template.tiny_gguf import write_tiny_gguf
from tests.parts.ollama import OllamaServer

MARK = " prompt="
OPTIONS = {"num_predict": 1, "num_thread": 1, "num_ctx": 4096, "temperature": 0}
LEGACY = "{{ if .System }}S:{{ .System }}\n{{ end }}{{ if .Prompt }}U:{{ .Prompt }}\n{{ end }}A:{{ .Response }}<end>\n"


class Renderer:
    """Creates models with a TEMPLATE and reads back from the log what the server made of a chat."""

    def __init__(self, server: OllamaServer, gguf: Path) -> None:
        self.server = server
        self.http = httpx.Client(base_url=server.host, timeout=120, trust_env=False)
        self.digest = self.upload(gguf)

    def upload(self, gguf: Path) -> str:
        data = gguf.read_bytes()
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.http.post(f"/api/blobs/{digest}", content=data).raise_for_status()
        return digest

    def create(self, name: str, template: str, digest: str = "") -> str:
        files = {"model.gguf": digest or self.digest}
        body = {"model": name, "files": files, "template": template, "stream": False}
        answer = self.http.post("/api/create", json=body)
        assert answer.status_code == 200, answer.text
        return name

    def prompt(self, model: str, one: Conversation, **extra: Any) -> str:
        start = self.server.log.stat().st_size
        body: dict[str, Any] = {"model": model, "messages": one.messages, "stream": False, "options": OPTIONS, **extra}
        if one.tools:
            body["tools"] = one.tools
        answer = self.http.post("/api/chat", json=body)
        assert answer.status_code == 200, answer.text
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with self.server.log.open("rb") as log:
                log.seek(start)
                lines = log.read().decode("utf-8", "replace").splitlines()
            found = [line for line in lines if MARK in line and "completion request" in line]
            if found:
                return _quoted(found[-1])
            time.sleep(0.05)
        raise AssertionError(f"no prompt in the log after {json.dumps(body)[:200]}")


def _quoted(line: str) -> str:
    """The text after `prompt=`: Go-quoted, or bare where it holds nothing to quote."""
    start = line.index(MARK) + len(MARK)
    if line[start] != '"':
        return line[start:].partition(" ")[0]
    end = start + 1
    while line[end] != '"':
        end += 2 if line[end] == "\\" else 1
    return unquote(line[start : end + 1]).decode("utf-8")


@pytest.fixture(scope="module")
def renderer(ollama_server: OllamaServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Renderer]:
    made = Renderer(ollama_server, write_tiny_gguf(tmp_path_factory.mktemp("tiny") / "tiny.gguf"))
    yield made
    made.http.close()


def _sample(name: str) -> Sequence[Conversation]:
    """Every plain conversation that is not odd, and this model's share of the odd ones: together they see all."""
    kept = [one for one in CONVERSATIONS if one.kind in PLAIN and one.kind != ODD_KIND]
    odd = [one for one in CONVERSATIONS if one.kind == ODD_KIND]
    return [*kept, *odd[list(REFERENCES).index(name) :: len(REFERENCES) - 1]]


def test_the_log_is_read_as_it_was_quoted() -> None:
    assert _quoted('x msg="completion request" prompt="a\\"b\\n\\u3000" y="z"') == 'a"b\n\u3000'
    assert _quoted('x msg="completion request" prompt=海螺 y=2') == "海螺"


@pytest.mark.parametrize("name", [name for name in REFERENCES if name != "refusing"])
def test_the_server_renders_what_the_jinja_renders(renderer: Renderer, name: str) -> None:
    family, bos, _ = REFERENCES[name]
    template = family_by_name(family).text()
    model = renderer.create(f"rendered-{name}", template)
    jinja = reference(name, bos)
    for one in _sample(name):
        shown = renderer.prompt(model, one)
        assert shown == render_chat(template, one.messages)
        try:
            wanted = jinja.render(one.messages, continue_final_message=one.is_prefill)
        except BadTemplateError:  # an open answer that the Jinja cuts can't be gone on with
            assert one.is_prefill
            assert "</think>" in str(one.messages[-1]["content"])
            continue
        assert shown == (wanted if shown.startswith(bos) else wanted.removeprefix(bos))


@pytest.mark.parametrize("name", ["qwen2.5", "qwen3"])
def test_tools_and_thinking_as_we_render_them(renderer: Renderer, name: str) -> None:
    template = family_by_name(name).text()
    model = renderer.create(f"rendered-{name}", template)
    for one in CONVERSATIONS:
        if one.kind.startswith("tools"):
            assert renderer.prompt(model, one) == render_chat(template, one.messages, tools=one.tools)
    if name == "qwen3":
        question = conversation("", ("u", "Hi"))
        assert renderer.prompt(model, question, think=False) == render_chat(template, question.messages, think=False)
        assert renderer.prompt(model, question, think=True) == render_chat(template, question.messages, think=True)


@pytest.mark.parametrize(
    "template",
    [
        LEGACY,
        "<{{ .System }}|{{ .Prompt }}>",
        '{{ range .Messages }}{{ printf "%-9s|%q" .Role .Content }}{{ json . }}{{ end }}',
    ],
    ids=["legacy", "no-response", "printf"],
)
def test_other_paths_as_we_render_them(renderer: Renderer, template: str, request: pytest.FixtureRequest) -> None:
    model = renderer.create(f"path-{request.node.callspec.id}", template)
    chats: list[Callable[[], Conversation]] = [
        lambda: conversation("", ("u", "one"), ("u", "two")),
        lambda: conversation("", ("s", "sys <&>"), ("u", "one"), ("a", "two"), ("u", '三\u3000\n"q"')),
        lambda: conversation("", ("u", "one"), ("a", "two"), ("s", "late"), ("u", "three"), ("a", "four")),
    ]
    for make in chats:
        assert renderer.prompt(model, make()) == render_chat(template, make().messages)


@pytest.mark.parametrize(
    ("template", "part"),
    [("{{ nofunction .Prompt }}", "nofunction"), ("{{ if .Prompt }}", "EOF"), ("{{ currentDate }}", "currentDate")],
)
@pytest.mark.bad_input("TEMPLATE that Ollama itself refuses")
def test_what_ollama_refuses_we_refuse(renderer: Renderer, template: str, part: str) -> None:

    body = {"model": "refused", "files": {"model.gguf": renderer.digest}, "template": template, "stream": False}
    answer = renderer.http.post("/api/create", json=body)
    assert answer.status_code == 400
    assert part in answer.text
    with pytest.raises(BadTemplateError) as caught:
        render_chat(template, [{"role": "user", "content": "Hi"}])
    assert caught.value.code == "bad-template"


@pytest.mark.parametrize("name", ["qwen3", "deepseek-r1-distill"])
def test_old_thoughts_go_where_we_say(renderer: Renderer, name: str, tmp_path: Path) -> None:
    """By the family in the GGUF (qwen3), or by the name (deepseek-r1)."""
    template = family_by_name(name).text()
    digest = renderer.upload(write_tiny_gguf(tmp_path / "tiny.gguf", "qwen3")) if name == "qwen3" else ""
    model = renderer.create("deepseek-r1:tiny" if name != "qwen3" else "tiny-qwen3", template, digest)
    family = "qwen3" if name == "qwen3" else ""
    for answer in ("<think>\nt\n</think>\n\n one", "plain", "", "a</think>b", "<think>open"):
        one = conversation("", ("u", "q"), ("a", answer), ("u", "r"))
        assert renderer.prompt(model, one) == render_chat(template, one.messages, family=family, name=model)


@pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
def test_the_server_sees_the_capabilities_we_see(renderer: Renderer, family: Family) -> None:
    model = renderer.create(f"shown-{family.name}", family.text())
    shown = renderer.http.post("/api/show", json={"model": model}).json()
    assert shown["template"] == family.text()
    assert set(shown["capabilities"]) == {"completion"} | go_capabilities(OllamaTemplate(family.text()))
