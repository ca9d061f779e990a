"""Compiled TEMPLATEs in real Go and in a real Ollama: what they render there is the Jinja's prompt, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest

from conch_ollama.chat_template.compare import refer, server_for
from conch_ollama.chat_template.compiler.compile import compile_template
from conch_ollama.chat_template.compiler.model import Compiled
from conch_ollama.chat_template.conversations import CONVERSATIONS, PLAIN, Conversation
from tests.chat_template.larger_corpus import larger
from tests.chat_template.oracle import Case, judge
from tests.chat_template.references import index
from tests.chat_template.test_real_ollama import Renderer, renderer

__all__ = ["renderer"]  # the fixture
NAMES = list(index())


@cache
def compiled(name: str) -> str:
    reference = index()[name]
    found = compile_template(reference.template(), add_bos=reference.add_bos, bos_token=reference.bos_token)
    assert isinstance(found, Compiled)
    return found.template


def wanted(name: str, chats: Sequence[Conversation]) -> list[tuple[Conversation, str]]:
    """What the TEMPLATE has to render, of the conversations that the Jinja does not refuse."""
    reference = index()[name]
    jinja = reference.template()
    server = server_for(jinja, reference.add_bos, reference.bos_token)
    texts = [(one, refer(jinja, one).text) for one in chats]
    return [(one, server.without_bos(text)) for one, text in texts if text is not None]


def test_go_renders_compiled_templates_as_the_jinja_does() -> None:
    cases, texts = [], []
    for number, name in enumerate(NAMES):
        for one, text in wanted(name, larger()[number % 3 :: 3]):
            data = {"Think": False, "IsThinkSet": False, "Response": "", "System": ""}
            cases.append(Case(compiled(name), data, {}, one.messages, None, True))
            texts.append((name, text))
    assert len(cases) > 900
    for (name, text), verdict in zip(texts, judge(cases), strict=True):
        assert verdict.output is not None, (name, verdict.fault)
        assert verdict.output.decode() == text, name


@pytest.mark.parametrize("name", NAMES)
def test_ollama_renders_compiled_templates_as_the_jinja_does(renderer: Renderer, name: str) -> None:
    """A few conversations a model, others for each."""
    plain = [one for one in CONVERSATIONS if one.kind in PLAIN]
    mine = wanted(name, plain)
    few = mine[NAMES.index(name) % 7 :: max(len(mine) // 5, 1)]
    assert len(few) >= 4
    model = renderer.create(f"compiled-{NAMES.index(name)}", compiled(name))
    for one, text in few:
        assert renderer.prompt(model, one) == text
