"""Numbers that a template prints by counting: rounds ("[Round 2]") or messages.

In what was observed a counted number becomes MARK; Go, which can't add, counts by the length of a growing text.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from conch_ollama.chat_template.compiler.writer import Writer

if TYPE_CHECKING:
    from conch_ollama.chat_template.compiler.observe import Observation

#: One character, as the numbers of the probes are: what is measured in lengths stays right.
MARK = "\ue0f7"
_NUMBER = re.compile(r"\d+")
_Column = tuple[str, int]


@dataclass(frozen=True)
class Count:
    """`of`: "rounds", "messages" (but the system's) or "all" messages; `start`: the first number."""

    of: str
    start: int

    def at(self, place: int, system: bool) -> int:
        """The number of the message at `place`, the system message not counted in it."""
        counted = place // 2 if self.of == "rounds" else place + (system and self.of == "all")
        return counted + self.start

    def begin(self, out: Writer) -> None:
        out.comment("Counts by the length of a text.")
        out.code('$count := ""')

    def step(self, out: Writer) -> None:
        """At each message, before it is printed."""
        test = {"rounds": 'eq .Role "user"', "messages": 'ne .Role "system"'}.get(self.of)
        with out.block(f"if {test}" if test else None):
            out.code('$count = print $count "."')

    def expression(self, in_prompt: bool) -> str:
        """The number, as Go says it; in the generation prompt that of the answer to come."""
        ahead = in_prompt and self.of != "rounds"
        if ahead:
            return 'len (print $count ".")' if self.start else "len $count"
        return "len $count" if self.start else "len (slice $count 1)"


COUNTS = tuple(Count(of, start) for of in ("rounds", "messages", "all") for start in (1, 0))


def counted(observations: Sequence[Observation], count: Count) -> list[Observation]:
    """The same with MARK in place of each number that is the count wherever it stands."""
    right: dict[_Column, bool] = defaultdict(lambda: True)
    seen: dict[_Column, set[int]] = defaultdict(set)
    for one in observations:
        for where, text, number in _texts(one, count):
            for column, found in _columns(where, text):
                right[column] &= found.group() == str(number)
                seen[column].add(number)
    columns = {column for column, holds in right.items() if holds and len(seen[column]) > 1}

    def marked(where: str, text: str) -> str:
        for column, found in reversed(list(_columns(where, text))):
            if column in columns:
                text = text[: found.start()] + MARK + text[found.end() :]
        return text

    return [
        replace(
            one,
            leads=tuple(marked(f"lead {at % 2}", text) for at, text in enumerate(one.leads)),
            tails=tuple(marked(f"tail {at % 2}", text) for at, text in enumerate(one.tails)),
            prompts=None if one.prompts is None else _three(marked("prompt", text) for text in one.prompts),
        )
        for one in observations
    ]


def _texts(one: Observation, count: Count) -> Iterator[tuple[str, str, int]]:
    system = one.shape.system is not None
    for where, texts in (("lead", one.leads), ("tail", one.tails)):
        for at, text in enumerate(texts):
            yield f"{where} {at % 2}", text, count.at(at, system)
    for text in one.prompts or ():
        yield "prompt", text, count.at(len(one.shape.roles), system)


def _columns(where: str, text: str) -> Iterator[tuple[_Column, re.Match[str]]]:
    """Numbers by their place: from the end in what stands before a text, since an opening may stand before that."""
    found = list(_NUMBER.finditer(text))
    for at, one in enumerate(found):
        yield (where, at if where.startswith("tail") else at - len(found)), one


def _three(texts: Iterator[str]) -> tuple[str, str, str]:
    first, second, third = texts
    return first, second, third


__all__ = ["COUNTS", "MARK", "Count", "counted"]
