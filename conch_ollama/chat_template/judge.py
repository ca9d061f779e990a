"""From the comparisons of one TEMPLATE with a Jinja to a verdict for each class of conversations, and to a proof.

Compares nothing itself (`compare.py`) and chooses nothing (`prove.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

from conch_ollama.chat_template.capabilities import go_capabilities, is_bypassed
from conch_ollama.chat_template.compare import Compared, Tokenizer, likeness
from conch_ollama.chat_template.conversations import PLAIN
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.ollama_render import OllamaTemplate, collate
from conch_ollama.chat_template.tool_limits import tool_limit
from conch_ollama.chat_template.verdicts import (
    ALTERED,
    DIFFERS,
    EQUAL,
    NOT_EXPRESSIBLE,
    ClassVerdict,
    Proof,
    Server,
    by_class,
    diff,
    plainly_hold,
)
from conch_ollama.errors import BadTemplateError

#: The class of conversations whose old answers Ollama changes before any TEMPLATE sees them, whatever class they were
#: written for. It never stands in the way of a proof, and it is always named.
ALTERED_KIND = "blank or thoughtful old answers"
_IN_A_ROW = "messages of one role in a row, each rendered by itself"
_JOINED = "joins neighbouring messages of one role by an empty line before the TEMPLATE sees them"


@dataclass(frozen=True)
class Subject:
    """What is held against what, and how the server treats it. `tokenizer`: for the ids, where they can differ."""

    jinja: JinjaTemplate
    template: OllamaTemplate
    server: Server
    tokenizer: Tokenizer | None = None


@dataclass(frozen=True)
class Judged:
    """A proof, and how many of the plain conversations were equal: which of two unproven ones is nearer."""

    proof: Proof
    equal: int


def judge(subject: Subject, compared: Iterable[Compared], *, reason: str = "", strategy: str = "given") -> Judged:
    """`reason`: what speaks against a proof whatever the comparisons say (the date)."""
    found = list(compared)
    altered = tuple(one.reference.conversation for one in found if one.verdict == ALTERED)
    equal = sum(one.verdict == EQUAL and one.reference.conversation.kind in PLAIN for one in found)
    classes = by_class((_class_of(one), one.verdict, partial(_verdict, subject, one)) for one in found)
    server, template = subject.server, subject.template
    proof = Proof(
        template=template.template.source,
        proven=not reason and plainly_hold(classes),
        classes=classes,
        strategy=strategy,
        reason=reason,
        altered=altered,
        bos=who_writes(server),
        capabilities=go_capabilities(template),
        bypassed=is_bypassed(template, subject.jinja.source),
        warnings=warnings(server),
    )
    return Judged(proof, equal)


def _class_of(one: Compared) -> str:
    return ALTERED_KIND if one.verdict == ALTERED else one.reference.conversation.kind


def _verdict(subject: Subject, one: Compared) -> ClassVerdict:
    if one.verdict == ALTERED:
        return ClassVerdict(ALTERED, one.reference.conversation)
    if one.verdict != DIFFERS:
        return ClassVerdict(one.verdict)
    lines = difference(subject, one)
    if one.reference.conversation.kind not in PLAIN and _only_joined(subject, one):
        roles = [message["role"] for message in one.reference.conversation.messages]
        twice = {role for role, following in pairwise(roles) if role == following}
        limit = f"Ollama {'before 0.9.6 ' if twice == {'tool'} else ''}{_JOINED}"
        return ClassVerdict(NOT_EXPRESSIBLE, one.reference.conversation, lines, _IN_A_ROW, limit)
    tools = tool_limit(subject.jinja, subject.server, one.reference.conversation, one.rendered)
    if tools is not None:
        return ClassVerdict(NOT_EXPRESSIBLE, one.reference.conversation, lines, *tools)
    return ClassVerdict(DIFFERS, one.reference.conversation, lines)


def difference(subject: Subject, one: Compared) -> str:
    """A diff of the two prompts, the server's BOS taken off the Jinja's; of the token ids where the texts are equal."""
    wanted = subject.server.without_bos(one.wanted)
    if wanted != one.rendered or subject.tokenizer is None or one.reference.text is None:
        return diff(wanted, one.rendered, "TEMPLATE")
    theirs, ours = list(subject.tokenizer(one.reference.text)), list(subject.tokenizer(one.rendered))
    at = next((n for n in range(1, min(len(theirs), len(ours)) + 1) if theirs[-n] != ours[-n]), 0)
    ends = f"the last {at - 1} tokens are equal, before them" if at > 1 else "the ids are"
    return (
        f"the same text, other token ids: {ends} …{theirs[-at - 4 : len(theirs) - at + 1]} in the original, with the "
        f"BOS in the text, and …{ours[-at - 4 : len(ours) - at + 1]} where the server puts the BOS in front\n"
    )


def _only_joined(subject: Subject, one: Compared) -> bool:
    """Whether the TEMPLATE renders what the Jinja renders of the messages as Ollama joins them."""
    chat = one.reference.conversation
    _, joined = collate(chat.messages, subject.template.version)
    if list(joined) == list(chat.messages):
        return False
    options: dict[str, Any] = {} if chat.think is None else {"enable_thinking": chat.think}
    try:
        text = subject.jinja.render(joined, continue_final_message=chat.is_prefill, tools=chat.tools, **options)
    except BadTemplateError:
        return False
    return likeness(chat, subject.server.without_bos(text), one.rendered) != DIFFERS


def who_writes(server: Server) -> str:
    """Who puts the BOS in front."""
    if server.add_bos and server.bos:
        return "added by the server"
    return "written by the TEMPLATE" if server.bos_is_written else "none"


def warnings(server: Server) -> tuple[str, ...]:
    """What the server does that the Jinja does not."""
    if server.add_bos and server.bos and not server.bos_is_written:
        return (f"the server puts {server.bos} in front, which the model's chat template does not",)
    return ()
