"""Other words for a chat template that another engine renders otherwise: those that transformers renders alike.

Candidates only, the nearest to the original first; whether the engine renders one as it should, a proof has to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from conch_ollama.chat_template.compare import Reference, References, is_dated, refer
from conch_ollama.chat_template.conversations import Conversation, conversation
from conch_ollama.chat_template.engines import engine_proof
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.plain_jinja_rewrite import rewrite
from conch_ollama.chat_template.verdicts import EQUAL, REFUSED
from conch_ollama.errors import BadTemplateError

_MARK = "ZqS0qZ"


@dataclass(frozen=True)
class Candidate:
    """`changes`: in words, for a reader."""

    jinja: JinjaTemplate
    changes: tuple[str, ...]


def candidates(jinja: JinjaTemplate) -> Iterator[Candidate]:
    """Each renders, for transformers, every conversation of the corpus as `jinja` does, today and on other days."""
    held: list[str] = [jinja.source]
    known = References(jinja)
    references = (*known.plain, *known.others)
    for source, changes in _texts(jinja):
        if source in held:
            continue
        held.append(source)
        try:
            found = other_words(jinja, source)
        except BadTemplateError:
            continue
        if is_same(jinja, found, references):
            yield Candidate(found, changes)


def other_words(jinja: JinjaTemplate, source: str) -> JinjaTemplate:
    """Another source with the same tokens."""
    return JinjaTemplate(
        source, bos_token=jinja.bos_token, eos_token=jinja.eos_token, special_tokens=jinja.special_tokens
    )


def is_same(jinja: JinjaTemplate, other: JinjaTemplate, references: tuple[Reference, ...]) -> bool:
    """Whether transformers renders both alike, also where no answer is asked for and on another day."""

    def render(one: Conversation) -> str:
        text = refer(other, one).text
        if text is None:
            raise BadTemplateError("refused")
        return text

    proof = engine_proof(jinja, render, references=references)
    if any(one.verdict not in (EQUAL, REFUSED) for one in proof.classes.values()):
        return False
    sample = [one.conversation for one in references if one.text is not None][::7]
    if any(_closed(jinja, one) != _closed(other, one) for one in sample):
        return False
    moment = datetime.now() + timedelta(days=400)
    dates = [one for one in sample[:5] if is_dated(jinja)]
    return all(refer(jinja.at(moment), one) == refer(other.at(moment), one) for one in dates)


def _closed(jinja: JinjaTemplate, one: Conversation) -> str | None:
    try:
        return jinja.render(one.messages, add_generation_prompt=False, tools=one.tools)
    except BadTemplateError:
        return None


def _texts(jinja: JinjaTemplate) -> Iterator[tuple[str, tuple[str, ...]]]:
    told = refer(jinja, conversation("", ("s", _MARK), ("u", "Hi"))).text
    dropped = told is not None and _MARK not in told
    for thinking in (None, True, False) if "enable_thinking" in jinja.source else (None,):
        found = rewrite(jinja.source, system_is_dropped=dropped, thinking_left_open=thinking)
        if found.changes:
            yield found.source, found.changes
