"""The Jinja that chat templates are written for: transformers' environment, sandboxed, with bounds of our own.

Equal to transformers in what it renders (trim_blocks, lstrip_blocks, loop controls, `{% generation %}`,
raise_exception, strftime_now, its own tojson). Stricter in what it allows: no single operation may build a huge value.
Not a time limit. Source: utils/chat_template_utils.py of transformers 5.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

LARGEST_VALUE = 1 << 24
_WIDTHS = re.compile(r"%[^a-zA-Z%*\d]*(\*|\d+)")
_FORMATTERS = frozenset(("center", "ljust", "rjust", "zfill", "expandtabs"))


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


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace cannot hold the underscored name {name!r}")


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(("*", "**", "+", "%"))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "+" and isinstance(left, str | list) and isinstance(right, str | list):
            self._bound(len(left) + len(right))
        elif operator == "*":
            for value, count in ((left, right), (right, left)):
                if isinstance(value, str | list | tuple) and isinstance(count, int):
                    self._bound(len(value) * count)
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            self._bound(left.bit_length() * right)
        elif operator == "%" and isinstance(left, str):
            for width in _WIDTHS.findall(left):
                self._bound(LARGEST_VALUE + 1 if width == "*" else int(width))
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(obj, "__name__", "") in _FORMATTERS:
            for value in (*args, *kwargs.values()):
                if isinstance(value, int):
                    self._bound(value)
        return super().call(context, obj, *args, **kwargs)

    @staticmethod
    def _bound(size: int) -> None:
        if size > LARGEST_VALUE:
            raise SecurityError(f"an operation would build a value of {size} elements")


def _raise_exception(message: object) -> None:
    raise RefusedError(str(message))


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment(now: Callable[[], datetime]) -> ImmutableSandboxedEnvironment:
    """`now` is what strftime_now formats."""
    made = _Environment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    made.filters["tojson"] = _tojson
    made.globals["raise_exception"] = _raise_exception
    made.globals["strftime_now"] = lambda form: now().strftime(form)
    made.globals["namespace"] = _Namespace
    return made
