"""The Jinja that chat templates are written for: transformers' environment, sandboxed, with bounds of our own.

Equal to transformers in what it renders (trim_blocks, lstrip_blocks, loop controls, `{% generation %}`,
raise_exception, strftime_now, its own tojson). Stricter in what it allows: what a rendering may do is counted and
bounded (`jinja_limits.py`), and no other template can be reached.
Source: utils/chat_template_utils.py of transformers 5.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from functools import update_wrapper
from types import BuiltinMethodType, MethodType
from typing import Any, cast

from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateError, TemplateSyntaxError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from markupsafe import Markup

from conch_ollama.chat_template.jinja_code import BoundedCode, prepare
from conch_ollama.chat_template.jinja_filters import NOT_OFFERED, guarded_filter, guarded_test
from conch_ollama.chat_template.jinja_guards import EscapeFormatter, PlainFormatter, check_method, check_operation
from conch_ollama.chat_template.jinja_limits import BoundedContext, LimitError, concat

#: Parts of the syntax tree; the longest known chat template has 1,100.
LARGEST_TREE = 10_000
_LONGEST_FORMAT = 1_000
#: Units of a call, which takes longer than other parts.
CALL = 8


class RefusedError(TemplateError):
    """The template called raise_exception."""


class _Generation(Extension):
    """`{% generation %}` marks what an assistant wrote, for training masks. It renders as its body."""

    tags = {"generation"}  # noqa: RUF012 Jinja's own protocol

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Callable[[], str]) -> str:
        return caller()


class _Namespace(Namespace):
    """No underscored names: they would reach Python's internals."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        for name in dict(*args[1:], **kwargs):
            _check_name(name)
        Namespace.__init__(*args, **kwargs)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)

    def __repr__(self) -> str:
        return "<Namespace>"  # its values may hold it


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace cannot hold the underscored name {name!r}")


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(("*", "**", "+", "%"))
    context_class = BoundedContext
    code_generator_class = BoundedCode
    concat = staticmethod(concat)
    size = 0

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        self.size = prepare(source)
        if self.size > LARGEST_TREE:
            raise TemplateSyntaxError(f"{self.size} parts in the template, {LARGEST_TREE} are allowed", 1)
        return str(super()._generate(source, *args, **kwargs))

    def call_binop(self, context: BoundedContext, operator: str, left: Any, right: Any) -> Any:  # type: ignore[override]
        check_operation(context, operator, left, right)
        return context.made(super().call_binop(context, operator, left, right), operator)

    def call(self, context: BoundedContext, obj: Any, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        context.spend(CALL)
        if isinstance(obj, BuiltinMethodType | MethodType):
            args = check_method(context, obj.__self__, obj.__name__, args, kwargs)
        return context.made(super().call(context, obj, *args, **kwargs), getattr(obj, "__name__", "a call"))

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(argument, tuple):
            raise LimitError("a tuple as a key is not offered")
        return super().getitem(obj, argument)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """As the sandbox does, with bounds."""
        if super().wrap_str_format(value) is None:
            return None
        form: str = value.__self__
        kind = type(form)
        formatter = EscapeFormatter(self, escape=form.escape) if isinstance(form, Markup) else PlainFormatter(self)

        def call(*args: Any, **kwargs: Any) -> str:
            if value.__name__ == "format_map":
                (kwargs,), args = args, ()
            return kind(formatter.vformat(form, args, kwargs))

        return update_wrapper(call, value)


def _raise_exception(message: object) -> None:
    raise RefusedError(str(message)[:_LONGEST_FORMAT])


def strftime_now(now: Callable[[], datetime]) -> Callable[[str], str]:
    def formatted(form: str) -> str:
        if len(form) > _LONGEST_FORMAT:
            raise LimitError(f"strftime_now with a format of {len(form)} characters, {_LONGEST_FORMAT} are allowed")
        return now().strftime(form)

    return formatted


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment() -> BoundedEnvironment:
    """Without `strftime_now`, which goes with each rendering, so that a clock can be set."""
    made = BoundedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    made.filters["tojson"] = _tojson
    made.filters = {
        name: guarded_filter(name, function) for name, function in made.filters.items() if name not in NOT_OFFERED
    }
    tests = cast("dict[str, Callable[..., Any]]", made.tests)
    made.tests = {name: guarded_test(name, function) for name, function in tests.items()}
    del made.globals["lipsum"]
    made.globals["raise_exception"] = _raise_exception
    made.globals["namespace"] = _Namespace
    return made
