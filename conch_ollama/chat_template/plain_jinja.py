"""Writes the learnt model of a chat template as a plain Jinja: loops, conditions, joined texts and trimmed ends only.

For engines that know less of Jinja than the original asks for. Of tools it knows nothing. The result is a guess, as the
compiled TEMPLATE is: a proof has to say whether it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from conch_ollama.chat_template.compiler.learn import learn
from conch_ollama.chat_template.compiler.model import (
    Leaf,
    Model,
    NotExpressibleError,
    Pieces,
    Prompt,
    Special,
    Tree,
    Turn,
    leaves,
)
from conch_ollama.chat_template.compiler.probe import WRAPPING, Probe
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.plain_jinja_ends import Ends
from conch_ollama.chat_template.plain_jinja_text import joined, quoted, trimmed

T = TypeVar("T", bound=Hashable)
_ROLES = ("user", "assistant")
_ANYWHERE = {
    "final": "loop.last",
    "prefilled": "ns.prefilled",
    "system": "ns.has_system",
    "empty": "ns.empty_system",
    "blank": "ns.blank_system",
    "unasked": "ns.unasked",
}
#: What is known of the last question where the generation prompt stands.
_AFTER = {"final": True, "last": True, "prefilled": False}
#: An answer among others.
_AMID = {"final": False, "last": False, "prefilled": False, "unasked": False}


def plain_jinjas(jinja: JinjaTemplate) -> Iterator[str]:
    """Plain Jinjas for `jinja`, the likeliest first; none where it does not fit the model that the compiler learns.

    A date is written as it is now. Raises BadTemplateError where the template refuses one question.
    """
    probe = Probe(jinja, add_bos=False, bos_token="")
    try:
        model = learn(probe, tools=False)
    except NotExpressibleError:
        return
    ends = Ends.seen(probe, model)
    if ends is not None:
        yield _Writer(model, ends, as_others=False).template()
        yield _Writer(model, ends, as_others=True).template()


class _Writer:
    """`as_others`: what happens to the text of a last answer is taken to be what happens to that of any other."""

    def __init__(self, model: Model, ends: Ends, *, as_others: bool) -> None:
        self.model = model
        self.ends = ends
        self.as_others = as_others
        self._lines: list[str] = []
        self._depth = 0

    def template(self) -> str:
        self._messages()
        body, self._lines = self._lines, []
        self._survey("\n".join(body))
        return "\n".join([*self._lines, *body])

    # -- what is found out first

    def _survey(self, body: str) -> None:
        """Only what the body asks for."""
        systems = self.model.systems
        ranks = {f"{when}_{role}": "-1" for role in _ROLES for when in ("first", "last") if f"ns.{when}_{role}" in body}
        flags = {name: start for name, start in (("prefilled", "false"), ("unasked", "true")) if f"ns.{name}" in body}
        start = {"system": "''", "has_system": "false", **ranks, **flags}
        self._set("ns", f"namespace({', '.join(f'{name}={value}' for name, value in start.items())})")
        with self._block("for message in messages", "endfor"):
            with self._block("if loop.first and message.role == 'system'"):
                if systems.refused:
                    self._show("raise_exception('System role not supported')")
                self._set("ns.has_system", "true")
                self._set("ns.system", "message.content")
            for name in ranks:
                when, role = name.split("_")
                first = f" and ns.{name} < 0" if when == "first" else ""
                with self._block(f"if message.role == '{role}'{first}"):
                    self._set(f"ns.{name}", "loop.index0")
            if "prefilled" in flags:
                self._set("ns.prefilled", "message.role == 'assistant'")
            if "unasked" in flags:
                begins, ends = (text.strip() for text in WRAPPING)
                wrapped = f"message.content.startswith('{begins}') and message.content.endswith('{ends}')"
                with self._block(f"if message.role == 'user' and not ({wrapped})"):
                    self._set("ns.unasked", "false")
        self._survey_system(body)

    def _survey_system(self, body: str) -> None:
        """What an empty or a blank system text counts as."""
        found = self.model.systems
        if found.empty == "absent" or "ns.empty_system" in body:
            self._set("ns.empty_system", "ns.has_system and ns.system == ''")
        if found.blank == "absent" or "ns.blank_system" in body:
            text = trimmed("ns.system", found.trim)
            self._set("ns.blank_system", f"ns.has_system and ns.system != '' and {text} == ''")
        absent = [f"ns.{kind}_system" for kind in ("empty", "blank") if getattr(found, kind) == "absent"]
        if absent:
            with self._block(f"if {' or '.join(absent)}"):
                self._set("ns.has_system", "false")

    # -- what is printed

    def _messages(self) -> None:
        self._tree(self.model.opening, "", self._print)
        with self._block("for message in messages", "endfor"):
            turns = zip(_ROLES, (self.model.user, self.model.assistant), strict=True)
            for number, (role, turn) in enumerate(turns):
                if turn is not None:
                    self._code(f"{'elif' if number else 'if'} message.role == '{role}'")
                    self._depth += 1
                    self._turn(role, turn)
                    self._depth -= 1
            later = self.model.systems.later
            if later is not None:
                self._code("elif message.role == 'system' and not loop.first")
                text = trimmed("message.content", later[1])
                self._show(f"{quoted(later[0])} + {text} + {quoted(later[2])}")
            self._code("endif")
        with self._block("if add_generation_prompt"):
            self._prompt(self.model.prompt)
        if self.ends.question != Leaf(()):
            with self._block("if not add_generation_prompt and messages[-1].role == 'user'"):
                self._tree(self.ends.question, "user", self._print, _AFTER, after=True)

    def _turn(self, role: str, turn: Turn) -> None:
        self._set("text", "message.content")
        self._tree(turn.together, role, lambda pieces: self._set("text", joined(pieces, then="text")))
        known = _AMID if role == "assistant" and self.as_others else None
        self._tree(turn.trim, role, lambda trim: self._set("text", trimmed("text", trim)), known)
        if all(special == Special() for _, special in leaves(turn.special)):
            self._around(role, turn)
            return
        self._set("alone", "none")
        self._tree(turn.special, role, self._special, _AMID if role == "assistant" else None)
        with self._block("if alone is not none"):
            self._show("alone")
            self._else()
            self._around(role, turn)

    def _around(self, role: str, turn: Turn) -> None:
        self._tree(turn.lead, role, self._print)
        self._show("text")
        if role == "user":
            self._tree(turn.tail, role, self._print)
            return
        with self._block("if loop.last"):
            self._tree(self.ends.answer, role, self._print)
            self._else()
            self._tree(turn.tail, role, self._print, {"final": False})

    def _special(self, special: Special) -> None:
        if special.empty is not None:
            with self._block("if message.content == ''"):
                self._set("alone", joined(special.empty))
        if special.blank is not None:
            with self._block("if message.content != '' and text == ''"):
                self._set("alone", joined(special.blank))

    def _prompt(self, tree: Tree[Prompt]) -> None:
        if all(prompt.default == prompt.thinking == prompt.quiet for _, prompt in leaves(tree)):
            self._tree(tree, "user", lambda prompt: self._print(prompt.default), _AFTER, after=True)
            return
        with self._block("if enable_thinking is not defined"):
            self._tree(tree, "user", lambda prompt: self._print(prompt.default), _AFTER, after=True)
            self._else("elif enable_thinking")
            self._tree(tree, "user", lambda prompt: self._print(prompt.thinking), _AFTER, after=True)
            self._else()
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
        with self._block(f"if {_ANYWHERE.get(tree.feature) or f'{at} == ns.{tree.feature}_{role}'}"):
            self._tree(tree.yes, role, leaf, known, after=after)
            self._else()
            self._tree(tree.no, role, leaf, known, after=after)

    # -- lines

    def _print(self, pieces: Pieces) -> None:
        if pieces:
            self._show(joined(pieces))

    def _show(self, expression: str) -> None:
        self._lines.append("    " * self._depth + "{{- " + expression + " -}}")

    def _set(self, name: str, value: str) -> None:
        if value != name:
            self._code(f"set {name} = {value}")

    def _code(self, code: str) -> None:
        self._lines.append("    " * self._depth + "{%- " + code + " -%}")

    def _else(self, code: str = "else") -> None:
        """Within a block; an `else` with nothing in it goes when the block ends."""
        self._depth -= 1
        self._code(code)
        self._depth += 1

    @contextmanager
    def _block(self, code: str, end: str = "endif") -> Iterator[None]:
        start = len(self._lines)
        self._code(code)
        self._depth += 1
        yield
        self._depth -= 1
        line = "    " * self._depth + "{%- else -%}"
        if self._lines[-1] == line:
            self._lines.pop()
        if len(self._lines) == start + 1:
            self._lines.pop()
            return
        if self._lines[start + 1] == line:
            self._lines[start : start + 2] = [
                "    " * self._depth + "{%- if not (" + code.removeprefix("if ") + ") -%}"
            ]
        self._code(end)
