"""What a template's operators, methods and formats may be asked for: checked before each is run.

Filters and tests have theirs in `jinja_filters.py`; the budget itself is kept by `jinja_limits.py`. A check knows what
its operation makes of how much; one that can't be bounded, or that no chat template needs, is not offered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from jinja2.sandbox import SandboxedEscapeFormatter, SandboxedFormatter

from conch_ollama.chat_template.jinja_limits import (
    LARGEST,
    LARGEST_INTEGER_BITS,
    BoundedContext,
    LimitError,
)

Check = Callable[..., None]

REFUSED_METHODS = frozenset(("encode", "from_bytes", "maketrans", "to_bytes", "translate", "unescape", "striptags"))
_DIGITS = re.compile(r"\d+")


def number(value: Any) -> int:
    """A width or count as far as it is one; what is no number fails in the operation itself."""
    return abs(value) if isinstance(value, int) else len(value) if isinstance(value, str) else 0


# -- operators


def check_operation(context: BoundedContext, operator: str, left: Any, right: Any) -> None:
    if operator == "%":
        if isinstance(left, str):
            check_printf(context, left, right)
    elif operator == "*":
        _check_product(context, left, right)
    elif operator == "**" and isinstance(left, int) and isinstance(right, int):
        if left.bit_length() * right > LARGEST_INTEGER_BITS:
            raise LimitError(f"** would make an integer of more than {LARGEST_INTEGER_BITS} bits")
    elif operator == "+" and isinstance(left, str) and isinstance(right, str):
        context.bound(len(left) + len(right), "+")


def _check_product(context: BoundedContext, left: Any, right: Any) -> None:
    for value, count in ((left, right), (right, left)):
        if isinstance(count, int):
            if isinstance(value, str):
                context.bound(len(value) * count, "*")
            elif isinstance(value, list | tuple):
                context.bound((context.weigh(value) << 4) * count, "*")
            elif isinstance(value, int) and value.bit_length() + count.bit_length() > LARGEST_INTEGER_BITS:
                raise LimitError(f"* would make an integer of more than {LARGEST_INTEGER_BITS} bits")


def check_printf(context: BoundedContext, form: str, values: Any) -> None:
    """Widths and precisions together, and the values as often as they may be printed."""
    size = sum(int(digits) if len(digits) < 10 else LARGEST << 4 for digits in _DIGITS.findall(form))
    stars = form.count("*")
    if stars:
        given = values if isinstance(values, tuple) else (values,)
        size += stars * max((abs(value) for value in given if isinstance(value, int)), default=0)
    if isinstance(values, tuple | list | dict):
        size += (context.weigh(values) << 4) * (form.count("%") if isinstance(values, dict) else 1)
    elif isinstance(values, str):
        size += len(values)
    context.bound(size, "a width, precision or value of a format")


# -- methods


def check_padding(context: BoundedContext, text: Any, width: Any = 80, *_: Any, **__: Any) -> None:
    context.bound(number(width), "padding to a width")


def _check_tabs(context: BoundedContext, text: Any, tabsize: Any = 8) -> None:
    context.bound(str(text).count("\t") * number(tabsize), "expandtabs")


def check_replace(
    context: BoundedContext, text: Any, old: Any = "", new: Any = "", count: Any = -1, **given: Any
) -> None:
    text, old, new = str(text), str(old), str(new)
    context.searched(text, old)
    context.bound(len(text) + text.count(old) * max(len(new) - len(old), 0), "replace")


def check_join(context: BoundedContext, joint: Any, items: Any = ()) -> None:
    context.bound(len(joint) * len(items) + (context.weigh(items) << 4 if items else 0), "join")


def _check_search(context: BoundedContext, text: Any, part: Any = "", *_: Any, **given: Any) -> None:
    if isinstance(text, str):
        context.searched(text, given.get("sep", part))


def _check_search_backwards(context: BoundedContext, text: Any, part: Any = "", *_: Any, **given: Any) -> None:
    if isinstance(text, str):
        context.searched(text, given.get("sep", part), backwards=True)


_METHODS: Mapping[str, Check] = {
    **dict.fromkeys(("center", "ljust", "rjust", "zfill"), check_padding),
    **dict.fromkeys(("count", "find", "index", "partition", "split"), _check_search),
    **dict.fromkeys(("rfind", "rindex", "rpartition", "rsplit"), _check_search_backwards),
    "expandtabs": _check_tabs,
    "replace": check_replace,
}


def check_method(context: BoundedContext, receiver: Any, name: str, args: Any, kwargs: Any) -> tuple[Any, ...]:
    """Before receiver.name(*args) is called; returns the arguments to call it with."""
    if name in REFUSED_METHODS:
        raise LimitError(f"the method {name} is not offered")
    context.sized(receiver)
    for value in args:
        context.sized(value)
    if name == "join" and isinstance(receiver, str) and len(args) == 1:
        args = (context.made(list(args[0])),)
        check_join(context, receiver, args[0])
    elif isinstance(receiver, str) and name in _METHODS:
        _METHODS[name](context, receiver, *args, **kwargs)
    elif isinstance(receiver, int | float) and name not in ("is_integer", "bit_length", "conjugate"):
        raise LimitError(f"the method {name} of a number is not offered")
    return tuple(args)


class _Formatter:
    """Python's str.format with its widths bounded."""

    context_largest = LARGEST
    size = 0

    def format_field(self, value: Any, format_spec: str) -> Any:
        for digits in _DIGITS.findall(format_spec):
            if len(digits) > 9 or int(digits) > self.context_largest:
                raise LimitError(f"a width or precision of {digits[:12]} in a format")
            self.size += int(digits)
        if self.size > self.context_largest:
            raise LimitError(f"a format would make a text of more than {self.context_largest} characters")
        if isinstance(value, list | tuple | dict):
            value = str(value)
        text = super().format_field(value, format_spec)  # type: ignore[misc]
        self.size += len(text)
        return text


class PlainFormatter(_Formatter, SandboxedFormatter):
    pass


class EscapeFormatter(_Formatter, SandboxedEscapeFormatter):
    pass
