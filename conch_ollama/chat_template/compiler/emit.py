"""Writes the learnt model of a chat template as a Go TEMPLATE for Ollama's Messages path.

One pass over the messages finds out what the rules ask for (system text, first and last of a role), a second prints.
Nothing is appended or cut by Ollama on this path, so the generation prompt and an open last answer are written here.
"""

from __future__ import annotations

from dataclasses import replace

from conch_ollama.chat_template.compiler import conditions
from conch_ollama.chat_template.compiler.conditions import Conditions, Known, all_of, any_of, bare, negated
from conch_ollama.chat_template.compiler.counts import MARK
from conch_ollama.chat_template.compiler.emit_rules import in_the_loop, system_variables, tests
from conch_ollama.chat_template.compiler.emit_texts import write_texts
from conch_ollama.chat_template.compiler.emit_tools import write_calls, write_result, write_tools
from conch_ollama.chat_template.compiler.go_trims import write_told, write_trim
from conch_ollama.chat_template.compiler.model import Model, Pieces, Prompt, Special, SystemText, ToolList, Turn
from conch_ollama.chat_template.compiler.trees import Branch, Leaf, Tree, changed, leaves
from conch_ollama.chat_template.compiler.writer import Writer


def emit(model: Model, *, thinking: bool = False) -> str:
    """`thinking`: with the tags by which Ollama finds a thought in an answer, in a branch that is never printed."""
    return _Emitter(model, thinking).template()


#: No answer is asked for after a last message of these; after a tool's, most templates do.
_UNPROMPTED = ('"assistant"', '"tool"')


class _Emitter:
    def __init__(self, model: Model, thinking: bool) -> None:
        self.thinking = thinking
        self.out = Writer()
        self.trimmed = False
        self.in_prompt = False
        inline = in_the_loop(model)
        self.inline_system = inline is not None
        if inline is not None:
            opening: Tree[Pieces] = Leaf(inline[0])
            if inline[0] != inline[1]:
                opening = Branch("system", Leaf(inline[1]), Leaf(inline[0]))
            model = replace(model, opening=opening)
        self.model = model
        self.systems = system_variables(model)

    @property
    def shown(self) -> str:
        """A message's text as it is printed."""
        return "$text" if self.trimmed else ".Content"

    def template(self) -> str:
        body = Writer()
        self.out, head = body, self.out
        needed = self._body()
        self.out = head
        self._survey(needed)
        head.extend(body)
        return head.finished()

    # -- what is found out first

    def _survey(self, needed: set[str]) -> None:
        out = self.out
        names = [name for name in conditions.SURVEYED if name in needed]
        shown = bool(self.systems) or bool(needed & {"$hasSystem", "$emptySystem", "$blankSystem"})
        for name in names:
            out.code(f"{name} := {conditions.SURVEYED[name][0]}")
        if shown:
            out.code('$system := ""')
            out.code("$hasSystem := false")
        if names or shown:
            out.code("range $i, $_ := .Messages")
            if shown:
                out.code('if and (eq $i 0) (eq .Role "system")')
                out.code("$system = .Content")
                out.code("$hasSystem = true")
                out.code("end")
            for name in names:
                conditions.SURVEYED[name][1](out)
            out.code("end")
        if shown:
            self._survey_system(needed)

    def _survey_system(self, needed: set[str]) -> None:
        """The trimmed system text, and what an empty or blank one counts as."""
        out, found = self.out, self.model.systems
        raw = "$system"
        if not found.trim.is_identity and (needed & {"$emptySystem", "$blankSystem"} or found.empty != found.blank):
            raw = "$givenSystem"
            out.code("$givenSystem := $system")
        for trim, name in list(self.systems.items())[1:]:
            out.code(f"{name} := $system")
            write_trim(self.out, name, trim)
        write_trim(self.out, "$system", found.trim)
        if "$emptySystem" in needed:
            out.code(f"$emptySystem := and $hasSystem (not {raw})")
        if "$blankSystem" in needed:
            out.code(f"$blankSystem := and $hasSystem {raw} (not $system)")
        blank_goes = found.blank == "absent" or found.trim.is_identity
        if found.empty == "absent":
            with out.block(f"if not {'$system' if blank_goes else raw}"):
                out.code("$hasSystem = false")
        elif found.blank == "absent":
            with out.block(f"if and {raw} (not $system)"):
                out.code("$hasSystem = false")

    # -- what is printed

    def _body(self) -> set[str]:
        out, model = self.out, self.model
        asked = Conditions()
        self._tree(model.opening, asked.of(""))
        grouped = model.results is not None and model.results.between is not None
        if grouped:
            out.code('$before := ""')
        if model.count is not None:
            model.count.begin(out)
        out.code("range $i, $_ := .Messages")
        out.code("$last := eq (len (slice $.Messages $i)) 1")
        if model.count is not None:
            model.count.step(out)
        turns = {"user": model.user, **({"assistant": model.assistant} if model.assistant else {})}
        self.trimmed = write_texts(out, model, turns, asked, self.systems)
        for number, (role, turn) in enumerate(turns.items()):
            if role == "assistant" and model.calls is not None:
                out.code('else if and (eq .Role "assistant") (gt (len .ToolCalls) 0)')
                write_calls(out, model.calls, self.shown)
            out.code(f'{"else if" if number else "if"} eq .Role "{role}"')
            self._turn(turn, asked.of(role))
        if model.results is not None and not model.results.dropped:
            out.code('else if eq .Role "tool"')
            write_result(out, model.results, self.shown)
        later = model.systems.later
        if later is not None:
            out.code('else if eq .Role "system"' if self.inline_system else 'else if and (eq .Role "system") (gt $i 0)')
            out.text(later[0])
            out.value(self.shown)
            out.text(later[2])
        out.code("end")
        if grouped:
            out.code("$before = .Role")
        prompted = model.results is None or model.results.prompted
        with out.block(
            f"if and $last {'(ne .Role {})' if prompted else '(not (eq .Role {} {}))'}".format(*_UNPROMPTED)
        ):
            self.in_prompt = True
            self._prompt(model.prompt, asked)
            self.in_prompt = False
        if self.thinking:
            out.comment("Never printed: from this Ollama learns the tags of a thought.")
            out.code("if false")
            out.text("<think>")
            out.value(".Thinking")
            out.text("</think>")
            out.code("end")
        out.code("end")
        return asked.needed

    def _prompt(self, tree: Tree[Prompt], asked: Conditions) -> None:
        known = asked.of("user", {"final": True, "last": True, "prefilled": False})
        if all(prompt.default == prompt.thinking == prompt.quiet for _, prompt in leaves(tree)):
            self._tree(changed(tree, lambda prompt: prompt.default), known)
            return
        self.out.code("if and $.IsThinkSet $.Think")
        self._tree(changed(tree, lambda prompt: prompt.thinking), known)
        self.out.code("else if $.IsThinkSet")
        self._tree(changed(tree, lambda prompt: prompt.quiet), known)
        self.out.code("else")
        self._tree(changed(tree, lambda prompt: prompt.default), known)
        self.out.code("end")

    def _turn(self, turn: Turn, known: Known) -> None:
        """One message: by its lead, text and tail, or what stands for it if it is empty or blank."""
        out = self.out
        shown = self.shown
        if turn.told is not None:
            out.code("if $thought")
            write_told(out, turn.told, shown)
            self._tree(turn.tail, known)
            out.code("else")
        specials = [(path, special) for path, special in leaves(turn.special) if special != Special()]
        cases: dict[tuple[str, Pieces], list[str]] = {}
        for path, special in specials:
            for test, pieces in tests(special, shown):
                cases.setdefault((test, pieces), []).append(all_of([known.says(*step) for step in path]))
        for number, ((test, pieces), places) in enumerate(cases.items()):
            place = "" if "" in places else any_of(places)
            out.code(f"{'else if' if number else 'if'} {bare(all_of([test, place]))}")
            self._pieces(pieces)
        if cases:
            out.code("else")
        self._tree(turn.lead, known)
        out.value(shown)
        self._tree(turn.tail, known)
        if cases:
            out.code("end")
        if turn.told is not None:
            out.code("end")

    def _tree(self, tree: Tree[Pieces], known: Known) -> None:
        if isinstance(tree, Leaf):
            self._pieces(tree.value)
            return
        test = known.of(tree.feature)
        if isinstance(test, bool):
            self._tree(tree.yes if test else tree.no, known)
            return
        yes, no = (tree.yes, tree.no) if tree.yes != Leaf(()) else (tree.no, tree.yes)
        self.out.code(f"if {bare(test if yes is tree.yes else negated(test))}")
        self._tree(yes, known)
        if no != Leaf(()):
            self.out.code("else")
            self._tree(no, known)
        self.out.code("end")

    def _pieces(self, pieces: Pieces) -> None:
        for piece in pieces:
            if isinstance(piece, SystemText):
                self.out.value(self.systems[piece.trim])
            elif isinstance(piece, ToolList):
                write_tools(self.out, piece)
            else:
                self._text(piece)

    def _text(self, text: str) -> None:
        """A literal, with what is counted in it."""
        count = self.model.count
        for number, part in enumerate(text.split(MARK) if count is not None else [text]):
            if number and count is not None:
                self.out.value(count.expression(self.in_prompt))
            self.out.text(part)
