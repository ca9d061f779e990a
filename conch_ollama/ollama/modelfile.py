"""A Modelfile as data; `write` to text, `load` and `save` on disk. The reading of its text is in modelfile_parse.

TEMPLATE is written with Go escapes where a Modelfile can't hold a rune; other values that it can't hold get the nearest
writable text and, in a comment above it, the exact value, which `parse` takes and Ollama does not see.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from conch_ollama.errors import BadModelfileError, NotFoundError
from conch_ollama.ollama.grammar import EXACT_MARK, Quote, exact_comment, quoted, stand_in, why_unwritable
from conch_ollama.ollama.parameters import ParameterValue, check_parameter, parameter_text
from conch_ollama.ollama.template_text import escape_template

ROLES = ("system", "user", "assistant")
_BLOCK: tuple[Quote, ...] = ('"""', '"', "")
_BARE: tuple[Quote, ...] = ("", '"', '"""')


@dataclass(frozen=True)
class ModelMessage:
    """MESSAGE: one of the turns that come before the user's."""

    role: str
    content: str


@dataclass(frozen=True)
class Modelfile:
    """`from_` is FROM: a path, as written, or a model name. `comments` are the lines at the top, without `# `.

    `parameters` are checked against Ollama's types (`stop` is a tuple). `renderer`, `parser` and `requires` are errors
    before Ollama 0.12. `deprecated` lists parameters that Ollama ignores, found in reading.
    """

    from_: str
    template: str | None = None
    system: str | None = None
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    messages: tuple[ModelMessage, ...] = ()
    license: tuple[str, ...] = ()
    adapter: str | None = None
    renderer: str | None = None
    parser: str | None = None
    requires: str | None = None
    comments: tuple[str, ...] = ()
    deprecated: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        checked = {name: check_parameter(name, value) for name, value in self.parameters.items()}
        object.__setattr__(self, "parameters", {name: value for name, value in checked.items() if value != ()})
        for message in self.messages:
            if message.role not in ROLES:
                raise BadModelfileError(f"MESSAGE {message.role}: a role is one of {', '.join(ROLES)}")


@dataclass(frozen=True)
class Unwritable:
    """A value that a Modelfile can't hold: `ollama create -f` gets another text, `conch register` sends it exactly."""

    instruction: str
    reason: str


def unwritable(modelfile: Modelfile) -> tuple[Unwritable, ...]:
    """The instructions whose value the written file carries only in a comment, with the reason."""
    found = []
    for instruction, value, _ in _instructions(modelfile):
        reason = why_unwritable(value)
        if reason:
            found.append(Unwritable(instruction, reason))
    return tuple(found)


def writable_template(modelfile: Modelfile) -> Modelfile:
    """The same with TEMPLATE as `write` writes it, so that `parse(write(m)) == writable_template(m)`."""
    return modelfile if modelfile.template is None else replace(modelfile, template=escape_template(modelfile.template))


def write(modelfile: Modelfile) -> str:
    """The text of a Modelfile that `parse` reads back equal, and Ollama too but for what `unwritable` names."""
    lines = []
    for comment in modelfile.comments:
        if any(end in comment for end in "\r\n") or comment.startswith(EXACT_MARK):
            raise BadModelfileError(f"comment {comment[:40]!r}: not a single line of plain comment")
        lines.append(f"# {comment}" if comment else "#")
    for instruction, value, preferred in _instructions(modelfile):
        text = quoted(value, preferred)
        if text is None:
            near = stand_in(value)
            lines += [
                f"# {instruction}: {why_unwritable(value)}; `conch register` sends the exact text of the next line:",
                f"# {exact_comment(value)}",
            ]
            text = quoted(near, preferred)
        if text is None:
            raise BadModelfileError(f"{instruction}: {value[:60]!r} can't be written in a Modelfile")
        lines.append(f"{instruction} {text}")
    return "\n".join(lines) + "\n"


def _instructions(modelfile: Modelfile) -> Iterator[tuple[str, str, tuple[Quote, ...]]]:
    """(keyword and name, value, quotes in order of preference) in the order of the file."""
    yield "FROM", modelfile.from_, _BARE
    if modelfile.adapter is not None:
        yield "ADAPTER", modelfile.adapter, _BARE
    for keyword in ("renderer", "parser", "requires"):
        value = getattr(modelfile, keyword)
        if value is not None:
            yield keyword.upper(), value, _BARE
    if modelfile.template is not None:
        yield "TEMPLATE", escape_template(modelfile.template), _BLOCK
    if modelfile.system is not None:
        yield "SYSTEM", modelfile.system, _BLOCK
    for name, value in modelfile.parameters.items():
        for single in value if isinstance(value, tuple) else (value,):
            if isinstance(single, str):
                yield f"PARAMETER {name}", single, ('"', '"""', "")
            else:
                yield f"PARAMETER {name}", parameter_text(single), _BARE
    for message in modelfile.messages:
        yield f"MESSAGE {message.role}", message.content, _BLOCK
    for text in modelfile.license:
        yield "LICENSE", text, _BLOCK


def parse(text: str) -> Modelfile:
    """Reads the text of a Modelfile as Ollama does. Raises BadModelfileError, which names the line."""
    from conch_ollama.ollama.modelfile_parse import parse_text

    return parse_text(text)


def read_text(path: Path) -> str:
    """The text of a Modelfile in UTF-8 or, by its byte order mark, UTF-16; line ends as they are."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError as err:
        raise NotFoundError(f"{path}: no such Modelfile") from err
    except OSError as err:
        raise BadModelfileError(f"{path}: can't be read: {err.strerror}") from err
    encoding = "utf-8-sig"
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as err:
        raise BadModelfileError(
            f"{path}: byte {err.start} is not {encoding.removesuffix('-sig').upper()}", hint="save the file as UTF-8"
        ) from err


def load(path: Path) -> Modelfile:
    """Reads and parses a Modelfile; errors name the file."""
    text = read_text(path)
    try:
        return parse(text)
    except BadModelfileError as err:
        raise BadModelfileError(f"{path}: {err.message}", hint=err.hint) from err


def save(modelfile: Modelfile, path: Path) -> None:
    """Writes a Modelfile in UTF-8, line ends as they are."""
    path.write_bytes(write(modelfile).encode("utf-8"))
