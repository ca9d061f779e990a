"""What a chat template may do to a text before it prints it: strip its ends, cut off a thought.

The Python side only; `go_trims.py` writes the same in Go. Candidates are tried in the order given, the simplest first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain, permutations, product

from conch_ollama.chat_template.conversations import SPACES

#: The white space of Python's str.strip, the commonest first.
SPACE = " " + SPACES.removesuffix(" ")
START_OF_THOUGHT, END_OF_THOUGHT = "<think>", "</think>"


@dataclass(frozen=True)
class Cut:
    """Of a text with `tag` in it only what follows stays: its last occurrence, or its `first`; up to `until` if that
    comes again. Then `left` and `right` are the characters that go at the ends of what stays."""

    tag: str
    first: bool = False
    until: str = ""
    left: str = ""
    right: str = ""

    def __call__(self, text: str) -> str:
        if self.tag not in text:
            return text
        text = text.split(self.tag, 1)[1] if self.first else text.rsplit(self.tag, 1)[1]
        return _stripped(text.split(self.until, 1)[0] if self.until else text, self.left, self.right)

    @property
    def words(self) -> str:
        """For a reader: what is done."""
        until = f" until {self.until}" if self.until else ""
        return f"cut after {'the first ' if self.first else ''}{self.tag}{until}"


@dataclass(frozen=True)
class Trim:
    """What is cut off first, then the characters that go at the ends, `left` and `right` (none if empty). `early`:
    the ends go before the cut."""

    left: str = ""
    right: str = ""
    cut: Cut | None = None
    early: bool = False

    def __call__(self, text: str) -> str:
        if self.cut is None:
            return _stripped(text, self.left, self.right)
        if self.early:
            return self.cut(_stripped(text, self.left, self.right))
        return _stripped(self.cut(text), self.left, self.right)

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
        parts = [part for part in (self.cut.words if self.cut else "", ends) if part]
        return "; ".join(reversed(parts) if self.early else parts) or "as it is"


def _stripped(text: str, left: str, right: str) -> str:
    text = text.lstrip(left) if left else text
    return text.rstrip(right) if right else text


IDENTITY = Trim()


def _ends() -> Iterable[tuple[str, str]]:
    yield "", ""
    for chars in (SPACE, "\n", " ", " \n"):
        yield from ((chars, chars), (chars, ""), ("", chars))
    yield from ((SPACE, "\n"), ("\n", SPACE), (" \n", SPACE), (" ", SPACE))


_CUT_ENDS = (("", ""), ("\n", ""), (SPACE, ""), (SPACE, SPACE), ("\n", "\n"))


def _cuts(tags: Sequence[str]) -> Iterable[Cut]:
    for tag, first, (left, right) in product(tags, (False, True), _CUT_ENDS):
        yield Cut(tag, first, "", left, right)
    for (tag, until), first, chars in product(permutations(tags, 2), (False, True), ("", SPACE)):
        yield Cut(tag, first, until, chars, chars)


@cache
def candidates(tags: tuple[str, ...] = (END_OF_THOUGHT,)) -> tuple[Trim, ...]:
    """Every trim that is tried, with cuts at these tags."""
    plain = [Trim(left, right) for left, right in _ends()]
    cut = [replace(trim, cut=cut) for cut in _cuts(tags) for trim in plain]
    return (*plain, *cut, *(replace(trim, early=True) for trim in cut if trim.left or trim.right))


def tagged(tags: Sequence[str]) -> tuple[str, ...]:
    """Texts that tell cuts at these tags from one another."""
    alone = [
        (
            *(f"one{tag}\n\ntwo", f" one {tag} two \n", f"one{tag}two{tag}three", f"\n{tag}\n\n a \n\n", f"<a>{tag}b"),
            *(f"\n<think>\n\n{tag}\n\n a \n", f"<think>\n\n{tag}\n\na \n"),
        )
        for tag in tags
    ]
    pairs = [(f"one{tag} two {until} three", f"{until}one{tag}two") for tag, until in permutations(tags, 2)]
    return tuple(text for texts in (*alone, *pairs) for text in texts)


#: What a template may strip besides white space.
_MARKS = "".join(map(chr, range(33, 127))) + "，。、；：？！…"


def stripped(shown: Callable[[str], str | None]) -> Trim:
    """A trim of other characters, found by trying each at both ends of a text. `shown`: what comes of a text."""
    left = "".join(char for char in SPACE + _MARKS if shown(f"{char}海") == "海")
    right = "".join(char for char in SPACE + _MARKS if shown(f"海{char}") == "海")
    return Trim(left, right)


def fitting(
    texts: Iterable[str],
    holds: Callable[[Trim, str], bool],
    shown: Callable[[str], str | None] | None = None,
    tags: tuple[str, ...] = (END_OF_THOUGHT,),
) -> Trim | None:
    """The first candidate that holds for every text that it leaves something of; with `shown` also what it tells."""
    known = list(texts)
    more = map(stripped, [shown] if shown is not None else [])
    return next(
        (one for one in chain(candidates(tags), more) if all(not one(text) or holds(one, text) for text in known)), None
    )
