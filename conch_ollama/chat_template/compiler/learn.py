"""From marked prompts to a model of the template: what each place in a conversation gets, and by which features.

Concludes from a few probes to all conversations, so it may be wrong: whoever uses the result has to prove it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from conch_ollama.chat_template.compiler.model import (
    Model,
    NotExpressibleError,
    Pieces,
    Place,
    Prompt,
    Special,
    Systems,
    SystemText,
    Tree,
    Turn,
    grow,
)
from conch_ollama.chat_template.compiler.observe import Observation, observe, observe_unasked, opening_of
from conch_ollama.chat_template.compiler.probe import SYSTEM_MARK, WRAPPING, Probe, Shape, parts_of
from conch_ollama.chat_template.compiler.trims import IDENTITY, Trim, fitting
from conch_ollama.chat_template.conversations import ODD, THOUGHTS
from conch_ollama.errors import BadTemplateError

T = TypeVar("T")
BLANKS = tuple(text for text in ODD if text and not text.strip())
_TEXTS = (*ODD, " a ", "\na\n", "\ta", "a\t", "\n a \n")
_SPACED = (" \n a \n ", "")
_LATER_MARK = "ZqS1qZ"


@dataclass(frozen=True)
class _Seen:
    """One message's surroundings, and where they were seen. The lead is without the opening."""

    lead: str
    tail: str
    observation: Observation
    at: int


def learn(probe: Probe) -> Model:
    """Raises NotExpressibleError where the template does not fit the model, BadTemplateError where it refuses all."""
    return _Learner(probe).model()


class _Learner:
    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.absent = observe(probe, None)
        self.present = observe(probe, SYSTEM_MARK)
        if not self.absent or self.absent[0].shape.users != 1:
            raise BadTemplateError("the chat template refuses a single question")
        self.system_trim = self._system_trim()

    def model(self) -> Model:
        empty, apart = self._stands_for("empty", [""])
        blanks = [text for text in BLANKS if not self.system_trim(text)]
        blank, also_apart = self._stands_for("blank", blanks)
        states = [(frozenset[str](), self.absent)]
        states += [(frozenset(("system",)), self.present)] if self.present else []
        states += [*apart, *also_apart]
        openings: dict[Place, Pieces] = {}
        turns: dict[str, dict[Place, _Seen]] = {"user": {}, "assistant": {}}
        prompts: dict[Place, Prompt] = {}
        for state, observations in states:
            opening = opening_of(observations)
            openings[state] = self._pieces(opening)
            for one in (*observations, *observe_unasked(self.probe, observations[0].shape.system)):
                for at, role in enumerate(one.shape.roles):
                    if one.shape.wrapped and at < len(one.shape.roles) - 1:
                        continue
                    seen = _Seen(one.leads[at].removeprefix(opening if at == 0 else ""), one.tails[at], one, at)
                    known = turns[role].setdefault(one.shape.place(at) | state, seen)
                    _same((known.lead, known.tail), (seen.lead, seen.tail), f"what stands around a text of the {role}")
                if one.prompts is not None:
                    place = one.shape.place(len(one.shape.roles) - 1) | state
                    prompt = Prompt(*(self._pieces(text) for text in one.prompts))
                    _same(prompts.setdefault(place, prompt), prompt, "the generation prompt")
        return Model(
            opening=_grown(openings, "the opening"),
            user=self._turn("user", turns["user"]),
            assistant=self._turn("assistant", turns["assistant"]) if turns["assistant"] else None,
            prompt=_grown(prompts, "the generation prompt"),
            systems=Systems(not self.present, empty, blank, self.system_trim, self._later_system()),
            default_system=self._default_system(),
            between_turns=self._between_turns(),
        )

    def _pieces(self, text: str, trim: Trim | None = None) -> Pieces:
        used = self.system_trim if trim is None else trim
        return tuple(SystemText(used) if part == SYSTEM_MARK else part for part in parts_of(text))

    # -- the system text

    def _system_trim(self) -> Trim:
        shown = [one for one in self.present if SYSTEM_MARK in one.text and one.shape.users <= 2]
        if not shown:
            return IDENTITY

        def holds(trim: Trim, text: str) -> bool:
            return all(self._with_system(one, text) in (None, _filled(one.text, trim(text))) for one in shown)

        return fitting((*_TEXTS, *THOUGHTS), holds) or fitting(_TEXTS, holds) or _no_trim("system")

    def _with_system(self, one: Observation, text: str) -> str | None:
        return self.probe.render(one.shape.messages(system=text))

    def _stands_for(self, kind: str, texts: Sequence[str]) -> tuple[str, list[tuple[Place, list[Observation]]]]:
        """What an empty or blank system text counts as, and what was seen if it has rules of its own."""
        as_present = as_absent = True
        for one in self.present:
            bare = Shape(None, one.shape.users, one.shape.prefill)
            places = [at for at, role in enumerate(one.shape.roles) if role == "user" and one.shape.users <= 2]
            chats: list[dict[int, str]] = [{}, *({at: odd} for at in places for odd in _SPACED)]
            for text, contents in ((text, contents) for text in texts for contents in chats):
                seen = self.probe.render(one.shape.messages(contents, text))
                if seen is None:
                    continue
                if as_present:
                    shown = self.probe.render(one.shape.messages(contents))
                    as_present = shown is not None and seen == _filled(shown, self.system_trim(text))
                as_absent = as_absent and seen == self.probe.render(bare.messages(contents))
        if as_present or as_absent:
            return ("present" if as_present else "absent"), []
        return "apart", [(frozenset(("system", kind)), observe(self.probe, texts[0]))]

    def _default_system(self) -> str | None:
        """The system text that is printed where there is no system message."""
        if not self.present:
            return None
        before, mark, after = self.present[0].text.partition(SYSTEM_MARK)
        text = self.absent[0].text
        if not mark or not text.startswith(before) or not text.endswith(after) or len(text) <= len(before + after):
            return None
        return text[len(before) : len(text) - len(after)]

    def _later_system(self) -> tuple[str, Trim, str] | None:
        """A system message between an answer and the next question, if it is printed where it stands."""
        one = next((one for one in self.absent if (one.shape.users, one.shape.prefill) == (2, False)), None)
        if one is None:
            return None
        plain = one.shape.messages()

        def with_system(text: str) -> str | None:
            return self.probe.render([*plain[:2], {"role": "system", "content": text}, *plain[2:]])

        seen = with_system(_LATER_MARK)
        head = one.text.partition(one.shape.mark(1))[0] + one.shape.mark(1) + one.tails[1]
        rest = one.text[len(head) :]
        if seen is None or not seen.startswith(head) or not seen.endswith(rest) or seen.count(_LATER_MARK) != 1:
            return None
        before, _, after = seen.partition(_LATER_MARK)
        trim = fitting(_TEXTS, lambda trim, text: with_system(text) in (None, before + trim(text) + after))
        tail = after[: len(after) - len(rest)]
        return None if trim is None else (before[len(head) :], trim, tail)

    # -- user and assistant

    def _turn(self, role: str, rows: Mapping[Place, _Seen]) -> Turn:
        texts = {place: self._text(role, row) for place, row in rows.items()}
        leads = {place: self._pieces(row.lead) for place, row in rows.items()}
        tails = {place: self._pieces(row.tail) for place, row in rows.items()}
        return Turn(
            _grown(leads, f"what stands before a text of the {role}"),
            _grown({place: trim for place, (trim, _) in texts.items()}, f"the trimming of a text of the {role}"),
            _grown(tails, f"what stands after a text of the {role}"),
            _grown({place: special for place, (_, special) in texts.items()}, f"an empty text of the {role}"),
        )

    def _text(self, role: str, row: _Seen) -> tuple[Trim, Special]:
        one, at = row.observation, row.at
        before, after = one.around(at)
        texts = [text for text in _TEXTS if role != "user" or WRAPPING[0] not in text]
        seen = {text: self.probe.render(one.shape.messages({at: text})) for text in (*texts, *THOUGHTS)}

        def holds(trim: Trim, text: str) -> bool:
            return seen[text] in (None, before + trim(text) + after)

        trim = fitting(seen, holds) or fitting(texts, holds) or _no_trim(role)
        found: dict[str, Pieces | None] = {}
        for kind, texts in (("empty", [""]), ("blank", [text for text in BLANKS if not trim(text)])):
            odd = [text for text in texts if not holds(trim, text)]
            if odd:
                found[kind] = self._without_text(row, seen[odd[0]] or "", odd[0])
        return trim, Special(found.get("empty"), found.get("blank"))

    def _without_text(self, row: _Seen, seen: str, text: str) -> Pieces:
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
            return self._pieces(alone)

        def holds(trim: Trim, system: str) -> bool:
            other = self.probe.render(one.shape.messages({at: text}, system))
            return other in (None, _filled(seen, trim(system)))

        return self._pieces(alone, fitting(_TEXTS, holds) or _no_trim("system"))

    def _between_turns(self) -> str:
        """From the end of an answer to the next question."""
        one = next((one for one in self.absent if one.shape.users == 2), None)
        return one.tails[1] + one.leads[2] if one is not None else ""


def _filled(text: str, system: str) -> str:
    return text.replace(SYSTEM_MARK, system)


def _no_trim(role: str) -> Trim:
    raise NotExpressibleError(
        f"a change to the {role}'s text", "only trimming of the ends and cutting off a thought are compiled"
    )


def _same(known: object, new: object, what: str) -> None:
    if known != new:
        raise NotExpressibleError(
            f"{what} depends on how many turns there are", "only first, last and other turns differ"
        )


def _grown(rows: Mapping[Place, T], what: str) -> Tree[T]:
    tree = grow(rows)
    if tree is None:
        raise NotExpressibleError(
            f"{what} depends on more than place and role", "only first, last and other turns differ"
        )
    return tree
