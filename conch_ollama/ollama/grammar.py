"""The value grammar of a Modelfile: which runes survive, where a value ends, how to quote one so that it reads back.

After Ollama's parser/parser.go (v0.9.3; unchanged later): it knows no escapes, drops runes that are not printable, and
ends a quoted value at the first line that ends with the quote. What can't be said so is found here, not solved.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Literal

# What may stand for a value in a file that can't hold it exactly: see `stand_in`.
EXACT_MARK = "conch exact: "
NEWLINES = "\r\n"
# strings.TrimSpace; the other Unicode spaces never get into the buffer, because they are not printable.
SPACES = " \t\r\n"

Quote = Literal["", '"', '"""']


def is_printable(rune: str) -> bool:
    """Go's strconv.IsPrint: letters, marks, numbers, punctuation, symbols and the ASCII space.

    The version of Unicode is Python's: a rune newer than Ollama's Go knows is dropped by Ollama and kept here.
    """
    return rune == " " or unicodedata.category(rune)[0] in "LMNPS"


def survives(rune: str) -> bool:
    """Whether the rune gets through a quoted value: what is printable, and the grammar's own white space."""
    return is_printable(rune) or rune in "\t\r\n"


def unquote(text: str) -> str | None:
    """The value inside its quotes; None where the closing quote is missing (so far)."""
    if text.startswith('"""'):
        return text[3:-3] if len(text) >= 6 and text.endswith('"""') else None
    if text.startswith('"'):
        return text[1:-1] if len(text) >= 2 and text.endswith('"') else None
    return text


def reads_back(value: str, quote: Quote) -> bool:
    """Whether Ollama reads `value` again from `KEYWORD <quote>value<quote>` and a new line."""
    if not all(map(survives, value)):
        return False
    text = f"{quote}{value}{quote}"
    for position, rune in enumerate(text):
        if rune in NEWLINES and unquote(text[:position].strip(SPACES)) is not None:
            return False  # the value would end here
    return unquote(text.strip(SPACES)) == value


def quoted(value: str, preferred: tuple[Quote, ...] = ('"""', '"', "")) -> str | None:
    """`value` as a Modelfile has it, in the first of the preferred quotes that reads back; None if none does."""
    for quote in preferred:
        if reads_back(value, quote):
            return f"{quote}{value}{quote}"
    return None


def why_unwritable(value: str) -> str | None:
    """Why no way of quoting carries `value`; None where one does."""
    if quoted(value) is not None:
        return None
    dropped = sorted({rune for rune in value if not survives(rune)})
    if dropped:
        shown = ", ".join(f"U+{ord(rune):04X}" for rune in dropped[:5])
        return f"Ollama's parser drops {shown}{' …' if len(dropped) > 5 else ''}"
    return 'a line ends with """, which ends the value'


def stand_in(value: str) -> str:
    """The nearest writable text: without the dropped runes, and with ''' for a \"\"\" that ends it."""
    kept = "".join(rune for rune in value if survives(rune))
    if quoted(kept) is not None:
        return kept
    return kept.replace('"""', "'''")


def exact_comment(value: str) -> str:
    """The comment that carries a value which the next instruction can't: JSON in ASCII, so it is one line."""
    return EXACT_MARK + json.dumps(value)


def exact_value(comment: str) -> str | None:
    """The value that an `exact_comment` carries, else None."""
    if not comment.startswith(EXACT_MARK):
        return None
    try:
        value = json.loads(comment.removeprefix(EXACT_MARK))
    except ValueError:
        return None
    return value if isinstance(value, str) else None
