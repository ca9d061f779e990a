"""What a chat template may do to a text before it prints it: strip its ends, cut off a thought.

The Python side only; `go_trims.py` writes the same in Go. Candidates are tried in the order given, the simplest first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain

from conch_ollama.chat_template.conversations import SPACES

#: The white space of Python's str.strip, the commonest first.
SPACE = " " + SPACES.removesuffix(" ")
END_OF_THOUGHT = "</think>"


@dataclass(frozen=True)
class Trim:
    """`cut`: only what follows its last occurrence, and there without `after_cut` characters in front. Then `left` and
    `right` are the characters that go at the ends (none if empty)."""

    left: str = ""
    right: str = ""
    cut: str = ""
    after_cut: str = ""

    def __call__(self, text: str) -> str:
        if self.cut and self.cut in text:
            text = text.rsplit(self.cut, 1)[1].lstrip(self.after_cut) if self.after_cut else text.rsplit(self.cut, 1)[1]
        text = text.lstrip(self.left) if self.left else text
        return text.rstrip(self.right) if self.right else text

    @property
    def is_identity(self) -> bool:
        return not (self.left or self.right or self.cut)

    @property
    def words(self) -> str:
        """For a reader: what is done."""
        names = {"": "", SPACE: "white space", "\n": "line feeds", " ": "spaces"}
        left, right = names.get(self.left, repr(self.left)), names.get(self.right, repr(self.right))
        ends = f"{left} at both ends goes" if left == right != "" else ""
        ends = ends or ", ".join(f"{what} at the {end} goes" for what, end in ((left, "start"), (right, "end")) if what)
        return "; ".join(part for part in (f"cut after {self.cut}" if self.cut else "", ends) if part) or "as it is"


IDENTITY = Trim()


def _ends() -> Iterable[tuple[str, str]]:
    yield "", ""
    for chars in (SPACE, "\n", " ", " \n"):
        yield from ((chars, chars), (chars, ""), ("", chars))
    yield from ((SPACE, "\n"), ("\n", SPACE), (" \n", SPACE), (" ", SPACE))


CANDIDATES = (
    *(Trim(left, right) for left, right in _ends()),
    *(Trim(left, right, END_OF_THOUGHT, after) for left, right in _ends() for after in ("", "\n", SPACE)),
)


#: What a template may strip besides white space.
_MARKS = "".join(map(chr, range(33, 127))) + "，。、；：？！…"


def stripped(shown: Callable[[str], str | None]) -> Trim:
    """A trim of other characters, found by trying each at both ends of a text. `shown`: what comes of a text."""
    left = "".join(char for char in SPACE + _MARKS if shown(f"{char}海") == "海")
    right = "".join(char for char in SPACE + _MARKS if shown(f"海{char}") == "海")
    return Trim(left, right)


def fitting(
    texts: Iterable[str], holds: Callable[[Trim, str], bool], shown: Callable[[str], str | None] | None = None
) -> Trim | None:
    """The first candidate that holds for every text that it leaves something of; with `shown` also what it tells."""
    known = list(texts)
    more = map(stripped, [shown] if shown is not None else [])
    return next(
        (one for one in chain(CANDIDATES, more) if all(not one(text) or holds(one, text) for text in known)), None
    )
