"""Conversations made of what a Jinja itself asks about: the literals in its conditions and in calls on texts.

A template may do something else with a text that ends in a certain word, or from a certain number of messages on; no
committed corpus holds every such word and number, but the template does. Data for the proof; no conclusions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from jinja2 import nodes
from jinja2.exceptions import TemplateError

from conch_ollama.chat_template.conversations import ODD_KIND, Conversation, conversation
from conch_ollama.chat_template.jinja_environment import environment

#: What every template asks about: names of roles and of a message's fields.
_NAMES = frozenset(
    (
        *("role", "content", "user", "assistant", "system", "tool", "tools", "tool_calls", "function", "name", "text"),
        *("type", "ipython", "developer", "thinking", "reasoning_content", "arguments", "parameters", "properties"),
    )
)
_MOST_TEXTS = 40
_LONGEST_TEXT = 200
_MOST_NUMBERS = 10
_MOST_MESSAGES = 100
_LONGEST_CONTENT = 5_000
_TELLING = ("raise_exception", "strftime_now")
_ASKING = (nodes.Compare, nodes.Test, nodes.Call, nodes.Filter, nodes.Slice, nodes.Getitem, nodes.If, nodes.CondExpr)


@cache
def own_conversations(source: str) -> tuple[Conversation, ...]:
    """All of the odd class. None for a source that does not parse, which is another's business to say."""
    return tuple(_own(source))


def _own(source: str) -> Iterator[Conversation]:
    texts, numbers = _literals(source)
    for text in texts:
        forms = (f"{text}a", f"b {text} \n", text, f" c{text}\n\nd {text} e\n ")
        # An open answer is one that stands nowhere else: transformers wants to find it again in the prompt.
        opened = (f"{text}open", f"open {text}", f"open{text}open", f"open {text}\nopen")
        for turn in range(len(forms)):
            system, first, answer, last = (forms[(turn + step) % len(forms)] for step in range(4))
            yield conversation(ODD_KIND, ("s", system), ("u", first), ("a", answer), ("u", last))
            yield conversation(ODD_KIND, ("u", first), ("a", answer), ("u", system), ("a", opened[turn]))
    for number in numbers:
        for size in (number - 1, number, number + 1):
            if 0 < size <= _MOST_MESSAGES:
                yield _of_messages(size)
                yield _of_messages(size, "s")
            contents = ["ab " * (size // 3) + "x" * (size % 3)] if 0 < size <= _LONGEST_CONTENT else []
            contents += ["word " * size, "line\n" * size] if 0 < size <= _MOST_MESSAGES else []
            for content in (*contents, str(size)):
                yield conversation(ODD_KIND, ("s", content), ("u", content), ("a", content), ("u", content))


def _of_messages(count: int, start: str = "") -> Conversation:
    """`count` messages without the system text; the last is a question or an open answer."""
    turns = [("ua"[at % 2], f"text {at}") for at in range(count)]
    return conversation(ODD_KIND, *([(start, "Be brief.")] if start else []), *turns)


def _literals(source: str) -> tuple[list[str], list[int]]:
    """Texts and numbers that are asked about, in their order; not what is only printed, nor the words of a refusal."""
    try:
        tree = environment().parse(source)
    except (TemplateError, RecursionError):
        return [], []
    texts: dict[str, None] = {}
    numbers: dict[int, None] = {}
    for asking in tree.find_all(_ASKING):
        if isinstance(asking, nodes.Call) and isinstance(asking.node, nodes.Name) and asking.node.name in _TELLING:
            continue
        asked = asking.test if isinstance(asking, nodes.If | nodes.CondExpr) else asking
        for one in (asked, *asked.find_all(nodes.Const)):
            value = one.value if isinstance(one, nodes.Const) else None
            if isinstance(value, str) and 0 < len(value) <= _LONGEST_TEXT and value not in _NAMES:
                texts[value] = None
            elif isinstance(value, int) and not isinstance(value, bool) and 1 < abs(value) <= _LONGEST_CONTENT:
                numbers[abs(value)] = None
    return list(texts)[:_MOST_TEXTS], list(numbers)[:_MOST_NUMBERS]
