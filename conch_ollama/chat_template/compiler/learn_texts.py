"""What becomes of one message's text: how it is trimmed, alone or with the system text, how a thought in it is told,
what stands for a message without one.

The part of `learn.py` that puts other texts into a message; which places there are, it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from conch_ollama.chat_template.compiler.learn_system import TEXTS, SystemLearner, between, filled, no_trim, said
from conch_ollama.chat_template.compiler.learn_thoughts import learn_thought
from conch_ollama.chat_template.compiler.model import NotExpressibleError, Pieces, Special, Thought
from conch_ollama.chat_template.compiler.observe import Observation
from conch_ollama.chat_template.compiler.probe import SYSTEM_MARK, WRAPPING, Probe
from conch_ollama.chat_template.compiler.trees import Place
from conch_ollama.chat_template.compiler.trims import END_OF_THOUGHT, SPACE, Trim, fitting, tagged
from conch_ollama.chat_template.conversations import EDGES, ODD, THOUGHTS

BLANKS = tuple(text for text in ODD if text and not text.strip())
BOTH = Trim(SPACE, SPACE)


@dataclass(frozen=True)
class Seen:
    """One message's surroundings, and where they were seen. The lead is without the opening."""

    lead: str
    tail: str
    observation: Observation
    at: int


class TextLearner(SystemLearner):
    """Remembers what was learnt of each place of a role."""

    def __init__(self, probe: Probe) -> None:
        super().__init__(probe)
        self._texts: dict[tuple[str, Place], tuple[Trim, Special]] = {}
        self._thoughts: dict[tuple[str, Place], Thought | None] = {}
        self._togethers: dict[tuple[str, Place], tuple[Pieces, Pieces] | None] = {}

    def known_text(self, role: str, place: Place, row: Seen) -> tuple[Trim, Special]:
        if (role, place) not in self._texts:
            self._texts[role, place] = self._text(role, row)
            self._thoughts[role, place] = self._thought(role, row, self._texts[role, place][0])
        return self._texts[role, place]

    def known_together(
        self, role: str, place: Place, row: Seen, lead: Pieces, texts: Mapping[Place, tuple[Trim, Special]]
    ) -> tuple[Pieces, Pieces] | None:
        if (role, place) not in self._togethers:
            self._togethers[role, place] = self._together(row, lead, *texts[place])
        return self._togethers[role, place]

    def _text(self, role: str, row: Seen) -> tuple[Trim, Special]:
        one, at = row.observation, row.at
        before, after = one.around(at)
        texts, tags = [text for text in TEXTS if role != "user" or WRAPPING[0] not in text], self.probe.tags
        seen = {text: self.probe.render(one.shape.messages({at: text})) for text in (*texts, *THOUGHTS, *tagged(tags))}

        def holds(trim: Trim, text: str) -> bool:
            return seen[text] in (None, before + trim(text) + after)

        def shown(text: str) -> str | None:
            found = self.probe.render(one.shape.messages({at: text}))
            return between(found, before, after)

        trim = fitting(seen, holds, tags=tags) or fitting(texts, holds, shown, tags) or no_trim(role)
        found: dict[str, Pieces | None] = {}
        for kind, texts in (("empty", [""]), ("blank", [text for text in BLANKS if not trim(text)])):
            odd = [text for text in texts if not holds(trim, text)]
            if odd:
                found[kind] = self._without_text(row, seen[odd[0]] or "", odd[0])
        return trim, Special(found.get("empty"), found.get("blank"))

    def told(self, role: str, rows: Mapping[Place, Seen]) -> dict[Place, Thought | None]:
        """How thoughts are told in each place: as in the last answer, where several ways would do."""
        found = {place: self._thoughts.get((role, place - {"tools"})) for place in rows}
        last = next((thought for place, thought in found.items() if thought is not None and "final" in place), None)
        return {place: thought if thought is None or last is None else last for place, thought in found.items()}

    def _thought(self, role: str, row: Seen, trim: Trim) -> Thought | None:
        """What becomes of a thought in an answer, where that is not cut off with all that the text loses."""
        one, at = row.observation, row.at

        def render(text: str) -> str | None:
            return self.probe.render(one.shape.messages({at: text}))

        if role != "assistant" or trim.cut is not None or END_OF_THOUGHT not in self.probe.jinja.source:
            return None
        return learn_thought(render, *one.around(at), (row.lead, row.tail), trim)

    def _together(self, row: Seen, lead: Pieces, trim: Trim, special: Special) -> tuple[Pieces, Pieces] | None:
        """(lead, what follows it) where system text and message are trimmed as one; None where each is by itself."""
        if SYSTEM_MARK not in row.lead:
            return None
        one, at = row.observation, row.at
        before, after = one.around(at)
        head, rest = before[: len(before) - len(row.lead)], after[len(row.tail) :]
        given = [text for text in EDGES if self.system_trim(text)]
        seen = {
            (system, text): self.probe.render(one.shape.messages({at: text}, system))
            for system in given
            for text in EDGES
        }

        def holds(shown: Callable[[str, str], str]) -> bool:
            return all(
                found in (None, filled(head, self.system_trim(system)) + shown(system, text) + rest)
                for (system, text), found in seen.items()
            )

        def alone(system: str, text: str) -> str:
            instead = special.blank if text else special.empty
            usual = (*lead, trim(text), *self.pieces(row.tail))
            return said(usual if trim(text) or instead is None else instead, system)

        if holds(alone):
            return None
        for inner in range(len(lead)):

            def as_one(system: str, text: str, inner: int = inner) -> str:
                return said(lead[:inner], system) + BOTH(said(lead[inner:], system) + text) + row.tail

            if holds(as_one):
                return lead[:inner], lead[inner:]
        return None

    def _without_text(self, row: Seen, seen: str, text: str) -> Pieces:
        """What stands for a whole message whose text is empty or blank, where that is not just lead and tail."""
        one, at = row.observation, row.at
        before, after = one.around(at)
        head, rest = before[: len(before) - len(row.lead)], after[len(row.tail) :]
        if not seen.startswith(head) or not seen.endswith(rest) or len(seen) < len(head + rest):
            role = one.shape.roles[at]
            raise NotExpressibleError(
                f"an empty text of the {role} that changes its neighbours", "a message's rules see its own text only"
            )
        alone = seen[len(head) : len(seen) - len(rest)]
        if SYSTEM_MARK not in alone:
            return self.pieces(alone)

        def holds(trim: Trim, system: str) -> bool:
            other = self.probe.render(one.shape.messages({at: text}, system))
            return other in (None, filled(seen, trim(system)))

        return self.pieces(alone, fitting(TEXTS, holds) or no_trim("system"))
