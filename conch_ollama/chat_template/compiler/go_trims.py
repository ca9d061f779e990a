"""Go code that strips the ends of a variable's text, or cuts off a thought: Go's templates have no such functions.

Byte by byte where a character is a byte, else by its UTF-8. What `trims.py` does in Python is done here in Go.
"""

from __future__ import annotations

from conch_ollama.chat_template.compiler.trims import SPACE
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


def write_cut(out: Writer, variable: str, tag: str, after: str) -> None:
    """Leaves what follows the last `tag`, without `after` characters in front."""
    size = len(tag)
    out.comment(f"Only what follows the last {tag} stays; found by Horspool's search.")
    out.code(f"$left := {variable}")
    out.code("$found := false")
    out.code(f"range len {variable}")
    out.code(f"if lt (len $left) {size}", "break", "end")
    out.code(f"$byte := index $left {size - 1}")
    out.code(f"if eq $byte {_quoted(tag[-1])}")
    found = f"{variable} = slice $left {size}", "$found = true"
    out.code(f"if eq (slice $left 0 {size}) {go_string(tag)}", *found, "end")
    out.code(f"$left = slice $left {size}")
    for char, skip in _skips(tag):
        out.code(f"else if eq $byte {_quoted(char)}", f"$left = slice $left {skip}")
    out.code("else", f"$left = slice $left {size}")
    out.code("end")
    out.code("end")
    if after:
        out.code("if $found")
        write_left(out, variable, after)
        out.code("end")


def _skips(tag: str) -> list[tuple[str, int]]:
    """How far the search may go on, by the byte under the tag's end."""
    last = len(tag) - 1
    skips = {char: last - at for at, char in enumerate(tag[:-1])}
    if tag[-1] in skips:
        raise ValueError(f"the search is written for tags whose last character comes once, not {tag!r}")
    return sorted(skips.items(), key=lambda pair: pair[1])


def _quoted(char: str) -> str:
    return f"'{char}'"


def _listed(chars: str) -> str:
    return " ".join(go_string(char) for char in chars)
