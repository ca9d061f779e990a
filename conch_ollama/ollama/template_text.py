"""Rewrites the text of a Go template so that a Modelfile can hold it, rendering the same: `{{ "\\u00a0" }}` for U+00A0.

A Modelfile drops runes that are not printable and ends a value at three quotes and a line end. Go's string literals
have escapes, so in a TEMPLATE, and only there, both can be written. Splits a template into text and actions; does not
parse the actions.
"""

from __future__ import annotations

import itertools
import re

from conch_ollama.errors import BadTemplateError
from conch_ollama.ollama.grammar import stand_in, survives

# Inside an action: comments, interpreted, raw and rune literals; none of them ends at a `}}` in its middle.
_LITERAL = re.compile(r'"(?:\\.|[^"\\\n])*"|`[^`]*`|' + r"'(?:\\.|[^'\\\n])*'", re.DOTALL)
_COMMENT = re.compile(r"\{\{(?:- )?/\*.*?\*/(?: -)?\}\}", re.DOTALL)
_TRIPLE_AT_LINE_END = re.compile(r'"""(?=[ \t]*[\r\n])')


def escape_template(template: str) -> str:
    """`template` with every rune and quote that a Modelfile can't hold written as an escape of Go's.

    Raises BadTemplateError where such a rune stands in an action outside a literal, which Go refuses as well, or where
    an action does not end.
    """
    if not any(not survives(rune) for rune in template) and '"""' not in template:
        return template
    parts = []
    for piece, is_action in split(template):
        parts.append(_escape_action(piece) if is_action else _escape_text(piece))
    return "".join(parts)


def split(template: str) -> list[tuple[str, bool]]:
    """(piece, is it an action with its braces) in order; joined they are the template again."""
    pieces: list[tuple[str, bool]] = []
    position = 0
    while (start := template.find("{{", position)) >= 0:
        if start > position:
            pieces.append((template[position:start], False))
        position = _action_end(template, start)
        pieces.append((template[start:position], True))
    if position < len(template):
        pieces.append((template[position:], False))
    return pieces


def _action_end(template: str, start: int) -> int:
    comment = _COMMENT.match(template, start)
    if comment:
        return comment.end()
    position = start + 2
    while position < len(template):
        if template.startswith("}}", position):
            return position + 2
        literal = _LITERAL.match(template, position)
        position = literal.end() if literal else position + 1
    line = template.count("\n", 0, start) + 1
    raise BadTemplateError(f"TEMPLATE line {line}: the action {template[start : start + 40]!r} has no end")


def _escape_text(text: str) -> str:
    """Text outside actions: each run of unprintable runes becomes an action that prints it."""
    parts = []
    for kept, runes in itertools.groupby(text, key=survives):
        run = "".join(runes)
        parts.append(run if kept else f'{{{{ "{_escape_runes(run)}" }}}}')
    return _TRIPLE_AT_LINE_END.sub(r'""{{ "\\"" }}', "".join(parts))


def _escape_action(action: str) -> str:
    if _COMMENT.fullmatch(action):  # renders nothing, so it may lose what can't be written
        return stand_in(action)
    parts, position = [], 0
    for literal in _LITERAL.finditer(action):
        parts += [_outside_literals(action[position : literal.start()], action), _escape_literal(literal.group(0))]
        position = literal.end()
    parts.append(_outside_literals(action[position:], action))
    return "".join(parts)


def _outside_literals(code: str, action: str) -> str:
    for rune in code:
        if not survives(rune):
            raise BadTemplateError(
                f"TEMPLATE: U+{ord(rune):04X} stands in the action {action[:40]!r} outside a string",
                hint="Go's template language refuses it there; a plain space may be meant",
            )
    return code


def _escape_literal(literal: str) -> str:
    if not literal.startswith("`"):
        return _escape_runes(literal)
    if all(map(survives, literal)) and not _TRIPLE_AT_LINE_END.search(literal):
        return literal
    plain = literal[1:-1].replace("\r", "")  # as Go reads a raw string
    for rune, escape in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t")):
        plain = plain.replace(rune, escape)
    return f'"{_escape_runes(plain)}"'


def _escape_runes(text: str) -> str:
    return "".join(rune if survives(rune) else _escape_rune(rune) for rune in text)


def _escape_rune(rune: str) -> str:
    return f"\\u{ord(rune):04x}" if ord(rune) < 0x10000 else f"\\U{ord(rune):08x}"
