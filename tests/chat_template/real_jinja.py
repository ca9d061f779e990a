"""Jinja as transformers sets it up, with nothing of ours in it but how a conversation is handed over: a judge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.errors import BadTemplateError, TemplateRefusedError
from tests.chat_template.references import MOMENT, Reference


class _Generation(Extension):
    tags = {"generation"}  # noqa: RUF012 Jinja's own protocol

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Any) -> str:
        return str(caller())


class _Refused(Exception):
    pass


def _raise_exception(message: str) -> None:
    raise _Refused(message)


def _tojson(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


class RealJinja(JinjaTemplate):
    """Renders by Jinja's own environment. Raises as JinjaTemplate does."""

    def __init__(self, source: str, **tokens: Any) -> None:
        super().__init__(source, **tokens)
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = MOMENT.strftime
        self._real = environment.from_string(source)

    def _run(self, variables: Mapping[str, Any]) -> str:
        own = {name: value for name, value in variables.items() if name != "strftime_now"}
        try:
            return self._real.render(own)
        except _Refused as err:
            raise TemplateRefusedError(str(err)) from err
        except Exception as err:
            raise BadTemplateError(str(err)) from err


def real_jinja(reference: Reference, source: str) -> RealJinja:
    """A reference's template with another source. Raises what Jinja raises where it does not compile."""
    return RealJinja(
        source,
        bos_token=reference.bos_token,
        eos_token=reference.eos_token,
        special_tokens=reference.special_tokens,
    )
