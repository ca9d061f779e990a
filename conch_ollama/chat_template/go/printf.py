"""fmt.Sprintf: reads the format (flags, width, precision, `*`, `[n]`) and prints each operand by its verb.

Faults of the format end up in the text, as in Go: `%!d(string=hi)`, `%!s(MISSING)`, `%!(EXTRA int=1)`, `%!(NOVERB)`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from conch_ollama.chat_template.go.escapes import text_of
from conch_ollama.chat_template.go.printing import Flags, show
from conch_ollama.chat_template.go.values import Nil, Value, type_name
from conch_ollama.errors import BadTemplateError

_FLAGS = {"#": "sharp", "0": "zero", "+": "plus", "-": "minus", " ": "space"}
_NUMBER = re.compile(r"[0-9]+")
# Go's own bound on widths and precisions, and far more than a prompt needs.
_LARGEST = 1_000_000
_LONGEST_OUTPUT = 4 << 20


def sprintf(form: bytes, values: Sequence[Value]) -> bytes:
    return _Formatter(text_of(form), values).run()


class _Formatter:
    def __init__(self, form: str, values: Sequence[Value]) -> None:
        self.form = form
        self.values = values
        self.at = 0
        self.argument = 0
        self.reordered = False
        self.good = True
        self.after_index = False
        self.out = bytearray()

    def run(self) -> bytes:
        while self.at < len(self.form):
            percent = self.form.find("%", self.at)
            end = len(self.form) if percent < 0 else percent
            self.out += self.form[self.at : end].encode("utf-8", "surrogateescape")
            self.at = end + 1
            if percent >= 0:
                self._verb()
            if len(self.out) > _LONGEST_OUTPUT:
                raise BadTemplateError(f"Go template: printf of more than {_LONGEST_OUTPUT} bytes")
        if not self.reordered and self.argument < len(self.values):
            extra = [_typed(value) for value in self.values[self.argument :]]
            self.out += b"%!(EXTRA " + b", ".join(extra) + b")"
        return bytes(self.out)

    def _verb(self) -> None:
        flags = Flags()
        self.good = True
        self.after_index = False
        while (char := self.form[self.at : self.at + 1]) and char in _FLAGS:
            setattr(flags, _FLAGS[char], True)
            self.at += 1
        self._index()
        self._width(flags)
        self._precision(flags)
        if not self.after_index:
            self._index()
        verb = self.form[self.at : self.at + 1]
        self.at += 1
        if not verb:
            self.out += b"%!(NOVERB)"
        elif verb == "%":
            self.out += b"%"
        elif not self.good:
            self.out += f"%!{verb}(BADINDEX)".encode("utf-8", "surrogateescape")
        elif self.argument >= len(self.values):
            self.out += f"%!{verb}(MISSING)".encode("utf-8", "surrogateescape")
        else:
            self._operand(verb, flags)

    def _operand(self, verb: str, flags: Flags) -> None:
        if verb == "p" or (verb == "v" and flags.sharp):
            raise BadTemplateError(f"Go template: printf %{'#' if verb == 'v' else ''}{verb} is not handled")
        if verb == "v":
            flags.plus, flags.plus_v = False, flags.plus
        self.out += show(self.values[self.argument], verb, flags)
        self.argument += 1

    def _number(self) -> int | None:
        found = _NUMBER.match(self.form, self.at)
        if not found:
            return None
        self.at = found.end()
        number = int(found.group())
        return None if number > _LARGEST else number

    def _index(self) -> None:
        """`[n]` in front of a width, a precision or the verb."""
        if self.form[self.at : self.at + 1] != "[":
            self.after_index = False
            return
        self.reordered = True
        close = self.form.find("]", self.at)
        body = self.form[self.at + 1 : close] if close >= 0 else ""
        self.at = close + 1 if close >= 0 else self.at + 1
        number = int(body) if _NUMBER.fullmatch(body) else 0
        if 1 <= number <= len(self.values):
            self.argument = number - 1
            self.after_index = True
            return
        self.good = False
        self.after_index = bool(_NUMBER.fullmatch(body))

    def _star(self) -> int | None:
        self.at += 1
        value = self.values[self.argument] if self.argument < len(self.values) else None
        if self.argument < len(self.values):
            self.argument += 1
        self.after_index = False
        ok = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST
        return int(value) if ok and isinstance(value, int) else None

    def _width(self, flags: Flags) -> None:
        if self.form[self.at : self.at + 1] != "*":
            flags.width = self._number()
            if self.after_index and flags.width is not None:
                self.good = False
            return
        flags.width = self._star()
        if flags.width is None:
            self.out += b"%!(BADWIDTH)"
        elif flags.width < 0:
            flags.width, flags.minus, flags.zero = -flags.width, True, False

    def _precision(self, flags: Flags) -> None:
        if self.form[self.at : self.at + 1] != "." or self.at + 1 >= len(self.form):
            return
        self.at += 1
        if self.after_index:
            self.good = False
        self._index()
        if self.form[self.at : self.at + 1] != "*":
            flags.precision = self._number() or 0
            return
        flags.precision = self._star()
        if flags.precision is None or flags.precision < 0:
            flags.precision = None
            self.out += b"%!(BADPREC)"


def _typed(value: Value) -> bytes:
    if value is None or isinstance(value, Nil):
        return b"<nil>"
    return type_name(value).encode() + b"=" + show(value)
