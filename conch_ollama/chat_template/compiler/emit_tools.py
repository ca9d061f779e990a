"""Go code that prints the tools of a request, an answer's calls of them, and their results.

What is put where is learnt in `learn_tools.py`. Ollama finds a call in an answer by the first text inside the first
`{{ if .ToolCalls }}`, so nothing else may stand there.
"""

from __future__ import annotations

from conch_ollama.chat_template.compiler.model import Calls, Results, ToolList
from conch_ollama.chat_template.compiler.writer import Writer

_FIELDS = {
    "name": ".Function.Name",
    "description": ".Function.Description",
    "parameters": "json .Function.Parameters",
}


def write_tools(out: Writer, tools: ToolList) -> None:
    if tools.array and not tools.bare:
        out.value("json $.Tools")
        return
    separator = ", " if tools.array else tools.separator
    out.text("[" if tools.array else "")
    out.code("range $n, $_ := $.Tools")
    if separator:
        out.code("if $n")
        out.text(separator)
        out.code("end")
    for part in tools.spelled:
        out.text(part.before)
        out.value(_FIELDS[part.field])
    if not tools.spelled:
        out.value("json .Function" if tools.bare else "json .")
    out.code("end")
    out.text("]" if tools.array else "")


def write_calls(out: Writer, calls: Calls, shown: str) -> None:
    """`shown`: the message's text as it is printed."""
    if calls.spoken is not None:
        out.code(f"if {shown}")
        out.text(calls.spoken[0])
        out.value(shown)
        out.text(calls.spoken[1])
        out.code("else")
    out.text(calls.lead)
    if calls.spoken is not None:
        out.code("end")
    out.code("$calls := .ToolCalls")
    out.code("if .ToolCalls")
    out.text(calls.opening)
    out.code("range $n, $_ := $calls")
    out.text(calls.before)
    out.value(".Function.Name")
    out.text(calls.middle)
    out.value("json .Function.Arguments")
    out.text(calls.after)
    if calls.separator:
        out.code("if gt (len (slice $calls $n)) 1")
        out.text(calls.separator)
        out.code("end")
    out.code("end")
    out.code("end")
    out.text(calls.tail)


def write_result(out: Writer, result: Results, shown: str) -> None:
    """Where results that follow one another are shown as one, by `$before`, the role of the message before."""
    grouped = result.between is not None
    if grouped:
        out.code('if eq $before "tool"')
        out.text(result.between or "")
        out.code("else")
    out.text(result.lead)
    if grouped:
        out.code("end")
    out.value(f"json {shown}" if result.quoted else shown)
    if grouped:
        out.code('if or $last (ne (index (slice $.Messages $i) 1).Role "tool")')
    out.text(result.tail)
    if grouped:
        out.code("end")
