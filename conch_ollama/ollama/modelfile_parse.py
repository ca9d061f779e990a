"""Reads the text of a Modelfile: rune by rune through the states of Ollama's parser, so that both see the same values.

Stricter than Ollama where that would pass over a mistake: an unknown parameter or a wrong value is an error already
here, and so are a second FROM and DRAFT, which conch does not handle.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from conch_ollama.errors import BadModelfileError
from conch_ollama.ollama.grammar import NEWLINES, SPACES, exact_value, is_printable, stand_in, unquote
from conch_ollama.ollama.modelfile import ROLES, Modelfile, ModelMessage
from conch_ollama.ollama.parameters import DEPRECATED, PARAMETERS, STRINGS, parse_parameter, unknown_parameter

KEYWORDS = (
    *("from", "license", "template", "system", "adapter", "parameter", "message"),
    *("renderer", "parser", "requires", "draft"),
)
_ALPHABET = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_PARAMETER_RUNES = _ALPHABET | frozenset("0123456789_")


@dataclass(frozen=True)
class Instruction:
    """`name` is a parameter's name or a message's role, empty for the others."""

    keyword: str
    name: str
    value: str
    line: int


def parse_text(text: str) -> Modelfile:
    """The Modelfile that `text` spells. Raises BadModelfileError with the line."""
    comments, instructions = scan(text.removeprefix("\ufeff"))
    collected = _Collected()
    for instruction in instructions:
        try:
            collected.add(instruction)
        except BadModelfileError as err:
            raise BadModelfileError(f"line {instruction.line}: {err.message}", hint=err.hint) from err
    if "from_" not in collected.values:
        raise BadModelfileError("no FROM line", hint="a Modelfile names its model: FROM ./model.gguf")
    if collected.stops:
        collected.parameters["stop"] = tuple(collected.stops)
    return Modelfile(
        **collected.values,
        parameters=collected.parameters,
        messages=tuple(collected.messages),
        license=tuple(collected.licenses),
        deprecated=tuple(collected.deprecated),
        comments=tuple(comments),
    )


@dataclass
class _Collected:
    values: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    stops: list[str] = field(default_factory=list)
    messages: list[ModelMessage] = field(default_factory=list)
    licenses: list[str] = field(default_factory=list)
    deprecated: list[str] = field(default_factory=list)

    def add(self, instruction: Instruction) -> None:
        keyword, name, value = instruction.keyword, instruction.name, instruction.value
        if keyword == "from":
            if "from_" in self.values:
                raise BadModelfileError(
                    f"FROM {value}: a second FROM", hint="projectors beside the model are not handled"
                )
            if not value:
                raise BadModelfileError("FROM names nothing")
            self.values["from_"] = value
        elif keyword == "license":
            self.licenses.append(value)
        elif keyword == "message":
            self.messages.append(ModelMessage(name, value))
        elif keyword == "parameter":
            self._add_parameter(name, value)
        elif keyword == "draft":
            raise BadModelfileError("DRAFT is not handled")
        else:
            self.values[keyword] = value  # the last one wins

    def _add_parameter(self, name: str, value: str) -> None:
        if name in DEPRECATED:
            self.deprecated.append(name)
        elif name not in PARAMETERS:
            raise unknown_parameter(name)
        elif name in STRINGS:
            self.stops.append(value)
            self.parameters.setdefault(name, ())  # keeps its place
        else:
            self.parameters[name] = parse_parameter(name, value)


def scan(text: str) -> tuple[list[str], list[Instruction]]:
    """(comment lines before the first instruction, instructions)."""
    scanner = _Scanner(text)
    comments: list[str] = []
    instructions: list[Instruction] = []
    exact: str | None = None
    while (rune := scanner.skip_space()) is not None:
        if rune == "#":
            comment = scanner.comment()
            carried = exact_value(comment)
            exact = carried if carried is not None else exact
            if not instructions:
                comments.append(comment)
            continue
        instruction = scanner.instruction()
        if exact is not None and stand_in(exact) == instruction.value:
            instruction = Instruction(instruction.keyword, instruction.name, exact, instruction.line)
        exact = None
        instructions.append(instruction)
    return _without_exact(comments), instructions


def _without_exact(comments: list[str]) -> list[str]:
    """Takes away the pairs of lines that `write` puts above a value which the file can't hold."""
    kept: list[str] = []
    for comment in comments:
        if exact_value(comment) is None:
            kept.append(comment)
        elif kept:
            kept.pop()
    return kept


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    @property
    def line(self) -> int:
        before = self.text[: self.position]
        return before.count("\n") + before.count("\r") - before.count("\r\n") + 1

    def skip_space(self) -> str | None:
        """The next rune that is not white space, not taken; None at the end."""
        while self.position < len(self.text) and self.text[self.position] in SPACES:
            self.position += 1
        return self.text[self.position] if self.position < len(self.text) else None

    def comment(self) -> str:
        start = self.position + 1
        while self.position < len(self.text) and self.text[self.position] not in NEWLINES:
            self.position += 1
        return self.text[start : self.position].removeprefix(" ")

    def instruction(self) -> Instruction:
        line = self.line
        if not is_printable(self.text[self.position]):
            self.position += 1  # an ideographic space before FROM: Ollama passes over it
        keyword = self._word(_ALPHABET).lower()
        if keyword not in KEYWORDS:
            raise BadModelfileError(
                f"line {line}: {keyword or self.text[self.position : self.position + 10]!r} is not an instruction",
                hint=f"an instruction is one of {', '.join(KEYWORDS).upper()}",
            )
        name = ""
        if keyword in {"parameter", "message"}:
            name = self._word(_PARAMETER_RUNES if keyword == "parameter" else _ALPHABET)
            if not name:
                raise BadModelfileError(f"line {line}: {keyword.upper()} is followed by more than one space")
            if keyword == "message" and name not in ROLES:
                raise BadModelfileError(f"line {line}: MESSAGE {name}: a role is one of {', '.join(ROLES)}")
        return Instruction(keyword, name, self._value(f"{keyword.upper()} {name}".rstrip()), line)

    def _word(self, alphabet: frozenset[str]) -> str:
        """Takes a word and the one space or tab after it."""
        start = self.position
        while self.position < len(self.text) and self.text[self.position] in alphabet:
            self.position += 1
        word = self.text[start : self.position]
        if self.position >= len(self.text) or self.text[self.position] in NEWLINES:
            raise BadModelfileError(f"line {self.line}: {word!r} has no value")
        if self.text[self.position] not in " \t":
            rest = self.text[start : self.position + 10].splitlines()[0]
            raise BadModelfileError(f"line {self.line}: {rest!r} is not a name followed by a space")
        self.position += 1
        return word

    def _value(self, what: str) -> str:
        """Runs to the first line end at which the quotes are closed; runes that are not printable are dropped."""
        line = self.line
        kept: list[str] = []
        while self.position < len(self.text):
            rune = self.text[self.position]
            if rune in NEWLINES:
                if _is_closed(kept):
                    break
                kept.append(rune)
            elif is_printable(rune) or rune == "\t":
                kept.append(rune)
            self.position += 1
        value = unquote("".join(kept).strip(SPACES))
        if value is None:
            raise BadModelfileError(
                f"line {line}: the quotes of {what} are not closed", hint="a line must end with them"
            )
        return value


def _is_closed(runes: list[str]) -> bool:
    """Whether `unquote` gives a value for the runes so far, told from both ends: values may be long licence texts."""
    head = next((at for at, rune in enumerate(runes) if rune not in SPACES), len(runes))
    if head == len(runes) or runes[head] != '"':
        return True
    tail = len(runes)
    while runes[tail - 1] in SPACES:
        tail -= 1
    if runes[head : head + 3] == ['"', '"', '"']:
        return tail - head >= 6 and runes[tail - 3 : tail] == ['"', '"', '"']
    return tail - head >= 2 and runes[tail - 1] == '"'
