"""Renders marked conversations through the Jinja: every text is a marker that nothing else can be taken for.

A shape says which messages there are; `Probe` renders it and takes the prompt apart at the markers. No conclusions.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jinja2 import nodes

from conch_ollama.chat_template.compiler.counts import Count
from conch_ollama.chat_template.compiler.model import NotExpressibleError
from conch_ollama.chat_template.compiler.trims import END_OF_THOUGHT
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.jinja_environment import environment
from conch_ollama.errors import BadTemplateError

SYSTEM_MARK = "ZqS0qZ"
WRAPPING = ("<tool_response>\n", "\n</tool_response>")
_MARK = re.compile(r"(Zq[SUA]\d+qZ)")
Message = Mapping[str, Any]
_SPLITTING = ("split", "rsplit", "partition", "rpartition")
_TAG_SIZES = range(3, 60)
_MOST_TAGS = 4


@dataclass(frozen=True)
class Shape:
    """A system text or none, then `users` questions with answers between them, and one at the end if `prefill`.

    `wrapped`: the questions look like tool results, as Qwen's templates show them, all but the first `asked`."""

    system: str | None
    users: int
    prefill: bool = False
    wrapped: bool = False
    asked: int = 0

    @cached_property
    def roles(self) -> tuple[str, ...]:
        """Without the system message."""
        return ("user", "assistant") * (self.users - 1) + (("user", "assistant") if self.prefill else ("user",))

    def mark(self, at: int) -> str:
        return f"Zq{'UA'[at % 2]}{at // 2}qZ"

    def messages(self, contents: Mapping[int, str] | None = None, system: str | None = None) -> list[Message]:
        """The messages, some of them (by their place in `roles`) with other texts."""
        given = contents or {}
        chat: list[Message] = []
        if self.system is not None:
            chat.append({"role": "system", "content": self.system if system is None else system})
        chat += [{"role": role, "content": given.get(at, self._text(at))} for at, role in enumerate(self.roles)]
        return chat

    def _text(self, at: int) -> str:
        wrapped = self.wrapped and at % 2 == 0 and at // 2 >= self.asked
        return WRAPPING[0] + self.mark(at) + WRAPPING[1] if wrapped else self.mark(at)

    def place(self, at: int) -> frozenset[str]:
        """The features of a message's place, but those of the system text."""
        role = self.roles[at]
        same = [other for other, name in enumerate(self.roles) if name == role]
        asked = 2 * ((self.asked if self.wrapped else self.users) - 1)
        found = {
            "final": at == len(self.roles) - 1,
            "first": at == same[0],
            "last": at == same[-1],
            "prefilled": self.prefill,
            "unasked": self.wrapped and not self.asked,
            "fresh": role == "assistant" and at > asked,
        }
        return frozenset(name for name, holds in found.items() if holds)


class Probe:
    """A Jinja template, its prompts without the BOS that the server puts in front by itself."""

    def __init__(self, jinja: JinjaTemplate, *, add_bos: bool, bos_token: str) -> None:
        self.jinja = jinja
        self.tools: Sequence[Message] | None = None
        self.count: Count | None = None
        self.bos = bos_token if add_bos and self._writes(bos_token) else ""
        self.tags = tags_of(jinja.source)

    def with_tools(self, tools: Sequence[Message]) -> Probe:
        """The same, with these tools declared in every conversation."""
        other = copy.copy(self)
        other.tools = tools
        return other

    def counting(self, count: Count) -> Probe:
        """The same, with the numbers of `count` taken out of what is observed."""
        other = copy.copy(self)
        other.count = count
        return other

    def _writes(self, bos: str) -> bool:
        """Whether the template writes the BOS; if not, one at a prompt's start is a message's text."""
        self.bos = ""
        texts = (self.render(Shape(system, 1).messages()) for system in (None, SYSTEM_MARK))
        return any(text is not None and text.startswith(bos) for text in texts)

    def render(self, messages: Sequence[Message], *, generate: bool = True, think: bool | None = None) -> str | None:
        """None where the template refuses or fails. A last answer is continued if `generate`."""
        prefill = generate and messages[-1]["role"] == "assistant"
        options: dict[str, Any] = {} if think is None else {"enable_thinking": think}
        try:
            text = self.jinja.render(
                messages,
                add_generation_prompt=generate,
                continue_final_message=prefill,
                tools=self.tools,
                **options,
            )
        except BadTemplateError:
            return None
        return text.removeprefix(self.bos) if self.bos else text


def taken_apart(shape: Shape, text: str) -> list[list[str]]:
    """What stands before, between and after the messages' texts; each a list of literals and system markers.

    Raises NotExpressibleError where a text is missing, comes twice or in another order.
    """
    gaps: list[list[str]] = [[]]
    wanted = [shape.mark(at) for at in range(len(shape.roles))]
    for part in _MARK.split(text):
        if part == SYSTEM_MARK or not _MARK.fullmatch(part):
            gaps[-1] += [part] if part else []
            continue
        if len(gaps) > len(wanted) or part != wanted[len(gaps) - 1]:
            raise NotExpressibleError(
                "a message's text that is dropped, repeated or moved", "only texts printed once, in order, are compiled"
            )
        gaps.append([])
    if len(gaps) != len(wanted) + 1:
        raise NotExpressibleError("a message's text that is not printed", "only texts printed once are compiled")
    return gaps


def parts_of(text: str) -> list[str]:
    """Literals and system markers."""
    return [part for part in re.split(f"({SYSTEM_MARK})", text) if part]


def tags_of(source: str) -> tuple[str, ...]:
    """Where a template may cut texts: what it splits them by, and the end of a thought."""
    found = dict.fromkeys((END_OF_THOUGHT,))
    for call in environment().parse(source).find_all(nodes.Call):
        splits = isinstance(call.node, nodes.Getattr) and call.node.attr in _SPLITTING
        given = call.args[0] if splits and call.args else None
        if isinstance(given, nodes.Const) and isinstance(given.value, str) and len(given.value) in _TAG_SIZES:
            found[given.value] = None
    return tuple(found)[:_MOST_TAGS]
