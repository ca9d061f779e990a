"""Puts a TEMPLATE together from literal texts and actions, and sees to the white space between them.

Go's trim markers take literal white space on either side, so a marker is written only where nothing but the writer's
own line feed stands. What would not survive a Modelfile or Go's lexer is quoted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from conch_ollama.chat_template.families import go_string
from conch_ollama.chat_template.go.escapes import is_print


class Writer:
    def __init__(self) -> None:
        self._parts: list[tuple[str, str]] = []

    def text(self, text: str) -> None:
        """Literal output."""
        if not text:
            return
        if self._parts and self._parts[-1][0] == "text":
            text = self._parts.pop()[1] + text
        self._parts.append(("text", text))

    def value(self, expression: str) -> None:
        """An expression that is printed."""
        self._parts.append(("value", expression))

    def code(self, *actions: str) -> None:
        """Actions without output of their own, on one line."""
        self._parts.append(("code", " }}{{ ".join(actions)))

    def comment(self, text: str) -> None:
        self._parts.append(("comment", text))

    def extend(self, other: Writer) -> None:
        """What the other has written, after this."""
        for kind, part in other._parts:
            self.text(part) if kind == "text" else self._parts.append((kind, part))

    @contextmanager
    def block(self, action: str | None) -> Iterator[None]:
        """`action` … `end`; dropped where nothing was written in between. None: no block around it."""
        if action is None:
            yield
            return
        mark = len(self._parts)
        self.code(action)
        yield
        if len(self._parts) == mark + 1:
            self._parts.pop()
        else:
            self.code("end")

    def finished(self) -> str:
        out = ""
        for kind, part in self._parts:
            marker = "{{ " if out and out[-1].isspace() else "\n{{- " if out else "{{- "
            if kind == "text":
                out += _literal(part)
            elif kind == "value":
                out += "{{ " + part + " }}"
            elif kind == "comment":  # Go takes no space before its end, and none before it but after a trim marker
                out += ("{{" if marker == "{{ " else marker) + f"/* {part} */}}}}"
            else:
                out += marker + part + " }}"
        return out


def _literal(text: str) -> str:
    """As it is if that is safe, else quoted."""
    plain = all(is_print(char) or char in "\n\t" for char in text)
    if plain and "{{" not in text and '"""' not in text and not text.endswith("{"):
        return text
    return "{{ " + go_string(text) + " }}"
