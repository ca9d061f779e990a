"""Holds what another Jinja engine makes of a chat template against what transformers makes of it, class by class.

Pure: the engine is a function from a conversation to a prompt. The conversations, and what equal means, are those of a
TEMPLATE's proof; what the engine renders where the Jinja itself refuses does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from conch_ollama.chat_template.compare import Reference, References, likeness, refer
from conch_ollama.chat_template.conversations import ODD_KIND, PLAIN, Conversation, conversation
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.verdicts import DIFFERS, REFUSED, ClassVerdict, by_class, diff, plainly_hold
from conch_ollama.errors import BadTemplateError

Render = Callable[[Conversation], str]
#: What stands behind a text that is to be continued while it goes through the template: transformers' own way.
_TAG = "CONTINUE_FINAL_MESSAGE_TAG "
#: Texts in which an engine of bytes, or of ASCII, shows itself: letters with and without case, words far apart, one
#: byte fewer or more than characters.
_TELLING = (
    "École ÄÖÜ ß éà İı ﬁn ΑΩ σς дЖ",
    "é",
    "aé你👩 b",
    " two  spaces\tand\n\nlines ",
    "a\x85b\u2028c\r\nd\x1ce\x0bf",
    "你" * 70,
)


@dataclass(frozen=True)
class EngineProof:
    """`proven`: every plain class is equal, or the Jinja refuses it. `reason`: why not, where no class says it."""

    proven: bool
    classes: Mapping[str, ClassVerdict]
    reason: str = ""

    @property
    def equal(self) -> int:
        """How many classes hold, the plain ones first of all."""
        return sum((len(PLAIN) if kind in PLAIN else 1) * one.holds for kind, one in self.classes.items())


def references_for(jinja: JinjaTemplate, known: References | None = None) -> tuple[Reference, ...]:
    """What transformers renders of the corpus (`known`, where that has been rendered already), and of some texts more
    that tell engines apart."""
    known = known or References(jinja)
    return (*known.plain, *known.others, *(refer(known.jinja, one) for one in _telling()))


def _telling() -> Iterator[Conversation]:
    for text in _TELLING:
        yield conversation(ODD_KIND, ("s", text), ("u", text))
        yield conversation(ODD_KIND, ("u", text), ("a", text), ("u", text))
        yield conversation(ODD_KIND, ("u", "Hi"), ("a", text))


def engine_proof(
    jinja: JinjaTemplate,
    render: Render,
    *,
    engine: str = "llama.cpp",
    bos_token: str = "",
    references: Iterable[Reference] | None = None,
    spread: Callable[[Render, Iterable[Conversation]], Iterable[str]] = map,
) -> EngineProof:
    """Whether the engine renders what `jinja` renders, on every class of conversations.

    `render` raises BadTemplateError where the engine's template refuses or fails; a conversation that ends with an
    answer is one to continue. `spread` maps it over conversations (a pool's `map`). A leading BOS is taken off both
    sides; the same bytes are then the same token ids. Other errors of `render` pass.
    """
    held = list(references if references is not None else references_for(jinja))

    def rendered(one: Conversation) -> str:
        try:
            return render(one)
        except BadTemplateError as err:
            return f"[{err.message}]"

    def verdicts() -> Iterator[tuple[str, str, Callable[[], ClassVerdict]]]:
        answers = iter(spread(rendered, [one.conversation for one in held if one.text is not None]))
        for one in held:
            verdict, wanted, found = _verdict(one, next(answers) if one.text is not None else "", bos_token)
            yield one.conversation.kind, verdict, partial(_whole, one, verdict, wanted, found, engine)

    classes = by_class(verdicts())
    return EngineProof(plainly_hold(classes), classes)


def _verdict(one: Reference, rendered: str, bos_token: str) -> tuple[str, str, str]:
    """(verdict, the prompt that transformers makes, the engine's), the BOS off both."""
    if one.text is None:
        broken = one.fault and one.conversation.kind in PLAIN
        return DIFFERS if broken else REFUSED, "", ""
    wanted, found = one.text.removeprefix(bos_token), rendered.removeprefix(bos_token)
    return likeness(one.conversation, wanted, found), wanted, found


def _whole(one: Reference, verdict: str, wanted: str, found: str, engine: str) -> ClassVerdict:
    if verdict != DIFFERS:
        return ClassVerdict(verdict)
    return ClassVerdict(DIFFERS, one.conversation, one.fault if one.text is None else diff(wanted, found, engine))


def open_ended(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages with a tag behind the last text, for `cut_open` to find in the prompt."""
    chat = [dict(message) for message in messages]
    chat[-1]["content"] = f"{chat[-1].get('content') or ''}{_TAG}"
    return chat


def cut_open(text: str, final: str) -> str:
    """The prompt up to the tag. A template that trims takes the tag's own space too; so is what precedes it.

    Raises BadTemplateError where the last text is not in the prompt.
    """
    tag = _TAG.strip()
    if tag not in text or final.strip() not in text:
        raise BadTemplateError("the final message does not come back from the chat template as it was")
    at = text.rindex(tag)
    return text[:at] if text.startswith(_TAG, at) else text[:at].rstrip()
