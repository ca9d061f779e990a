"""Compares one TEMPLATE with a model's Jinja on one conversation or on all: the only place where that is done.

Equal means the same bytes, the server's BOS taken off the Jinja's side; with a tokenizer also the same token ids. Where
tools are, JSON may be written otherwise, which is a verdict of its own (see `json_equality.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from conch_ollama.chat_template.conversations import (
    CONVERSATIONS,
    ODD_KIND,
    PLAIN,
    TOOL_KINDS,
    Conversation,
    conversation,
)
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.json_equality import equal_but_for_json, strings_of
from conch_ollama.chat_template.ollama_render import OllamaTemplate, check_truncations, prepare
from conch_ollama.chat_template.own_conversations import own_conversations
from conch_ollama.chat_template.verdicts import ALTERED, DIFFERS, EQUAL, EQUAL_JSON, REFUSED, Server
from conch_ollama.errors import BadTemplateError, TemplateRefusedError

Tokenizer = Callable[[str], Sequence[int]]


@dataclass(frozen=True)
class Reference:
    """`text` is None where the Jinja refuses the conversation; `fault`: or where it just fails."""

    conversation: Conversation
    text: str | None
    fault: str = ""


@dataclass(frozen=True)
class Compared:
    """`rendered`: what the TEMPLATE made of it, or the error in brackets."""

    reference: Reference
    verdict: str
    rendered: str

    @property
    def wanted(self) -> str:
        """The Jinja's prompt, or its error in brackets."""
        return self.reference.text or (f"[{self.reference.fault}]" if self.reference.fault else "")


class References:
    """A Jinja's prompts, each class rendered once and only when it is asked for: of the committed corpus, and of what
    the Jinja itself asks about. `dated`: they are of this day."""

    def __init__(self, jinja: JinjaTemplate, *, dated: bool = False) -> None:
        self.jinja = jinja
        self.dated = dated

    @cached_property
    def committed(self) -> list[Reference]:
        """The plain classes of the corpus, the same conversations for every Jinja."""
        return [refer(self.jinja, one) for one in CONVERSATIONS if one.kind in PLAIN]

    @cached_property
    def plain(self) -> list[Reference]:
        return [*self.committed, *(refer(self.jinja, one) for one in own_conversations(self.jinja.source))]

    @cached_property
    def others(self) -> list[Reference]:
        return [refer(self.jinja, one) for one in CONVERSATIONS if one.kind not in PLAIN]


def server_for(jinja: JinjaTemplate, add_bos: bool, bos: str, family: str = "", name: str = "") -> Server:
    """Finds out whether the Jinja writes the BOS itself. Raises BadTemplateError where it refuses a single question."""
    question = conversation("", ("u", "Hi"))
    texts = [
        jinja.render(question.messages),
        refer(jinja, conversation("", ("s", "Be brief."), ("u", "Hi"))).text or "",
    ]
    return Server(add_bos, bos, family, name, bool(bos) and any(text.startswith(bos) for text in texts))


def refer(jinja: JinjaTemplate, one: Conversation) -> Reference:
    options: dict[str, Any] = {} if one.think is None else {"enable_thinking": one.think}
    try:
        text = jinja.render(one.messages, continue_final_message=one.is_prefill, tools=one.tools, **options)
    except TemplateRefusedError:
        return Reference(one, None)
    except BadTemplateError as err:
        return Reference(one, None, "" if _can_render(jinja, one) else err.message)
    return Reference(one, text)


def _can_render(jinja: JinjaTemplate, one: Conversation) -> bool:
    """Whether only continuing the last answer fails: that transformers refuses, not the template."""
    if not one.is_prefill:
        return False
    try:
        jinja.render(one.messages)
    except BadTemplateError:
        return False
    return True


def is_dated(jinja: JinjaTemplate) -> bool:
    """Whether any prompt depends on today's date, which no TEMPLATE of Ollama 0.9 can say."""
    if "strftime_now" not in jinja.source:
        return False
    moments = [datetime(2001, 2, 3, 4, 5, 6), datetime(2012, 11, 20, 19, 38, 47)]
    clocks = [jinja.at(moment) for moment in moments]
    chats = [one for one in CONVERSATIONS if one.kind != ODD_KIND]
    return any(len({refer(clock, one).text for clock in clocks}) > 1 for one in chats)


def compare(
    template: OllamaTemplate, references: Iterable[Reference], server: Server, tokenizer: Tokenizer | None = None
) -> Iterator[Compared]:
    """A verdict for each, lazily, so that a search can stop at the first difference."""
    for reference in references:
        verdict, rendered = _verdict(template, reference, server)
        if (
            verdict in (EQUAL, ALTERED)
            and tokenizer is not None
            and not _same_ids(tokenizer, reference, rendered, server)
        ):
            verdict = DIFFERS
        yield Compared(reference, verdict, rendered)


def _verdict(template: OllamaTemplate, reference: Reference, server: Server) -> tuple[str, str]:
    one = reference.conversation
    if reference.text is None:
        fails = reference.fault and one.kind in PLAIN  # a broken template, not one that refuses
        return (DIFFERS, "") if fails else (REFUSED, "")
    ready = prepare(one.messages, system=None, family=server.family, name=server.name)
    try:
        rendered = template.execute(one.messages, one.tools, one.think)
        if one.kind != ODD_KIND:  # which errors there are depends on the roles, not on the texts
            whole_is_rendered = one.tools is None and one.think is None
            check_truncations(template, one.messages, start=1 if whole_is_rendered else 0)
        served = rendered if ready == list(one.messages) else template.execute(ready, one.tools, one.think)
    except BadTemplateError as err:
        return DIFFERS, f"[{err.message}]"
    verdict = likeness(one, server.without_bos(reference.text), rendered)
    return (ALTERED if verdict != DIFFERS and served != rendered else verdict), rendered


def likeness(one: Conversation, wanted: str, rendered: str) -> str:
    """EQUAL, EQUAL_JSON (only where there are tools) or DIFFERS."""
    if rendered == wanted:
        return EQUAL
    contents = [str(message.get("content") or "") for message in one.messages]
    alike = one.kind in TOOL_KINDS and equal_but_for_json(wanted, rendered, contents, _tool_data(one))
    return EQUAL_JSON if alike else DIFFERS


#: Strings of every tool or JSON schema: they tell nothing.
_COMMON = {"type", "function", "name", "description", "parameters", "properties", "required", "arguments", "object"}


def _tool_data(one: Conversation) -> set[str]:
    """The strings that make a JSON value one of this conversation's tools, calls or results."""
    results = [str(message.get("content") or "") for message in one.messages if message["role"] == "tool"]
    calls = [message.get("tool_calls") or () for message in one.messages]
    found = {*strings_of(one.tools or ()), *strings_of(calls)} - _COMMON - {"string"}
    return {*found, *results, *(text.strip() for text in results)}


def _same_ids(tokenizer: Tokenizer, reference: Reference, rendered: str, server: Server) -> bool:
    """Whether the texts are the same tokens, one BOS at the start of either not counted."""
    bos = list(tokenizer(server.bos)) if server.bos else []
    ids = [list(tokenizer(text)) for text in (reference.text or "", rendered)]
    stripped = [one[len(bos) :] if bos and one[: len(bos)] == bos else one for one in ids]
    return stripped[0] == stripped[1]
