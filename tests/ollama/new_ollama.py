"""An imitation of Ollama 0.30 and later, as its source has it: the only server at hand is 0.9.3, and it differs here.

After server/create.go, server/images.go (shouldPreferChatTemplate) and server/routes.go (selectedModelTemplate,
ChatHandler with `_debug_render_only`) of Ollama after 0.30. Renders by our own TEMPLATE and Jinja; loads no model. What
llama.cpp makes of a Jinja can be another text than transformers' (`native_render`).
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conch_ollama.chat_template.capabilities import go_capabilities, is_bypassed, jinja_capabilities
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.ollama_render import OllamaTemplate, render_chat
from conch_ollama.ollama.blobs import file_sha256
from conch_ollama.workflows.model_facts import ModelFacts, facts_of_file
from tests.ollama.stub_server import Behaviour, StubHandler, stub_server

Render = Callable[[JinjaTemplate, Sequence[Mapping[str, Any]]], str]


def as_transformers(jinja: JinjaTemplate, messages: Sequence[Mapping[str, Any]]) -> str:
    return jinja.render(messages)


@dataclass
class NewOllama:
    """`models`: name -> the fields it was created with. `detects`: a TEMPLATE and parameters that its detection adds
    where none is given. `gguf`: the one GGUF that it has; `blobs`: the folder where it keeps that."""

    gguf: Path
    version: str = "0.32.1"
    detects: tuple[str, Mapping[str, Any]] | None = None
    native_render: Render = as_transformers
    host: str = ""
    blobs: Path = Path("/models/blobs")
    models: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def facts(self) -> ModelFacts:
        return facts_of_file(self.gguf)

    def create(self, handler: StubHandler) -> None:
        body = json.loads(handler.body())
        template, parameters = body.get("template"), dict(body.get("parameters") or {})
        if self.detects is not None:
            template = template or self.detects[0]
            parameters = {**self.detects[1], **parameters}
        self.models[_full(body["model"])] = {**body, "template": template, "parameters": parameters}
        handler.answer(200, b'{"status": "success"}\n')

    def show(self, handler: StubHandler) -> None:
        model = self.models.get(_full(json.loads(handler.body())["model"]))
        if model is None:
            handler.answer(404, {"error": "model not found"})
            return
        jinja = self.facts.jinja
        native = jinja is not None and not self._obeys(model)
        template = model["template"] or "{{ .Prompt }}"
        digest = next(iter(model["files"].values())).replace(":", "-")
        shown = jinja.source if native and jinja is not None else template
        found = jinja_capabilities(shown) if native else go_capabilities(OllamaTemplate(template, (0, 32, 0)))
        handler.answer(
            200,
            {
                "modelfile": f'FROM {self.blobs / digest}\nTEMPLATE """{template}"""\n',
                "template": shown,
                "system": model.get("system", ""),
                "license": "\n".join(model.get("license", ())),
                "messages": model.get("messages", []),
                "parameters": "\n".join(_shown(model["parameters"])),
                "capabilities": ["completion", *sorted(found)],
                "details": {"family": "llama"},
                "model_info": {"general.architecture": "llama"},
            },
        )

    def chat(self, handler: StubHandler) -> None:
        body = json.loads(handler.body())
        model = self.models[_full(body["model"])]
        messages = [*model.get("messages", ()), *body["messages"]]
        if body["messages"][0]["role"] != "system" and model.get("system"):
            messages.insert(0, {"role": "system", "content": model["system"]})
        if self._obeys(model):
            prompt = render_chat(model["template"], messages, version=(0, 32, 0))
        else:
            assert self.facts.jinja is not None
            prompt = self.native_render(self.facts.jinja, messages)
        answer: dict[str, Any] = {"model": body["model"], "message": {"role": "assistant", "content": "Hi."}}
        if body.get("_debug_render_only"):
            answer = {"model": body["model"], "_debug_info": {"rendered_template": prompt}}
        handler.answer(200, {**answer, "done": True})

    def copy(self, handler: StubHandler) -> None:
        body = json.loads(handler.body())
        self.models[_full(body["destination"])] = self.models[_full(body["source"])]
        handler.answer(200)

    def delete(self, handler: StubHandler) -> None:
        self.models.pop(_full(json.loads(handler.body())["model"]), None)
        handler.answer(200)

    def listed(self, handler: StubHandler) -> None:
        handler.answer(200, {"models": [{"name": name, "model": name, "size": 1} for name in self.models]})

    def _obeys(self, model: Mapping[str, Any]) -> bool:
        """shouldUseGoTemplate, without OLLAMA_GO_TEMPLATE."""
        jinja = self.facts.jinja
        if not model["template"]:
            return False
        return jinja is None or not is_bypassed(OllamaTemplate(model["template"], (0, 32, 0)), jinja.source)


def _full(name: str) -> str:
    return name if ":" in name else f"{name}:latest"


def _shown(parameters: Mapping[str, Any]) -> Iterator[str]:
    for name, value in parameters.items():
        for one in value if isinstance(value, list) else [value]:
            yield f"{name:<30} {json.dumps(one)}"


@contextlib.contextmanager
def new_ollama(gguf: Path, **settings: Any) -> Iterator[NewOllama]:
    """The server, running, with the GGUF at hand."""
    fake = NewOllama(gguf, **settings)
    keeps = tempfile.TemporaryDirectory()
    fake.blobs = Path(keeps.name)
    shutil.copy(gguf, fake.blobs / f"sha256-{file_sha256(gguf)}")
    routes: dict[str, Behaviour] = {
        "GET /api/version": lambda h: h.answer(200, {"version": fake.version}),
        "HEAD /api/blobs/*": lambda h: h.answer(200),
        "POST /api/create": fake.create,
        "POST /api/show": fake.show,
        "POST /api/chat": fake.chat,
        "POST /api/copy": fake.copy,
        "GET /api/tags": fake.listed,
        "DELETE /api/delete": fake.delete,
    }
    with keeps, stub_server(routes) as stub:
        fake.host = stub.host
        yield fake
