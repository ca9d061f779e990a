"""Holds the prompt that was trained against the tokenizer's own chat template: where they part, and how.

Says nothing of which is right: what was trained is what a model answers well to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from conch_ollama.chat_template.compare import Reference, References
from conch_ollama.chat_template.conversations import ODD_KIND, PLAIN, Conversation
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.verdicts import diff


@dataclass(frozen=True)
class Difference:
    """The first conversation on which two templates differ; None for a text that a template refuses to make.

    `diff` is a unified diff, the tokenizer's side first. `kinds`: every class of conversations with a difference.
    """

    conversation: Conversation
    trained: str | None
    own: str | None
    diff: str
    kinds: tuple[str, ...]

    @property
    def is_serious(self) -> bool:
        """Whether it shows in an ordinary conversation, not only in blank texts and the like."""
        return self.kinds != (ODD_KIND,)

    @property
    def summary(self) -> str:
        """One line for a warning."""
        if self.own is None:
            return f"the tokenizer's chat template refuses what was trained, in: {', '.join(self.kinds)}"
        if self.trained is None:
            return f"the tokenizer's chat template renders what training refuses, in: {', '.join(self.kinds)}"
        return f"the tokenizer's chat template is not what was trained, in: {', '.join(self.kinds)}"


def mismatch(trained: JinjaTemplate, own: JinjaTemplate) -> Difference | None:
    """The first plain conversation that `trained` and `own` render otherwise, or None; a BOS in front doesn't count.

    A difference in text goes before one where either refuses. A date is taken as it is now, the same on both sides.
    """
    moment = datetime.now()
    pairs = list(_pairs(trained.at(moment), own.at(moment)))
    differing = [pair for pair in pairs if _text(pair[0], trained) != _text(pair[1], own)]
    found = [pair for pair in differing if None not in (pair[0].text, pair[1].text)] or differing
    if not found:
        return None
    kinds = {reference.conversation.kind for reference, _ in found}
    first = min(found, key=lambda pair: PLAIN.index(pair[0].conversation.kind))
    ours, theirs = _text(first[0], trained), _text(first[1], own)
    return Difference(
        conversation=first[0].conversation,
        trained=ours,
        own=theirs,
        diff=diff(_shown(theirs, first[1]), _shown(ours, first[0]), "what was trained"),
        kinds=tuple(kind for kind in PLAIN if kind in kinds),
    )


def _pairs(trained: JinjaTemplate, own: JinjaTemplate) -> Iterator[tuple[Reference, Reference]]:
    return zip(References(trained).committed, References(own).committed, strict=True)


def _text(reference: Reference, jinja: JinjaTemplate) -> str | None:
    return None if reference.text is None else reference.text.removeprefix(jinja.bos_token)


def _shown(text: str | None, reference: Reference) -> str:
    return f"[refused] {reference.fault}".rstrip() if text is None else text
