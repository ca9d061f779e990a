"""The code in a Jinja source's tags as tokens, and where the expression before or after one of them begins and ends.

Tokens keep every character, so that what is not rewritten stays as it was. No parser: brackets are counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

_OUTSIDE = re.compile(r"\{#.*?#\}|\{%[-+]?\s*raw\s*[-+]?%\}.*?\{%[-+]?\s*endraw\s*[-+]?%\}|\{\{|\{%", re.DOTALL)
_STRINGS = r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\""
_TOKEN = re.compile(rf"\s+|{_STRINGS}|[^\W\d]\w*|\d+(?:\.\d+)?|[-+]?%\}}|[-+]?\}}\}}|//|\*\*|[=!<>]=|.", re.DOTALL)
_KEYWORDS = frozenset(("and", "or", "not", "in", "is", "if", "elif", "else", "for", "set", "recursive", "ignore"))
_OPENERS = {")": "(", "]": "[", "}": "{"}
_CLOSERS = {opener: closer for closer, opener in _OPENERS.items()}


def rewritten(source: str, change: Callable[[list[str]], list[str]]) -> str:
    """The source with the tokens of each tag changed; texts, comments and raw parts as they are."""
    return "".join(_parts(source, change))


def _parts(source: str, change: Callable[[list[str]], list[str]]) -> Iterator[str]:
    at = 0
    while found := _OUTSIDE.search(source, at):
        yield source[at : found.end()]
        at = found.end()
        if found.group() in ("{{", "{%"):
            tokens, at = _code(source, at)
            yield "".join(change(tokens))
    yield source[at:]


def _code(source: str, at: int) -> tuple[list[str], int]:
    """The tokens of one tag up to its end, the end included."""
    tokens: list[str] = []
    depth = 0
    while found := _TOKEN.match(source, at):
        token, at = found.group(), found.end()
        if token.endswith("}}") and depth > 0:  # of dictionaries
            token, at = token[0], at - len(token) + 1
        depth += (token in _CLOSERS) - (token in _OPENERS)
        tokens.append(token)
        if token.endswith(("%}", "}}")) and not is_string(token):
            break
    return tokens, at


def is_string(token: str) -> bool:
    """Whether it is a literal text."""
    return token[0] in "'\""


def is_value(token: str) -> bool:
    """Whether it is a name or a literal."""
    return is_string(token) or ((token[0] == "_" or token[0].isalnum()) and token not in _KEYWORDS)


def words(tokens: Sequence[str], at: int) -> list[int]:
    """Where the tokens from `at` on stand that are not white space."""
    return [number for number in range(at, len(tokens)) if not tokens[number].isspace()]


def operand_before(tokens: Sequence[str]) -> int | None:
    """Where the expression begins that a filter or method at the end of these tokens is applied to."""
    at = _before(tokens, len(tokens))
    while at is not None:
        if tokens[at] in _OPENERS:
            at = _partner(tokens, at)
            if at is None:
                return None
            before = _before(tokens, at)
            if before is None or not (tokens[before] in _OPENERS or is_value(tokens[before])):
                return at
            at = before
        elif is_value(tokens[at]):
            before = _before(tokens, at)
            if before is None or tokens[before] not in (".", "|"):
                return at
            at = _before(tokens, before)
        else:
            return None
    return None


def operand_after(tokens: Sequence[str], at: int) -> int | None:
    """Behind the end of the expression that begins at `at`: a value or brackets, with what is asked of them."""
    end: int | None = None
    while at < len(tokens):
        if tokens[at].isspace():
            at += 1
        elif tokens[at] in _CLOSERS and (end is None or tokens[at] in ("(", "[")):
            partner = _closing(tokens, at)
            if partner is None:
                return None
            at = end = partner + 1
        elif end is None and is_value(tokens[at]):
            at = end = at + 1
        elif end is not None and tokens[at] in (".", "|"):
            at = words(tokens, at)[1] + 1
            end = at
        else:
            break
    return end


def split_at_commas(tokens: Sequence[str]) -> list[str]:
    """The texts between the commas that stand outside of brackets."""
    found, depth = [""], 0
    for part in tokens:
        depth += (part in _CLOSERS) - (part in _OPENERS)
        if part == "," and depth == 0:
            found.append("")
        else:
            found[-1] += part
    return [text.strip() for text in found if text.strip()]


def _before(tokens: Sequence[str], at: int) -> int | None:
    return next((number for number in range(at - 1, -1, -1) if not tokens[number].isspace()), None)


def _partner(tokens: Sequence[str], at: int) -> int | None:
    depth = 0
    for number in range(at, -1, -1):
        depth += (tokens[number] in _OPENERS) - (tokens[number] in _CLOSERS)
        if depth == 0:
            return number
    return None


def _closing(tokens: Sequence[str], at: int) -> int | None:
    depth = 0
    for number in range(at, len(tokens)):
        depth += (tokens[number] in _CLOSERS) - (tokens[number] in _OPENERS)
        if depth == 0:
            return number
    return None
