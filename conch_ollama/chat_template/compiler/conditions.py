"""Features of a message's place as conditions in Go, and the variables that a first pass over the messages fills."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from conch_ollama.chat_template.compiler.trees import Leaf, Tree, leaves
from conch_ollama.chat_template.compiler.writer import Writer


def _at_first(name: str, role: str) -> Callable[[Writer], None]:
    def write(out: Writer) -> None:
        out.code(f'if and (lt {name} 0) (eq .Role "{role}")')
        out.code(f"{name} = $i")
        out.code("end")

    return write


def _at_last(name: str, role: str) -> Callable[[Writer], None]:
    def write(out: Writer) -> None:
        out.code(f'if eq .Role "{role}"')
        out.code(f"{name} = $i")
        out.code("end")

    return write


def _at_question(test: str, code: str) -> Callable[[Writer], None]:
    """`code` at a question of which `test` holds, if it is no wrapped tool result."""

    def write(out: Writer) -> None:
        out.code(f"if {test}")
        out.code("if lt (len .Content) 31")
        out.code(code)
        out.code('else if ne (slice .Content 0 15) "<tool_response>"')
        out.code(code)
        out.code('else if ne (slice .Content (len (slice .Content 16))) "</tool_response>"')
        out.code(code)
        out.code("end")
        out.code("end")

    return write


def _prefilled(out: Writer) -> None:
    out.code('$prefilled = eq .Role "assistant"')


#: variable -> (its first value, what is done at each message)
SURVEYED: Mapping[str, tuple[str, Callable[[Writer], None]]] = {
    "$firstUser": ("-1", _at_first("$firstUser", "user")),
    "$lastUser": ("-1", _at_last("$lastUser", "user")),
    "$firstAnswer": ("-1", _at_first("$firstAnswer", "assistant")),
    "$lastAnswer": ("-1", _at_last("$lastAnswer", "assistant")),
    "$prefilled": ("false", _prefilled),
    "$unasked": ("true", _at_question('and (eq .Role "user") $unasked', "$unasked = false")),
    "$lastAsked": ("-1", _at_question('eq .Role "user"', "$lastAsked = $i")),
}

_PLACES = {
    "user": {"first": "(eq $i $firstUser)", "last": "(eq $i $lastUser)"},
    "assistant": {"first": "(eq $i $firstAnswer)", "last": "(eq $i $lastAnswer)", "fresh": "(gt $i $lastAsked)"},
}
_EVERYWHERE = {
    "tools": "$.Tools",
    "final": "$last",
    "prefilled": "$prefilled",
    "system": "$hasSystem",
    "empty": "$emptySystem",
    "blank": "$blankSystem",
    "unasked": "$unasked",
}


class Conditions:
    """Remembers which variables were asked for."""

    def __init__(self) -> None:
        self.needed: set[str] = set()

    def of(self, role: str, fixed: Mapping[str, bool] | None = None) -> Known:
        """The conditions for a role's messages; `fixed` features are known to hold or not."""
        return Known(self, role, fixed or {})

    def where(self, rules: Mapping[str, Tree[bool]]) -> str | None:
        """The action that begins a block for the messages of which the rules, by role, say yes. None: for all."""
        if len(rules) > 1 and all(tree == Leaf(True) for tree in rules.values()):
            return None
        tests = []
        for role, tree in rules.items():
            known = self.of(role)
            paths = [all_of([known.says(*step) for step in path]) for path, holds in leaves(tree) if holds]
            if paths:
                tests.append(all_of([f'(eq .Role "{role}")', "" if "" in paths else any_of(paths)]))
        return f"if {bare(any_of(tests))}"


class Known:
    def __init__(self, asked: Conditions, role: str, fixed: Mapping[str, bool]) -> None:
        self._asked = asked
        self._role = role
        self._fixed = fixed

    def of(self, feature: str) -> str | bool:
        """An operand in Go, or what is known already."""
        if feature in self._fixed:
            return self._fixed[feature]
        test = _EVERYWHERE.get(feature) or _PLACES[self._role][feature]
        self._asked.needed.add(test.strip("()").rpartition(" ")[2])
        return test

    def says(self, feature: str, holds: bool) -> str:
        test = self.of(feature)
        if isinstance(test, bool):
            return "" if test == holds else "false"
        return test if holds else negated(test)


def negated(test: str) -> str:
    return f"(not {test})"


def all_of(tests: Sequence[str]) -> str:
    """All of the operands; "" holds always."""
    known = [test for test in tests if test]
    return known[0] if len(known) == 1 else f"(and {' '.join(known)})" if known else ""


def any_of(tests: Sequence[str]) -> str:
    return tests[0] if len(tests) == 1 else f"(or {' '.join(tests)})"


def bare(test: str) -> str:
    """Without the outer parentheses, as the whole of a pipeline."""
    return test[1:-1] if test.startswith("(") and test.endswith(")") else test
