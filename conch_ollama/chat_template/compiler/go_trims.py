"""Go code that strips the ends of a variable's text, or cuts off a thought: Go's templates have no such functions.

Byte by byte where a character is a byte, else by its UTF-8. What `trims.py` does in Python is done here in Go.
"""

from __future__ import annotations

from collections.abc import Sequence

from conch_ollama.chat_template.compiler.model import Thought
from conch_ollama.chat_template.compiler.trims import END_OF_THOUGHT, SPACE, Cut, Trim
from conch_ollama.chat_template.compiler.writer import Writer
from conch_ollama.chat_template.families import go_string

_NAMES = {SPACE: "White space, as Python's str.strip knows it,", " ": "A space", "\n": "A line feed"}


def write_left(out: Writer, variable: str, chars: str) -> None:
    """Takes `chars` off the start of the text in `variable`."""
    out.comment(f"{_NAMES.get(chars, 'White space')} in front goes.")
    out.code(f"range len {variable}")
    out.code(f'$one := printf "%.1s" {variable}')
    out.code(f"if not (eq $one {_listed(chars)})", "break", "end")
    out.code(f"{variable} = slice {variable} (len $one)")
    out.code("end")


def write_right(out: Writer, variable: str, chars: str) -> None:
    """Takes `chars` off the end of the text in `variable`."""
    out.comment(f"{_NAMES.get(chars, 'White space')} behind goes.")
    out.code(f"range len {variable}")
    out.code('$cut := ""')
    for number, name in enumerate(("one", "two", "three"), start=1):
        sized = "".join(char for char in chars if len(char.encode()) == number)
        if sized:
            out.code(f"if and (not $cut) (ge (len {variable}) {number})")
            out.code(f"${name} := slice {variable} (len (slice {variable} {number}))")
            out.code(f"if eq ${name} {_listed(sized)}", f"$cut = ${name}", "end")
            out.code("end")
    out.code("if not $cut", "break", "end")
    out.code(f"{variable} = slice {variable} 0 (len (slice {variable} (len $cut)))")
    out.code("end")


def write_cut(out: Writer, variable: str, cut: Cut) -> None:
    """Leaves what `cut` leaves of the text in `variable`."""
    out.comment(f"Only what follows the {'first' if cut.first else 'last'} {cut.tag} stays.")
    out.code("$found := false")
    _search(out, variable, cut.tag, (f"{variable} = slice $left {_size(cut.tag)}", "$found = true"), once=cut.first)
    if cut.until or cut.left or cut.right:
        out.code("if $found")
        if cut.until:
            out.comment(f"And that only up to {cut.until}.")
            _search(out, variable, cut.until, (f"{variable} = {_before(variable)}",))
        _write_ends(out, variable, cut.left, cut.right)
        out.code("end")


def write_trim(out: Writer, variable: str, trim: Trim) -> None:
    """Leaves what `trim` leaves of the text in `variable`."""
    if trim.cut and not trim.early:
        write_cut(out, variable, trim.cut)
    _write_ends(out, variable, trim.left, trim.right)
    if trim.cut and trim.early:
        write_cut(out, variable, trim.cut)


def _write_ends(out: Writer, variable: str, left: str, right: str) -> None:
    if left:
        write_left(out, variable, left)
    if right:
        write_right(out, variable, right)


def write_thought(out: Writer, text: str, variable: str, thought: Thought) -> None:
    """Puts the thought in `text` into `variable`, and leaves the answer."""
    write_trim(out, text, thought.whole)
    _search(out, text, END_OF_THOUGHT, (f"{variable} = {_before(text)}",))
    write_cut(out, text, thought.answer)
    write_trim(out, variable, thought.trim)


def write_told(out: Writer, thought: Thought, text: str) -> None:
    """Prints `$thought`, and `text`, the answer."""
    _write_ends(out, "$thought", thought.ends, thought.ends)
    out.text(thought.lead)
    out.value("$thought")
    if thought.alone == thought.middle:
        out.text(thought.middle)
    else:
        out.code(f"if {text}")
        out.text(thought.middle)
        out.code("else")
        out.text(thought.alone)
        out.code("end")
    out.value(text)


def _search(out: Writer, variable: str, tag: str, found: Sequence[str], *, once: bool = True) -> None:
    """Horspool's search: does `found` where the rest of the text, `$left`, begins with the tag."""
    size = _size(tag)
    out.code(f"$left := {variable}")
    out.code(f"range len {variable}")
    out.code(f"if lt (len $left) {size}", "break", "end")
    out.code(f"$byte := index $left {size - 1}")
    out.code(f"if eq (slice $left 0 {size}) {go_string(tag)}", *found)
    out.code("break" if once else f"$left = slice $left {_period(tag)}")
    for byte, skip in _skips(tag):
        out.code(f"else if eq $byte {_byte(byte)}", f"$left = slice $left {skip}")
    out.code("else", f"$left = slice $left {size}")
    out.code("end")
    out.code("end")


def _before(variable: str) -> str:
    """What of the text in `variable` stands before `$left`, its end."""
    return f"slice {variable} 0 (len (slice {variable} (len $left)))"


def _size(text: str) -> int:
    return len(text.encode())


def _period(tag: str) -> int:
    """How soon a tag can begin again: within itself, as `aba` does."""
    raw = tag.encode()
    return next(size for size in range(1, len(raw) + 1) if raw.startswith(raw[size:]))


def _skips(tag: str) -> list[tuple[int, int]]:
    """How far the search may go on, by the byte under the tag's end."""
    raw = tag.encode()
    skips = {byte: len(raw) - 1 - at for at, byte in enumerate(raw[:-1])}
    return sorted(skips.items(), key=lambda pair: pair[1])


def _byte(byte: int) -> str:
    """As a number or a character constant."""
    char = chr(byte)
    return f"'{char}'" if char.isascii() and char.isprintable() and char not in "'\\" else str(byte)


def _listed(chars: str) -> str:
    return " ".join(go_string(char) for char in chars)
