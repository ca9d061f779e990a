"""Other words for a chat template that another engine renders otherwise: those that transformers renders alike.

Candidates only, the nearest to the original first; whether the engine renders one as it should, a proof has to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from conch_ollama.chat_template.compare import Reference, is_dated, refer
from conch_ollama.chat_template.conversations import PLAIN, Conversation, conversation
from conch_ollama.chat_template.engines import engine_proof
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.plain_jinja.rewrite import rewrite
from conch_ollama.chat_template.plain_jinja.writer import plain_jinjas
from conch_ollama.chat_template.verdicts import EQUAL, REFUSED
from conch_ollama.errors import BadTemplateError

_MARK = "ZqS0qZ"
#: Asked to find out what an engine says by itself.
QUESTION = conversation("", ("u", "Hi"))


@dataclass(frozen=True)
class Candidate:
    """`changes`: in words, for a reader."""

    source: str
    changes: tuple[str, ...]


def candidates(
    jinja: JinjaTemplate, references: Sequence[Reference], *, thinking: bool | None = None
) -> Iterator[Candidate]:
    """Each renders, for transformers, the `references` of `jinja` as they are: first those that render all of them,
    then plain ones, which know nothing of tools. `thinking`: the engine says this of it where nothing is said, and the
    template tells that apart. Raises BadTemplateError where the template refuses one question."""
    plain = [one for one in references if one.conversation.kind in PLAIN]
    told = refer(jinja, conversation("", ("s", _MARK), ("u", "Hi"))).text
    dropped = told is not None and _MARK not in told
    values = dict.fromkeys((thinking, None, True, False)) if "enable_thinking" in jinja.source else (None,)
    held = [jinja.source]
    for value in values:
        found = rewrite(jinja.source, system_is_dropped=dropped, thinking_left_open=value)
        if found.source not in held and is_same(jinja, found.source, references):
            yield Candidate(found.source, found.changes)
        held.append(found.source)
    for source in plain_jinjas(jinja):
        for value in values:
            found = rewrite(source, system_is_dropped=dropped, thinking_left_open=value)
            if not is_same(jinja, found.source, plain):
                break
            yield Candidate(found.source, ("written anew, without tools", *found.changes))


def thinking_said(jinja: JinjaTemplate, rendered: str) -> bool | None:
    """What the engine that rendered the QUESTION so says of thinking by itself, if the template tells that apart."""
    open_ = refer(jinja, QUESTION).text
    said = {value: refer(jinja, replace(QUESTION, think=value)).text for value in (True, False)}
    return next((value for value, text in said.items() if rendered == text != open_), None)


def is_same(jinja: JinjaTemplate, source: str, references: Sequence[Reference]) -> bool:
    """Whether transformers renders both alike, also where no answer is asked for and on another day."""
    try:
        other = JinjaTemplate(
            source, bos_token=jinja.bos_token, eos_token=jinja.eos_token, special_tokens=jinja.special_tokens
        )
    except BadTemplateError:
        return False

    def render(one: Conversation) -> str:
        found = refer(other, one)
        if found.text is None:
            raise BadTemplateError(found.fault or "refused")
        return found.text

    proof = engine_proof(jinja, render, references=references)
    if any(one.verdict not in (EQUAL, REFUSED) for one in proof.classes.values()):
        return False
    sample = [one.conversation for one in references if one.text is not None][::5]
    if any(_closed(jinja, one) != _closed(other, one) for one in sample):
        return False
    later = datetime.now() + timedelta(days=400)
    return not is_dated(jinja) or all(
        refer(jinja.at(later), one).text == refer(other.at(later), one).text for one in sample[:5]
    )


def _closed(jinja: JinjaTemplate, one: Conversation) -> str | None:
    try:
        return jinja.render(one.messages, add_generation_prompt=False, tools=one.tools)
    except BadTemplateError:
        return None
