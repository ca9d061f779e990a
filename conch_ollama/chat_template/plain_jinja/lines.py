"""Lines of plain Jinja, indented: every tag takes the white space around it, so only what is meant is printed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Lines:
    """`lines` so far. Blocks in which nothing stands are left out."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 0

    def show(self, expression: str) -> None:
        """Print the expression."""
        self.lines.append("    " * self.depth + "{{- " + expression + " -}}")

    def set(self, name: str, value: str) -> None:
        """Give a variable a value, unless it is its own."""
        if value != name:
            self.code(f"set {name} = {value}")

    def code(self, code: str) -> None:
        """A statement."""
        self.lines.append("    " * self.depth + "{%- " + code + " -%}")

    def otherwise(self, code: str = "else") -> None:
        """Within a block: what comes otherwise."""
        self.depth -= 1
        self.code(code)
        self.depth += 1

    @contextmanager
    def block(self, code: str, end: str = "endif") -> Iterator[None]:
        """A statement with others in it. An empty `else` is dropped, and an empty part before one turned round."""
        start = len(self.lines)
        self.code(code)
        self.depth += 1
        yield
        self.depth -= 1
        line = "    " * self.depth + "{%- else -%}"
        if self.lines[-1] == line:
            self.lines.pop()
        if len(self.lines) == start + 1:
            self.lines.pop()
            return
        if self.lines[start + 1] == line:
            self.lines[start : start + 2] = ["    " * self.depth + "{%- if not (" + code.removeprefix("if ") + ") -%}"]
        self.code(end)
