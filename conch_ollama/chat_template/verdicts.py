"""What comparing a TEMPLATE with a Jinja comes to: a verdict for each class of conversations, and the whole.

Plain results; how they are found is `prove.py`'s business.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from conch_ollama.chat_template.conversations import PLAIN, Conversation

EQUAL, REFUSED, DIFFERS, ALTERED = "equal", "refused by the Jinja", "differs", "altered by Ollama"
NOT_EXPRESSIBLE = "not expressible"
#: Where tools are: the same text and the same data, but for spacing, key order and escapes of the JSON.
EQUAL_JSON = "equal but for JSON spacing and key order"
_ORDER = (REFUSED, EQUAL, EQUAL_JSON, ALTERED, NOT_EXPRESSIBLE, DIFFERS)


@dataclass(frozen=True)
class Server:
    """What the server adds and strips: `bos` in front, old thoughts by the model's architecture and name.

    `bos_is_written`: the Jinja writes it too. If it doesn't, a BOS at a prompt's start is a user's text.
    """

    add_bos: bool
    bos: str
    family: str = ""
    name: str = ""
    bos_is_written: bool = True

    def without_bos(self, text: str) -> str:
        """What the TEMPLATE has to render: the server puts the BOS in front by itself."""
        return text.removeprefix(self.bos) if self.add_bos and self.bos_is_written else text


@dataclass(frozen=True)
class ClassVerdict:
    """The worst verdict of a class (refusals count only if there is nothing else), and the first conversation that
    differs, with a unified diff in which the Jinja's side is `-`. Where no TEMPLATE can be equal: the `construct` of
    the Jinja that stands in the way, and the `limit` of Go or Ollama that it meets."""

    verdict: str
    conversation: Conversation | None = None
    diff: str = ""
    construct: str = ""
    limit: str = ""

    def and_then(self, other: ClassVerdict) -> ClassVerdict:
        return other if _ORDER.index(other.verdict) > _ORDER.index(self.verdict) else self

    @property
    def holds(self) -> bool:
        return self.verdict in (EQUAL, EQUAL_JSON, REFUSED)


def by_class(found: Iterable[tuple[str, str, Callable[[], ClassVerdict]]]) -> dict[str, ClassVerdict]:
    """The worst verdict of each class, from (class, verdict, what makes the whole of it).

    The whole, which may come out milder, is made only where it could be worse than what is known: a diff takes time.
    """
    classes: dict[str, ClassVerdict] = {}
    for kind, verdict, make in found:
        known = classes.get(kind)
        if known is None:
            classes[kind] = make()
        elif _ORDER.index(verdict) > _ORDER.index(known.verdict):
            classes[kind] = known.and_then(make())
    return classes


def plainly_hold(classes: Mapping[str, ClassVerdict]) -> bool:
    """Whether every plain class is there and equal, or refused: what a proof is."""
    return all(kind in classes and classes[kind].holds for kind in PLAIN)


@dataclass(frozen=True)
class Proof:
    """A TEMPLATE held against a Jinja, class by class.

    `proven`: every plain class is equal or refused by the Jinja, and there is no `reason` against it ("date": the
    prompt depends on today's date; or what the compiler could not express). `altered`: conversations that Ollama
    changes before the TEMPLATE sees them (it strips old thoughts), which are a class of their own. `strategy`: where
    the TEMPLATE comes from: "given", "compiled" or "curated:<family>". `bos`: who puts the BOS there. `capabilities`:
    what Ollama will offer. `bypassed`: Ollama >= 0.30 takes the Jinja.
    """

    template: str
    proven: bool
    classes: Mapping[str, ClassVerdict]
    strategy: str = "given"
    stops: tuple[str, ...] = ()
    system_default: str | None = None
    reason: str = ""
    altered: tuple[Conversation, ...] = ()
    bos: str = "none"
    capabilities: frozenset[str] = frozenset()
    bypassed: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    features: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def equal_classes(self) -> int:
        return sum(one.verdict in (EQUAL, EQUAL_JSON) for one in self.classes.values())


def diff(wanted: str, rendered: str, name: str) -> str:
    """A unified diff, the Jinja's side first."""
    lines = difflib.unified_diff(
        wanted.splitlines(keepends=True), rendered.splitlines(keepends=True), "the model's chat template", name
    )
    return "".join(line if line.endswith("\n") else line + "\n\\ no line feed at the end\n" for line in lines)
