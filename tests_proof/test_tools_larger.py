"""Tools on conversations that the prover does not use: a class that holds there holds here, and a mutated TEMPLATE
loses one where its output with tools changes."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from conch_ollama.chat_template.compare import References, compare, likeness, refer, server_for
from conch_ollama.chat_template.ollama_render import OllamaTemplate, render_chat
from conch_ollama.chat_template.prove import best_template
from conch_ollama.chat_template.tool_conversations import TOOL_KINDS
from conch_ollama.chat_template.verdicts import DIFFERS, NOT_EXPRESSIBLE, ClassVerdict
from conch_ollama.errors import BadTemplateError
from tests.chat_template.larger_tools import larger_tools
from tests.chat_template.references import index

CHATS = list(larger_tools(80))
NAMES = [name for name, of in index().items() if not of.dated]
#: Mutations of each of these: curated and compiled, of every way to show tools.
MUTATED = ("qwen2.5", "qwen3", "llama3.1", "mistral-7b-v0.3", "falcon3")
CHANGED, DRAWN = 20, 400


@pytest.mark.parametrize("name", NAMES)
def test_a_class_of_tools_that_holds_truly_holds(name: str) -> None:
    of = index()[name]
    jinja = of.template()
    found = best_template(jinja, add_bos=of.add_bos, bos_token=of.bos_token)
    server = server_for(jinja, of.add_bos, of.bos_token)
    held = [chat for chat in CHATS if found.classes[chat.kind].holds]
    for one in compare(OllamaTemplate(found.template), [refer(jinja, chat) for chat in held], server):
        assert one.verdict != DIFFERS, (server.without_bos(one.wanted), one.rendered)


@pytest.mark.parametrize("name", MUTATED)
def test_a_mutated_template_loses_a_class(name: str) -> None:
    of = index()[name]
    jinja = of.template()
    found = best_template(jinja, add_bos=of.add_bos, bos_token=of.bos_token)
    server, references = server_for(jinja, of.add_bos, of.bos_token), References(jinja)
    stand = [chat for chat in CHATS if _stands(found.classes, chat.kind)]
    corpus = [chat for chat in stand if refer(jinja, chat).text is not None]
    before = [render_chat(found.template, chat.messages, tools=chat.tools) for chat in corpus]
    known = [one for one in references.others if one.conversation.kind in TOOL_KINDS]
    shared = [one for one in (*known, *references.plain) if _stands(found.classes, one.conversation.kind)]
    chance = random.Random(name)
    changed = missed = 0
    for _ in range(DRAWN):
        if changed == CHANGED:
            break
        mutant = _mutated(found.template, chance)
        try:
            template = OllamaTemplate(mutant)
            after = [render_chat(template, chat.messages, tools=chat.tools) for chat in corpus]
        except BadTemplateError:
            continue
        if all(likeness(*three) != DIFFERS for three in zip(corpus, before, after, strict=True)):
            continue
        changed += 1
        missed += all(one.verdict != DIFFERS for one in compare(template, shared, server))
    assert (changed, missed) == (CHANGED, 0)


def _stands(classes: Mapping[str, ClassVerdict], kind: str) -> bool:
    return classes[kind].verdict not in (DIFFERS, NOT_EXPRESSIBLE)


def _mutated(text: str, chance: random.Random) -> str:
    at = chance.randrange(len(text))
    return text[:at] + chance.choice(("", text[at] * 2, chance.choice('x {}\n.$0"'))) + text[at + 1 :]
