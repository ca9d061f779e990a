"""Writes the learnt model of a chat template as a plain Jinja: loops, conditions, joined texts and trimmed ends only.

For engines that know less of Jinja than the original asks for. Of tools it knows nothing. The result is a guess, as the
compiled TEMPLATE is: a proof has to say whether it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import suppress
from typing import TypeVar

from conch_ollama.chat_template.compiler.learn import learn
from conch_ollama.chat_template.compiler.model import Model, NotExpressibleError, Pieces, Prompt, Special, Thought, Turn
from conch_ollama.chat_template.compiler.probe import WRAPPING, Probe
from conch_ollama.chat_template.compiler.trees import Leaf, Tree, leaves
from conch_ollama.chat_template.compiler.trims import END_OF_THOUGHT, Trim
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.plain_jinja.ends import Ends
from conch_ollama.chat_template.plain_jinja.lines import Lines
from conch_ollama.chat_template.plain_jinja.text import joined, quoted, trimmed

T = TypeVar("T", bound=Hashable)
_ROLES = ("user", "assistant")
_ANYWHERE = {
    "final": "loop.last",
    "prefilled": "ns.prefilled",
    "system": "ns.has_system",
    "empty": "ns.empty_system",
    "blank": "ns.blank_system",
    "unasked": "ns.unasked",
    "fresh": "loop.index0 > ns.asked_last",
}
#: What is known of the last question where the generation prompt stands.
_AFTER = {"final": True, "last": True, "prefilled": False}
#: An answer among others.
_AMID = {"final": False, "last": False, "prefilled": False, "unasked": False, "fresh": False}


def plain_jinjas(jinja: JinjaTemplate) -> Iterator[str]:
    """Plain Jinjas for `jinja`, the likeliest first; none where it does not fit the model that the compiler learns.

    A date is written as it is now. Raises BadTemplateError where the template refuses one question.
    """
    probe = Probe(jinja, add_bos=False, bos_token="")
    with suppress(NotExpressibleError):
        model = learn(probe, tools=False)
        ends = Ends.seen(probe, model)
        if ends is not None:
            yield _Writer(model, ends, as_others=False).template()
            yield _Writer(model, ends, as_others=True).template()


class _Writer(Lines):
    """`as_others`: what happens to the text of a last answer is taken to be what happens to that of any other."""

    def __init__(self, model: Model, ends: Ends, *, as_others: bool) -> None:
        super().__init__()
        self.model = model
        self.ends = ends
        self.as_others = as_others
        self._number = "ns.count | string" if model.count is not None else ""

    def template(self) -> str:
        self._messages()
        body, self.lines = self.lines, []
        self._survey("\n".join(body))
        return "\n".join([*self.lines, *body])

    # -- what is found out first

    def _survey(self, body: str) -> None:
        """Only what the body asks for."""
        systems = self.model.systems
        ranks = {f"{when}_{role}": "-1" for role in _ROLES for when in ("first", "last") if f"ns.{when}_{role}" in body}
        starts = {"prefilled": "false", "unasked": "true", "asked_last": "-1"}
        flags = {name: start for name, start in starts.items() if f"ns.{name}" in body}
        count = {"count": str(self.model.count.start - 1)} if self.model.count is not None else {}
        start = {**count, "system": "''", "has_system": "false", **ranks, **flags}
        self.set("ns", f"namespace({', '.join(f'{name}={value}' for name, value in start.items())})")
        with self.block("for message in messages", "endfor"):
            with self.block("if loop.first and message.role == 'system'"):
                if systems.refused:
                    self.show("raise_exception('System role not supported')")
                self.set("ns.has_system", "true")
                self.set("ns.system", "message.content")
            for name in ranks:
                when, role = name.split("_")
                first = f" and ns.{name} < 0" if when == "first" else ""
                with self.block(f"if message.role == '{role}'{first}"):
                    self.set(f"ns.{name}", "loop.index0")
            if "prefilled" in flags:
                self.set("ns.prefilled", "message.role == 'assistant'")
            if {"unasked", "asked_last"} & flags.keys():
                begins, ends = (text.strip() for text in WRAPPING)
                wrapped = f"message.content.startswith('{begins}') and message.content.endswith('{ends}')"
                with self.block(f"if message.role == 'user' and not ({wrapped})"):
                    for name, value in (("unasked", "false"), ("asked_last", "loop.index0")):
                        if name in flags:
                            self.set(f"ns.{name}", value)
        self._survey_system(body)

    def _survey_system(self, body: str) -> None:
        """What an empty or a blank system text counts as."""
        found = self.model.systems
        if found.empty == "absent" or "ns.empty_system" in body:
            self.set("ns.empty_system", "ns.has_system and ns.system == ''")
        if found.blank == "absent" or "ns.blank_system" in body:
            text = trimmed("ns.system", found.trim)
            self.set("ns.blank_system", f"ns.has_system and ns.system != '' and {text} == ''")
        absent = [f"ns.{kind}_system" for kind in ("empty", "blank") if getattr(found, kind) == "absent"]
        if absent:
            with self.block(f"if {' or '.join(absent)}"):
                self.set("ns.has_system", "false")

    # -- what is printed

    def _messages(self) -> None:
        self._tree(self.model.opening, "", self._print)
        with self.block("for message in messages", "endfor"):
            self._count()
            turns = zip(_ROLES, (self.model.user, self.model.assistant), strict=True)
            for number, (role, turn) in enumerate(turns):
                if turn is not None:
                    self.code(f"{'elif' if number else 'if'} message.role == '{role}'")
                    self.depth += 1
                    self._turn(role, turn)
                    self.depth -= 1
            later = self.model.systems.later
            if later is not None:
                self.code("elif message.role == 'system' and not loop.first")
                text = trimmed("message.content", later[1])
                self.show(f"{quoted(later[0])} + {text} + {quoted(later[2])}")
            self.code("endif")
        if self.model.count is not None and self.model.count.of != "rounds":
            self._number = "(ns.count + 1) | string"  # of the answer to come
        with self.block("if add_generation_prompt"):
            self._prompt(self.model.prompt)
        if self.ends.question != Leaf(()):
            with self.block("if not add_generation_prompt and messages[-1].role == 'user'"):
                self._tree(self.ends.question, "user", self._print, _AFTER, after=True)

    def _count(self) -> None:
        """Rounds, messages, or all messages."""
        if self.model.count is not None:
            test = {"rounds": "message.role == 'user'", "messages": "message.role != 'system'"}
            with self.block(f"if {test.get(self.model.count.of, 'true')}"):
                self.set("ns.count", "ns.count + 1")

    def _turn(self, role: str, turn: Turn) -> None:
        self.set("text", "message.content")
        self._tree(
            turn.together, role, lambda pieces: self.set("text", joined(pieces, number=self._number, then="text"))
        )
        known = _AMID if role == "assistant" and self.as_others else None
        if turn.told is not None:
            self.set("thought", "''")
            self._tree(turn.thought, role, self._thought, known)
        self._tree(turn.trim, role, lambda trim: self.set("text", trimmed("text", trim)), known)
        if all(special == Special() for _, special in leaves(turn.special)):
            self._around(role, turn)
            return
        self.set("alone", "none")
        self._tree(turn.special, role, self._special, _AMID if role == "assistant" else None)
        with self.block("if alone is not none"):
            self.show("alone")
            self.otherwise()
            self._around(role, turn)

    def _thought(self, thought: Thought | None) -> None:
        if thought is None:
            return
        self.set("text", trimmed("text", thought.whole))
        with self.block(f"if {quoted(END_OF_THOUGHT)} in text"):
            self.set("thought", f"text.split({quoted(END_OF_THOUGHT)})[0]")
            self.set("thought", trimmed("thought", thought.trim))
            self.set("text", trimmed("text", Trim(cut=thought.answer)))

    def _around(self, role: str, turn: Turn) -> None:
        if turn.told is None:
            self._tree(turn.lead, role, self._print)
        else:
            with self.block("if thought != ''"):
                told, thought = turn.told, "thought"
                if told.ends:
                    thought = trimmed("thought", Trim(told.ends, told.ends))
                middle = quoted(told.middle)
                if told.alone != told.middle:
                    middle = f"({middle} if text else {quoted(told.alone)})"
                self.show(f"{quoted(told.lead)} + {thought} + {middle}")
                self.otherwise()
                self._tree(turn.lead, role, self._print)
        self.show("text")
        if role == "user":
            self._tree(turn.tail, role, self._print)
            return
        with self.block("if loop.last"):
            self._tree(self.ends.answer, role, self._print)
            self.otherwise()
            self._tree(turn.tail, role, self._print, {"final": False})

    def _special(self, special: Special) -> None:
        if special.empty is not None:
            with self.block("if message.content == ''"):
                self.set("alone", joined(special.empty, number=self._number))
        if special.blank is not None:
            with self.block("if message.content != '' and text == ''"):
                self.set("alone", joined(special.blank, number=self._number))

    def _prompt(self, tree: Tree[Prompt]) -> None:
        if all(prompt.default == prompt.thinking == prompt.quiet for _, prompt in leaves(tree)):
            self._tree(tree, "user", lambda prompt: self._print(prompt.default), _AFTER, after=True)
            return
        with self.block("if enable_thinking is not defined"):
            self._tree(tree, "user", lambda prompt: self._print(prompt.default), _AFTER, after=True)
            self.otherwise("elif enable_thinking")
            self._tree(tree, "user", lambda prompt: self._print(prompt.thinking), _AFTER, after=True)
            self.otherwise()
            self._tree(tree, "user", lambda prompt: self._print(prompt.quiet), _AFTER, after=True)

    def _tree(
        self,
        tree: Tree[T],
        role: str,
        leaf: Callable[[T], None],
        known: Mapping[str, bool] | None = None,
        *,
        after: bool = False,
    ) -> None:
        """Conditions, and what `leaf` writes for each of the values. `known` features need no condition; `after`: the
        place asked about is that of the role's last message."""
        if isinstance(tree, Leaf):
            leaf(tree.value)
            return
        if known is not None and tree.feature in known:
            self._tree(tree.yes if known[tree.feature] else tree.no, role, leaf, known, after=after)
            return
        at = f"ns.last_{role}" if after else "loop.index0"
        with self.block(f"if {_ANYWHERE.get(tree.feature) or f'{at} == ns.{tree.feature}_{role}'}"):
            self._tree(tree.yes, role, leaf, known, after=after)
            self.otherwise()
            self._tree(tree.no, role, leaf, known, after=after)

    def _print(self, pieces: Pieces) -> None:
        if pieces:
            self.show(joined(pieces, number=self._number))
