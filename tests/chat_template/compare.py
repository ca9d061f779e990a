"""Runs one case through our interpreter, and says how it differs from Go's verdict."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from conch_ollama.chat_template.go.template import GoTemplate
from conch_ollama.chat_template.go.values import Map, Slice, Value, from_json
from conch_ollama.chat_template.ollama_render import functions
from conch_ollama.chat_template.ollama_values import V0_9_3, message, tools
from conch_ollama.errors import BadTemplateError
from tests.chat_template.oracle import Case, Verdict


def data_of(case: Case) -> Map:
    given: Mapping[str, Any] = case.data
    data: dict[bytes, Value] = {key.encode(): from_json(value) for key, value in given.items()}
    data |= {key.encode(): value for key, value in case.ints.items()}
    if case.typed:
        data[b"Messages"] = Slice([message(one, V0_9_3) for one in case.messages], "*api.Message")
        data[b"Tools"] = tools(case.tools, V0_9_3)
    return Map(data)


def ours(case: Case) -> Verdict:
    try:
        return Verdict(GoTemplate(case.template, functions(V0_9_3)).execute(data_of(case)), "")
    except BadTemplateError as err:
        return Verdict(None, err.message)


# The address of a message, where a template prints a slice of pointers.
_ADDRESS = re.compile(rb"0x[0-9a-f]{9,16}")


def difference(case: Case, theirs: Verdict) -> str | None:
    mine = ours(case)
    if _comparable(mine) == _comparable(theirs):
        return None
    return (
        f"template: {case.template!r}\n  go:   {theirs.output!r} {theirs.fault}\n  ours: {mine.output!r} {mine.fault}"
    )


def _comparable(verdict: Verdict) -> bytes | None:
    if verdict.output is None:
        return None
    return _ADDRESS.sub(b"ADDRESS", verdict.output).replace(b"main.", b"api.")
