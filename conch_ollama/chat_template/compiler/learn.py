"""From marked prompts to a model of the template: what each place in a conversation gets, and by which features.

Concludes from a few probes to all conversations, so it may be wrong: whoever uses the result has to prove it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from conch_ollama.chat_template.compiler.counts import COUNTS
from conch_ollama.chat_template.compiler.learn_system import filled
from conch_ollama.chat_template.compiler.learn_texts import BLANKS, BOTH, Seen, TextLearner
from conch_ollama.chat_template.compiler.learn_tools import PROBED_TOOLS, ToolLearner, are_shown, results_alone
from conch_ollama.chat_template.compiler.model import (
    Model,
    NotExpressibleError,
    Pieces,
    Prompt,
    Results,
    Special,
    Systems,
    Turn,
)
from conch_ollama.chat_template.compiler.observe import Observation, observe, observe_unasked, opening_of
from conch_ollama.chat_template.compiler.probe import SYSTEM_MARK, Probe, Shape
from conch_ollama.chat_template.compiler.trees import Place, Tree, grow
from conch_ollama.chat_template.compiler.trims import IDENTITY, Trim

T = TypeVar("T")
MANY_TURNS = "depends on how many turns there are"


@dataclass(frozen=True)
class _State:
    """Conversations that have something in common: a system text, tools. `probe` shows wrapped questions."""

    place: Place
    observations: Sequence[Observation]
    probe: Probe | None

    def unasked(self) -> Sequence[Observation]:
        """Answers to nothing but wrapped tool results."""
        return observe_unasked(self.probe, self.observations[0].shape.system) if self.probe is not None else ()


def learn(probe: Probe, *, tools: bool = True) -> Model:
    """As `_learn`; where something hangs on how many turns there are, once more with what is counted taken out."""
    try:
        return _learn(probe, tools=tools)
    except NotExpressibleError as err:
        if not err.found.construct.endswith(MANY_TURNS):
            raise
        for count in COUNTS:
            with suppress(NotExpressibleError):
                return replace(_learn(probe.counting(count), tools=False), count=count)
        raise


def _learn(probe: Probe, *, tools: bool) -> Model:
    """With `tools` if the template shows them and it can be learnt how, else without.

    Raises NotExpressibleError where the template does not fit the model, BadTemplateError where it refuses all."""
    learner = _Learner(probe)
    model = learner.model()
    shown = probe.with_tools(PROBED_TOOLS)
    if not tools or not are_shown(shown):
        return model
    try:
        return learner.model_with_tools(shown)
    except NotExpressibleError as err:
        return replace(model, beyond=err.found)


class _Learner(TextLearner):
    def __init__(self, probe: Probe) -> None:
        super().__init__(probe)
        self.empty, apart = self.stands_for("empty", [""])
        blanks = [text for text in BLANKS if not self.system_trim(text)]
        self.blank, also_apart = self.stands_for("blank", blanks)
        self.states = [_State(frozenset(), self.absent, probe)]
        self.states += [_State(frozenset(("system",)), self.present, probe)] if self.present else []
        self.states += [_State(place, observations, probe) for place, observations in (*apart, *also_apart)]

    def model_with_tools(self, shown: Probe) -> Model:
        """`shown`: the probe that declares PROBED_TOOLS."""
        states = [_State(frozenset(("tools",)), observe(shown, None), None)]
        if self.present:
            states.append(_State(frozenset(("tools", "system")), observe(shown, SYSTEM_MARK), None))
        answered = next((one for one in states[0].observations if one.shape.prefill), None)
        if answered is None:
            raise NotExpressibleError("tools without an answer", "only conversations with answers are compiled")
        tail, lead, prompt = answered.tails[0], answered.leads[1], _prompt_of(states[0].observations)
        calls, results = ToolLearner(shown, tail, lead, prompt).learn()
        model = self.model((*states, *self._empty_with_tools(shown)))
        return replace(model, calls=calls, results=results)

    def _empty_with_tools(self, shown: Probe) -> list[_State]:
        """An empty system text where tools are declared, if it does not count there as what it does elsewhere."""
        if not self.present or (seen := shown.render(Shape("", 1).messages())) is None:
            return []
        place = frozenset(("system", "empty"))
        mine = _State(place | {"tools"}, observe(shown, ""), None)
        if self.empty == "apart":
            return [mine]
        other = shown.render(Shape(None if self.empty == "absent" else SYSTEM_MARK, 1).messages())
        if other is None or seen == filled(other, ""):
            return []
        return [_State(place, observe(self.probe, ""), self.probe), mine]

    def model(self, more: Sequence[_State] = ()) -> Model:
        empty = "apart" if any("empty" in state.place for state in more) else self.empty
        openings: dict[Place, Pieces] = {}
        turns: dict[str, dict[Place, Seen]] = {"user": {}, "assistant": {}}
        prompts: dict[Place, Prompt] = {}
        for state in (*self.states, *more):
            opening = opening_of(state.observations)
            openings[state.place] = self.pieces(opening)
            for one in (*state.observations, *state.unasked()):
                for at, role in enumerate(one.shape.roles):
                    if one.shape.wrapped and (
                        role == "user" or (not one.shape.asked and at < len(one.shape.roles) - 1)
                    ):
                        continue
                    seen = Seen(one.leads[at].removeprefix(opening if at == 0 else ""), one.tails[at], one, at)
                    known = turns[role].setdefault(one.shape.place(at) | state.place, seen)
                    _same((known.lead, known.tail), (seen.lead, seen.tail), f"what stands around a text of the {role}")
                if one.prompts is not None:
                    place = one.shape.place(len(one.shape.roles) - 1) | state.place
                    prompt = Prompt(*(self.pieces(text) for text in one.prompts))
                    _same(prompts.setdefault(place, prompt), prompt, "the generation prompt")
        return Model(
            opening=_grown(openings, "the opening"),
            user=self._turn("user", turns["user"]),
            assistant=self._turn("assistant", turns["assistant"]) if turns["assistant"] else None,
            prompt=_grown(prompts, "the generation prompt"),
            systems=Systems(not self.present, empty, self.blank, self.system_trim, self.later_system()),
            default_system=self.default_system(),
            between_turns=self._between_turns(),
            results=self._results(),
        )

    def _results(self) -> Results | None:
        """A tool's result where no tools are shown: many templates print a message of any role."""
        one = next((one for one in self.absent if (one.shape.users, one.shape.prefill) == (2, False)), None)
        return results_alone(self.probe, one.tails[1], _prompt_of(self.absent)) if one is not None else None

    # -- user and assistant

    def _turn(self, role: str, rows: Mapping[Place, Seen]) -> Turn:
        texts = {place: self.known_text(role, place, row) for place, row in rows.items() if "tools" not in place}
        leads = {place: self.pieces(row.lead) for place, row in rows.items()}
        together: dict[Place, Pieces] = dict.fromkeys(rows, ())
        for place, row in rows.items():
            found = self.known_together(role, place, row, leads[place], texts) if place in texts else None
            if found is not None:
                leads[place], together[place], texts[place] = found[0], found[1], (BOTH, Special())
        for place in (place for place in rows if "tools" in place):
            texts[place] = _as_without_tools(rows, place, texts, together)
        tails = {place: self.pieces(row.tail) for place, row in rows.items()}
        thoughts = self.told(role, rows)
        for place, thought in thoughts.items():
            if thought is not None and not thought.whole.is_identity:
                texts[place] = IDENTITY, texts[place][1]
        return Turn(
            _grown(leads, f"what stands before a text of the {role}"),
            _grown(together, f"what is trimmed together with a text of the {role}"),
            _grown({place: trim for place, (trim, _) in texts.items()}, f"the trimming of a text of the {role}"),
            _grown(tails, f"what stands after a text of the {role}"),
            _grown({place: special for place, (_, special) in texts.items()}, f"an empty text of the {role}"),
            _grown(thoughts, f"a thought in a text of the {role}"),
        )

    def _between_turns(self) -> str:
        """From the end of an answer to the next question."""
        one = next((one for one in self.absent if one.shape.users == 2), None)
        return one.tails[1] + one.leads[2] if one is not None else ""


def _as_without_tools(
    rows: Mapping[Place, Seen],
    place: Place,
    texts: Mapping[Place, tuple[Trim, Special]],
    together: Mapping[Place, Pieces],
) -> tuple[Trim, Special]:
    """A text's trimming where tools are declared: as where there are none."""
    twin = place - {"tools"}
    around = [(rows[one].lead, rows[one].tail) if one in rows else None for one in (place, twin)]
    plain = twin in texts and texts[twin][1] == Special()
    if twin not in texts or together[twin] or not (plain or around[0] == around[1]):
        raise NotExpressibleError(
            "tools beside a text with rules of its own", "tools change nothing but what is around"
        )
    return texts[twin]


def _prompt_of(observations: Sequence[Observation]) -> str:
    """The generation prompt after one question."""
    return next((one.prompts[0] for one in observations if one.prompts is not None), "")


def _same(known: object, new: object, what: str) -> None:
    if known != new:
        raise NotExpressibleError(f"{what} {MANY_TURNS}", "only first, last and other turns differ")


def _grown(rows: Mapping[Place, T], what: str) -> Tree[T]:
    tree = grow(rows)
    if tree is None:
        raise NotExpressibleError(
            f"{what} depends on more than place and role", "only first, last and other turns differ"
        )
    return tree
