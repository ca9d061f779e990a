"""The same chat template in words that llama.cpp's Jinja takes as transformers' does; all that it can do stays.

Changes only what is known to be taken otherwise: white space that is no ASCII, `%` for texts, `default` of objects,
variables that llama.cpp gives without being asked, those that it leaves out, a system text that is not read. Whether it
was enough, a proof has to say. Source of what differs: llama.cpp's common/jinja and common/chat.cpp (October 2026).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from conch_ollama.chat_template.plain_jinja.code import (
    is_string,
    operand_after,
    operand_before,
    rewritten,
    split_at_commas,
    words,
)
from conch_ollama.chat_template.plain_jinja.trims import TrimMacros

_SIDES = {"trim": "both", "strip": "both", "lstrip": "left", "rstrip": "right"}
_ESCAPE = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|N\{[^}]*\}|[0-7]{1,3}|.)", re.DOTALL)
_SIMPLE = re.compile(r"[\w.\[\]'\"]+")
#: Given by llama.cpp on its own; what transformers' users leave out is then there.
_GIVEN = ("date_string", "datetime")


@dataclass(frozen=True)
class Rewritten:
    """`changes`: in words, for a reader; none if there was nothing to change."""

    source: str
    changes: tuple[str, ...]


def rewrite(
    source: str,
    *,
    system_is_dropped: bool = False,
    thinking_left_open: bool | None = None,
) -> Rewritten:
    """`system_is_dropped`: the template renders system texts as nothing. `thinking_left_open`: llama.cpp always says
    whether to think; this value of it is taken for nothing said."""
    macros = TrimMacros(source)
    changes: list[str] = []
    body = rewritten(source, lambda tokens: _trims_replaced(tokens, macros))
    if macros.used:
        changes.append("white space of all scripts is trimmed")
    for name, change in (
        ("texts are joined without %", _formats_replaced),
        ("default is spelt out", _defaults),
        ("escapes are written as what they mean", _escapes),
    ):
        changed = rewritten(body, change)
        changes += [name] if changed != body else []
        body = changed
    opening, more = _opening(source, system_is_dropped, thinking_left_open)
    if not opening and not macros.used and body[:1] not in ("{", ""):
        opening, more = "{{- '' }}", ["nothing stands in front of the first text"]
    # A line feed behind a tag is dropped by both, and no more than one.
    return Rewritten(opening + macros.definitions() + body, (*changes, *more))


def _opening(source: str, system_is_dropped: bool, thinking: bool | None) -> tuple[str, list[str]]:
    opening, changes = "", []
    if _mentions(source, "tools"):
        opening += "{%- if tools is not defined %}{%- set tools = none %}{%- endif %}\n"
        changes.append("no tools are none")
    unset = [f"{{%- set {name} = nothing_given %}}" for name in _GIVEN if _mentions(source, name)]
    changes += [f"{name} counts as not given" for name in _GIVEN if _mentions(source, name)]
    if thinking is not None:
        said = "enable_thinking" if thinking else "not enable_thinking"
        unset.append(f"{{%- if {said} %}}{{%- set enable_thinking = nothing_given %}}{{%- endif %}}")
        changes.append(f"enable_thinking={str(thinking).lower()} counts as not given")
    if unset:
        opening += "{%- if datetime is defined and date_string is defined %}{#- llama.cpp, and no other -#}\n"
        opening += "".join(f"    {line}\n" for line in unset) + "{%- endif %}\n"
    if system_is_dropped:
        opening += "{%- if messages and messages[0].content %}{%- endif %}\n"
        changes.append("a system text counts as read")
    return opening, changes


def _mentions(source: str, name: str) -> bool:
    return re.search(rf"\b{name}\b", source) is not None


def _trims_replaced(tokens: list[str], macros: TrimMacros) -> list[str]:
    """`x | trim` and `x.strip()` as a call of a macro."""
    done: list[str] = []
    at = 0
    while at < len(tokens):
        side, end = _trim_at(tokens, at)
        start = operand_before(done) if side else None
        if side is None or start is None:
            done.append(tokens[at])
            at += 1
        else:
            while done[-1].isspace():
                done.pop()
            done[start:] = [macros.name(side), "(", *done[start:], ")"]
            at = end
    return done


def _trim_at(tokens: list[str], at: int) -> tuple[str | None, int]:
    """Which ends are trimmed by what begins here, and where that ends: `| trim` or `.strip()`."""
    if tokens[at] not in ("|", "."):
        return None, at
    places = words(tokens, at)
    names = [tokens[number] for number in places[:4]]
    if tokens[at] == "|" and names[1:2] == ["trim"] and names[2:3] != ["("]:
        return "both", places[1] + 1
    if names[2:4] == ["(", ")"] and names[1] in _SIDES and (names[1] == "trim") == (tokens[at] == "|"):
        return _SIDES[names[1]], places[3] + 1
    return None, at


def _formats_replaced(tokens: list[str]) -> list[str]:
    """`'a %s b' % (x, y)` as `('a ' ~ x ~ …)`."""
    done: list[str] = []
    at = 0
    while at < len(tokens):
        last = next((number for number in range(len(done) - 1, -1, -1) if not done[number].isspace()), None)
        end = operand_after(tokens, at + 1) if tokens[at] == "%" else None
        joined = (
            _joined(done[last], tokens[at + 1 : end]) if end and last is not None and is_string(done[last]) else None
        )
        if joined is None or last is None or end is None:
            done.append(tokens[at])
            at += 1
        else:
            done[last:] = [joined]
            at = end
    return done


def _escapes(tokens: list[str]) -> list[str]:
    """Escapes that only Python knows as the characters that they stand for."""
    return [
        token[0] + _ESCAPE.sub(_written_out, token[1:-1]) + token[0] if is_string(token) else token for token in tokens
    ]


def _written_out(found: re.Match[str]) -> str:
    escape = found.group()
    if escape[1] in "ntrbfv\\'\"":
        return escape
    if escape[1] not in "xuUN01234567a":
        return "\\" + escape  # no escape at all: Python leaves the backslash where it is
    text = escape.encode("ascii").decode("unicode-escape")
    return {"\n": "\\n", "\r": "\\r", "'": "\\'", '"': '\\"', "\\": "\\\\"}.get(text, text)


def _joined(form: str, given: list[str]) -> str | None:
    quote, body = form[0], form[1:-1]
    parts = body.replace("%%", "\0").split("%s")
    places = words(given, 0)
    in_brackets = (
        given[places[0]] == "(" and operand_after(given, places[0]) == places[-1] + 1 and given[places[-1]] == ")"
    )
    values = split_at_commas(given[places[0] + 1 : places[-1]]) if in_brackets else ["".join(given).strip()]
    if any("%" in part for part in parts) or len(parts) != len(values) + 1:
        return None
    texts = [quote + part.replace("\0", "%") + quote for part in parts]
    values = [value if _SIMPLE.fullmatch(value) else f"({value})" for value in values]
    return "(" + texts[0] + "".join(f" ~ {value} ~ {text}" for value, text in zip(values, texts[1:], strict=True)) + ")"


def _defaults(tokens: list[str]) -> list[str]:
    """`x | default(y)` as `(x if x is defined else y)`, which is what it means."""
    done: list[str] = []
    at = 0
    while at < len(tokens):
        places = words(tokens, at)
        names = [tokens[number] for number in places[:3]]
        start = operand_before(done) if names[:1] == ["|"] and names[1:] in (["default", "("], ["d", "("]) else None
        end = operand_after(tokens, places[2]) if start is not None else None
        arguments = split_at_commas(tokens[places[2] + 1 : end - 1]) if end is not None else []
        if start is None or end is None or tokens[end - 1] != ")" or len(arguments) != 1 or "=" in arguments[0]:
            done.append(tokens[at])
            at += 1
        else:
            value = "".join(done[start:]).strip()
            done[start:] = [f"({value} if {value} is defined else {arguments[0]})"]
            at = end
    return done
