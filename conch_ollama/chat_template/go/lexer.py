"""Cuts a Go template into tokens: text, delimiters, words, literals. Trimming (`{{-`, `-}}`) happens here.

Knows nothing of grammar. A lexical fault becomes an ERROR token, which the parser reports where it meets it,
as Go does. Source: the documentation of Go's text/template.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

SPACES = " \t\r\n"
KEYWORDS = frozenset(("block", "break", "continue", "define", "else", "end", "if", "range", "nil", "template", "with"))


class Kind(Enum):
    ERROR = auto()
    EOF = auto()
    TEXT = auto()
    LEFT = auto()
    RIGHT = auto()
    SPACE = auto()
    ASSIGN = auto()
    DECLARE = auto()
    PIPE = auto()
    LEFT_PAREN = auto()
    RIGHT_PAREN = auto()
    CHAR = auto()
    CHAR_CONSTANT = auto()
    STRING = auto()
    RAW_STRING = auto()
    NUMBER = auto()
    COMPLEX = auto()
    BOOL = auto()
    DOT = auto()
    FIELD = auto()
    VARIABLE = auto()
    IDENTIFIER = auto()
    KEYWORD = auto()


@dataclass(frozen=True, slots=True)
class Token:
    kind: Kind
    text: str
    line: int


_QUOTED = {
    '"': (Kind.STRING, re.compile(r'"(?:[^"\\\n]|\\[^\n])*"', re.DOTALL), "unterminated quoted string"),
    "'": (Kind.CHAR_CONSTANT, re.compile(r"'(?:[^'\\\n]|\\[^\n])*'", re.DOTALL), "unterminated character constant"),
    "`": (Kind.RAW_STRING, re.compile(r"`[^`]*`"), "unterminated raw quoted string"),
}
_NUMBER = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F_]*(?:\.[0-9a-fA-F_]*)?(?:[pP][+-]?[0-9_]*)?|0[oO][0-7_]*(?:\.[0-7_]*)?"
    r"|0[bB][01_]*(?:\.[01_]*)?|[0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]*)?)i?"
)
_SINGLE = {"=": Kind.ASSIGN, "|": Kind.PIPE}


def is_word(char: str) -> bool:
    """A letter, a decimal digit or an underscore, as Go's unicode.IsLetter and IsDigit have it."""
    return char == "_" or char.isalpha() or char.isdecimal()


class Lexer:
    def __init__(self, source: str) -> None:
        self.source = source
        self.position = 0
        self.line = 1
        self.parentheses = 0

    def tokens(self) -> Iterator[Token]:
        """All tokens up to EOF or the first ERROR, which ends the stream."""
        while True:
            at = self.source.find("{{", self.position)
            if at < 0:
                if self.position < len(self.source):
                    yield self._take(Kind.TEXT, len(self.source))
                yield Token(Kind.EOF, "", self.line)
                return
            trims = self.source[at + 2 : at + 3] == "-" and self.source[at + 3 : at + 4] in tuple(SPACES)
            end = len(self.source[self.position : at].rstrip(SPACES)) + self.position if trims else at
            if end > self.position:
                yield self._take(Kind.TEXT, end)
            self._skip(at)
            comment = at + (4 if trims else 2)
            if self.source.startswith("/*", comment):
                fault = self._comment(comment)
                if fault is not None:
                    yield fault
                    return
                continue
            yield self._take(Kind.LEFT, at + 2)
            self._skip(comment)
            self.parentheses = 0
            for token in self._action():
                yield token
                if token.kind is Kind.ERROR:
                    return

    def _take(self, kind: Kind, end: int) -> Token:
        token = Token(kind, self.source[self.position : end], self.line)
        self._skip(end)
        return token

    def _skip(self, end: int) -> None:
        self.line += self.source.count("\n", self.position, end)
        self.position = end

    def _comment(self, start: int) -> Token | None:
        end = self.source.find("*/", start + 2)
        if end < 0:
            return Token(Kind.ERROR, "unclosed comment", self.line)
        self._skip(end + 2)
        if not self._at_right():
            return Token(Kind.ERROR, "comment ends before closing delimiter", self.line)
        self._right()
        return None

    def _at_right(self) -> bool:
        return self.source.startswith("}}", self.position) or self._at_trimming_right(self.position)

    def _at_trimming_right(self, at: int) -> bool:
        return self.source[at : at + 1] in tuple(SPACES) and self.source.startswith("-}}", at + 1)

    def _right(self) -> Token:
        trims = not self.source.startswith("}}", self.position)
        if trims:
            self._skip(self.position + 2)
        token = self._take(Kind.RIGHT, self.position + 2)
        if trims:
            rest = self.source[self.position :]
            self._skip(self.position + len(rest) - len(rest.lstrip(SPACES)))
        return token

    def _error(self, what: str) -> Token:
        return Token(Kind.ERROR, what, self.line)

    def _action(self) -> Iterator[Token]:
        while True:
            if self._at_right():
                if self.parentheses:
                    yield self._error("unclosed left paren")
                else:
                    yield self._right()
                return
            if self.position >= len(self.source):
                yield self._error("unclosed action")
                return
            char = self.source[self.position]
            token = self._space() if char in SPACES else self._item(char)
            yield token
            if token.kind is Kind.ERROR:
                return

    def _space(self) -> Token:
        end = self.position
        while end < len(self.source) and self.source[end] in SPACES:
            end += 1
        if self._at_trimming_right(end - 1):
            end -= 1  # the last space belongs to the trim marker; there is at least one before it
        return self._take(Kind.SPACE, end)

    def _item(self, char: str) -> Token:  # noqa: PLR0911 one return for each kind of token
        following = self.source[self.position + 1 : self.position + 2]
        if char in _SINGLE:
            return self._take(_SINGLE[char], self.position + 1)
        if char == ":":
            return self._take(Kind.DECLARE, self.position + 2) if following == "=" else self._error("expected :=")
        if char in _QUOTED:
            kind, pattern, fault = _QUOTED[char]
            found = pattern.match(self.source, self.position)
            return self._take(kind, found.end()) if found else self._error(fault)
        if char == "$" or (char == "." and not ("0" <= following <= "9" and following)):
            return self._dotted(char)
        if char in ".+-" or "0" <= char <= "9":
            return self._number()
        if is_word(char):
            return self._identifier()
        if char in "()":
            return self._parenthesis(char)
        if " " < char < "\x7f":
            return self._take(Kind.CHAR, self.position + 1)
        return self._error(f"unrecognized character in action: U+{ord(char):04X}")

    def _parenthesis(self, char: str) -> Token:
        self.parentheses += 1 if char == "(" else -1
        if self.parentheses < 0:
            return self._error("unexpected right paren")
        return self._take(Kind.LEFT_PAREN if char == "(" else Kind.RIGHT_PAREN, self.position + 1)

    def _word_end(self, start: int) -> int:
        end = start
        while end < len(self.source) and is_word(self.source[end]):
            end += 1
        return end

    def _terminates(self, at: int) -> bool:
        """What may follow a word: `$x+2` must not read as `$x +2`."""
        char = self.source[at : at + 1]
        return char == "" or char in SPACES or char in ".,|:)(" or self.source.startswith("}}", at)

    def _bad_character(self, at: int) -> Token:
        return self._error(f"bad character U+{ord(self.source[at]):04X} {self.source[at]!r}")

    def _dotted(self, char: str) -> Token:
        start = self.position + 1
        end = self._word_end(start)
        if not self._terminates(end):
            return self._bad_character(end)
        if char == "$":
            return self._take(Kind.VARIABLE, end)
        return self._take(Kind.DOT if end == start else Kind.FIELD, end)

    def _identifier(self) -> Token:
        end = self._word_end(self.position)
        if not self._terminates(end):
            return self._bad_character(end)
        word = self.source[self.position : end]
        if word in KEYWORDS:
            return self._take(Kind.KEYWORD, end)
        return self._take(Kind.BOOL if word in ("true", "false") else Kind.IDENTIFIER, end)

    def _number(self) -> Token:
        end = self._number_end(self.position)
        kind = Kind.NUMBER
        if end >= 0 and self.source[end : end + 1] in ("+", "-"):
            kind = Kind.COMPLEX
            end = self._number_end(end)
            if end >= 0 and self.source[end - 1] != "i":
                end = -1
        if end < 0:
            return self._error(f"bad number syntax at {self.source[self.position : self.position + 12]!r}")
        return self._take(kind, end)

    def _number_end(self, start: int) -> int:
        found = _NUMBER.match(self.source, start)
        end = found.end() if found else start
        return -1 if end < len(self.source) and is_word(self.source[end]) else end
