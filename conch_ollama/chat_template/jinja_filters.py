"""Filters and tests of Jinja with their checks: what each may be asked for, and what it is paid by.

Operators, methods and formats are guarded by `jinja_guards.py`; the budget itself is kept by `jinja_limits.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jinja2.utils import _PassArg, pass_context

from conch_ollama.chat_template.jinja_guards import (
    Check,
    check_join,
    check_padding,
    check_printf,
    check_replace,
    number,
)
from conch_ollama.chat_template.jinja_limits import BoundedContext, Counted, LimitError

#: Heavy on regular expressions, of no use in a prompt, or (`random`) another prompt each time; `lipsum` goes with them.
NOT_OFFERED = frozenset(("pprint", "random", "striptags", "urlize", "wordwrap", "xmlattr"))
_COMPARING = frozenset(
    (
        *("eq", "==", "equalto", "ne", "!=", "lt", "<", "lessthan", "le", "<=", "gt", ">", "greaterthan", "ge", ">="),
        *("lower", "upper"),
    )
)
_ORDERING = frozenset(("dictsort", "groupby", "max", "min", "sort", "unique"))
_LARGEST_PRECISION = 100
#: Units of a filter, which takes longer than other parts.
FILTER = 8


def _check_indent(context: BoundedContext, text: Any, width: Any = 4, *_: Any, **given: Any) -> None:
    lines = str(text).count("\n") + 1
    context.bound(len(str(text)) + lines * number(width), "indent")


def _check_batch(
    context: BoundedContext, items: Any, linecount: Any = 1, fill_with: Any = None, slices: Any = None
) -> None:
    fill = context.weigh((fill_with,)) << 4
    context.bound(number(linecount if slices is None else slices) * fill, "batch or slice")


def _check_round(context: BoundedContext, value: Any, precision: Any = 0, *_: Any, **__: Any) -> None:
    if isinstance(precision, int) and abs(precision) > _LARGEST_PRECISION:
        raise LimitError(f"round to {precision} places, {_LARGEST_PRECISION} are allowed")


def _check_sum(context: BoundedContext, items: Any, attribute: Any = None, start: Any = 0) -> None:
    if not isinstance(start, int | float):
        raise LimitError("sum of anything but numbers")


def _check_json(context: BoundedContext, value: Any, ensure_ascii: Any = False, indent: Any = None, **_: Any) -> None:
    if indent is not None and isinstance(value, list | tuple | dict):
        context.bound((context.weigh(value) + 1) * max(number(indent), 1), "tojson with an indent")
    elif indent is not None:
        context.bound(number(indent), "tojson with an indent")


def _check_format(context: BoundedContext, form: Any, *args: Any, **kwargs: Any) -> None:
    check_printf(context, str(form), kwargs or args)


def _check_letters(context: BoundedContext, text: Any, *_: Any, **__: Any) -> None:
    context.spend(len(text) if isinstance(text, str) else 1)


_FILTERS: Mapping[str, Check] = {
    "batch": _check_batch,
    "center": check_padding,
    "format": _check_format,
    "indent": _check_indent,
    "replace": check_replace,
    "round": _check_round,
    "slice": _check_batch,
    "sum": _check_sum,
    "tojson": _check_json,
    **dict.fromkeys(("title", "urlencode", "wordcount"), _check_letters),
}


def guarded_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter with its check, paid for by what it is given and what it makes."""
    passed, check, weight = _PassArg.from_obj(function), _FILTERS.get(name), 8 if name in _ORDERING else 1

    @pass_context
    def call(context: BoundedContext, *args: Any, **kwargs: Any) -> Any:
        context.spend(FILTER)
        for value in args:
            for _ in range(weight):
                context.sized(value)
        if name == "join" and args:
            args = (_joinable(context, *args, **kwargs), *args[1:])
        if check is not None:
            check(context, *args, **kwargs)
        made = context.made(function(*_passed(passed, context), *args, **kwargs), f"the filter {name}")
        return made.inside(args[0]) if isinstance(made, Counted) and args else made

    return call


def _joinable(context: BoundedContext, items: Any, d: Any = "", attribute: Any = None) -> Any:
    found = context.made(items if isinstance(items, str) else list(items))
    check_join(context, str(d), found if not isinstance(found, str) else list(found))
    return found


def _passed(passed: _PassArg | None, context: BoundedContext) -> tuple[Any, ...]:
    if passed is None:
        return ()
    return (
        {
            _PassArg.context: context,
            _PassArg.eval_context: context.eval_ctx,
            _PassArg.environment: context.environment,
        }[passed],
    )


def guarded_test(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The test, paid for where it compares."""
    if name == "in":
        return pass_context(lambda context, part, whole: context.within(part, whole))
    if name not in _COMPARING:
        return function

    @pass_context
    def call(context: BoundedContext, *args: Any) -> Any:
        for value in args:
            context.sized(value)
        return function(*args)

    return call
