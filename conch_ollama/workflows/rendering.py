"""Looks at prompts that a server makes of a model and compares them with the model's own chat template.

The prompt itself where the server tells it (Ollama 0.11.5 and later), else its number of tokens. Three conversations:
enough to see which template a server obeys and whether a BOS is doubled; equality on all classes is the proof's part.
Only 0.9.3 could be run against; later servers are known from their source and imitated in the tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.verdicts import diff
from conch_ollama.errors import BadTemplateError, RegisterMismatchError
from conch_ollama.ollama.client import OllamaClient
from conch_ollama.ollama.register import Rendering
from conch_ollama.ollama.rendered import chat_tokens, raw_tokens, rendered_prompt
from conch_ollama.ollama.show import ModelInfo
from conch_ollama.ollama.versions import OLDEST_WITH_RENDERED, version_numbers
from conch_ollama.workflows.model_facts import ModelFacts

Message = Mapping[str, Any]
_AS_IT_WAS = "Ollama was left as it was; `conch register --allow-unproven` takes it all the same"


def _turns(*texts: tuple[str, str]) -> Sequence[Message]:
    return tuple({"role": role, "content": text} for role, text in texts)


CONVERSATIONS: tuple[Sequence[Message], ...] = (
    _turns(("system", "规则：简短。"), ("user", "Hi"), ("assistant", "Hello!"), ("user", "请问你是谁？")),
    _turns(("system", "Be brief."), ("user", "Who are you?")),
    _turns(("user", "Hi"), ("assistant", "Hello!"), ("user", "Count to three.")),
)


def rendering_check(facts: ModelFacts, *, version: str) -> Rendering:
    """A check for a model whose GGUF says `facts`, in a server of that version.

    It returns sentences and raises RegisterMismatchError with a diff where a prompt is another one.
    """
    jinja = facts.jinja

    def check(server: OllamaClient, name: str, info: ModelInfo) -> tuple[str, ...]:
        if jinja is None:
            return (f"what the server renders was not compared: {facts.fault}",)
        told = version_numbers(version) >= OLDEST_WITH_RENDERED or version_numbers(version) == (0, 0, 0)
        seen: list[str] = []
        for request in CONVERSATIONS:
            if seen and not told:
                break  # a count takes time, for the model has to run: one will do
            wanted = _wanted(jinja, request, info)
            if wanted is None:
                continue
            text = rendered_prompt(server, name, request) if told else None
            if text is not None:
                _compare_texts(name, wanted, text, facts, info)
                seen.append("prompt")
            else:
                _compare_counts(server, name, request, wanted, facts)
                seen.append("count")
        return _said(seen)

    return check


def _said(seen: Sequence[str]) -> tuple[str, ...]:
    if not seen:
        return ("what the server renders was not compared: the chat template refuses every conversation tried",)
    if "count" in seen:
        return ("a prompt has as many tokens here as the model's own chat template makes",)
    return (f"{len(seen)} prompts are what the model's own chat template makes",)


def _wanted(jinja: JinjaTemplate, request: Sequence[Message], info: ModelInfo) -> str | None:
    """The Jinja's prompt, the model's MESSAGEs in front, and its SYSTEM where the request has none; None if refused."""
    has_system = request[0]["role"] == "system"
    if info.messages and has_system:  # a system text in the middle is a class of its own
        return None
    system = [{"role": "system", "content": info.system}] if info.system and not has_system else []
    try:
        return jinja.render([*system, *({"role": m.role, "content": m.content} for m in info.messages), *request])
    except BadTemplateError:
        return None


def _compare_texts(name: str, wanted: str, text: str, facts: ModelFacts, info: ModelInfo) -> None:
    bos = facts.bos if facts.add_bos else ""
    if text == wanted or text == wanted.removeprefix(bos):
        return
    by = "TEMPLATE"
    if facts.jinja is not None and info.template == facts.jinja.source:
        by = "the chat template in the GGUF by its own engine (OLLAMA_GO_TEMPLATE=1 would make it obey a TEMPLATE)"
    raise RegisterMismatchError(
        f"{name}: the server renders another prompt than the model's own chat template makes; it renders {by}\n"
        + diff(wanted, text, "the server"),
        hint=_AS_IT_WAS,
    )


def _compare_counts(
    server: OllamaClient, name: str, request: Sequence[Message], wanted: str, facts: ModelFacts
) -> None:
    """The server puts the BOS in front of raw text too."""
    raw = wanted.removeprefix(facts.bos) if facts.add_bos else wanted
    expected, found = raw_tokens(server, name, raw), chat_tokens(server, name, request)
    if expected != found:
        raise RegisterMismatchError(
            f"{name}: the server's prompt has {found} tokens where the model's own chat template makes {expected}",
            hint=_AS_IT_WAS,
        )
