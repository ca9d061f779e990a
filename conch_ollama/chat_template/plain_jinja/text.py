"""Expressions of plain Jinja: literal texts, texts joined, texts with their ends trimmed.

With the few escapes, methods and operators that all engines know alike.
"""

from __future__ import annotations

from conch_ollama.chat_template.compiler.counts import MARK
from conch_ollama.chat_template.compiler.model import NotExpressibleError, Pieces, SystemText
from conch_ollama.chat_template.compiler.trims import SPACE, Trim


def joined(pieces: Pieces, *, number: str = "", then: str = "") -> str:
    """An expression for the pieces joined, with the text `number` where one is counted, and a variable after them.

    Raises NotExpressibleError for pieces that are neither literal nor the system text."""
    found: list[str] = []
    for one in pieces:
        if isinstance(one, SystemText):
            found.append(trimmed("ns.system", one.trim))
        elif isinstance(one, str):
            for at, part in enumerate(one.split(MARK) if number else [one]):
                found += [number] if at else []
                found += [quoted(part)] if part else []
        else:
            raise NotExpressibleError("tools", "plain Jinja is written without them")
    return " + ".join([*found, then] if then else found) or "''"


def trimmed(text: str, trim: Trim) -> str:
    """An expression for a text that is a name, without what goes."""
    if trim.cut and trim.early:
        raise NotExpressibleError("a text that is trimmed before it is cut", "plain Jinja cuts first")
    if trim.cut:
        tag = quoted(trim.cut.tag)
        rest = f"{text}.split({tag})[-1]"
        if trim.cut.first:
            rest = f"{text}[{text}.split({tag})[0] | length + {len(trim.cut.tag)}:]"
        rest += f".split({quoted(trim.cut.until)})[0]" if trim.cut.until else ""
        text = f"({_stripped(rest, trim.cut.left, trim.cut.right)} if {tag} in {text} else {text})"
    return _stripped(text, trim.left, trim.right)


def _stripped(text: str, left: str, right: str) -> str:
    if left and left == right:
        return f"{text}.strip({_characters(left)})"
    text += f".lstrip({_characters(left)})" if left else ""
    return text + (f".rstrip({_characters(right)})" if right else "")


def _characters(chars: str) -> str:
    """The argument of a strip; nothing for all that is white space."""
    return "" if chars == SPACE else quoted(chars)


def quoted(text: str) -> str:
    """A literal text with the few escapes that all engines know."""
    for char, escape in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\t", "\\t"), ("\r", "\\r")):
        text = text.replace(char, escape)
    return f"'{text}'"
