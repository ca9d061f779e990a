"""What an Ollama server takes a template to be capable of, and which of two templates a new server obeys.

Text and syntax only, nothing is rendered. Source: server/images.go of Ollama after 0.30.
"""

from __future__ import annotations

from conch_ollama.chat_template.ollama_render import OllamaTemplate
from conch_ollama.chat_template.ollama_tree import thinking_tags

_ROLE_IS_TOOL = (
    *(f"role{close} == {quote}tool{quote}" for close in ("']", '"]') for quote in ("'", '"')),
    *("message.role == 'tool'", 'message.role == "tool"'),
)


def go_capabilities(template: OllamaTemplate) -> frozenset[str]:
    """Of a TEMPLATE: "tools", "insert", "thinking"."""
    found = {name for name, variable in (("tools", "tools"), ("insert", "suffix")) if variable in template.variables}
    if all(thinking_tags(template.template.root)):
        found.add("thinking")
    return frozenset(found)


def jinja_capabilities(source: str) -> frozenset[str]:
    """Of a GGUF's own chat template: "tools", "thinking"."""
    found = set()
    if "tools" in source or "tool_call" in source:
        found.add("tools")
    cuts = "content.split('</think>')" in source or 'content.split("</think>")' in source
    if ("<think>" in source and "</think>" in source) or (
        cuts and "reasoning_content" not in source and "<SPECIAL_12>" not in source
    ):
        found.add("thinking")
    return frozenset(found)


def go_round_trip(template: OllamaTemplate) -> bool:
    """Whether it renders a tool call and its result."""
    source = template.template.source
    marks = ('eq .Role "tool"', "tool_response", "TOOL_RESULTS")
    return {"tools", "toolcalls"} <= template.variables and any(mark in source for mark in marks)


def jinja_round_trip(source: str) -> bool:
    calls = "tool_calls" in source or "assistant_tool_call" in source
    results = ("tool_response", "tool_results", "ipython", *_ROLE_IS_TOOL)
    return "tools" in jinja_capabilities(source) and calls and any(mark in source for mark in results)


def is_bypassed(template: OllamaTemplate, jinja: str) -> bool:
    """Whether Ollama >= 0.30 renders the GGUF's Jinja although there is a TEMPLATE (OLLAMA_GO_TEMPLATE unset)."""
    theirs, ours = jinja_capabilities(jinja), go_capabilities(template)
    if len(theirs) > len(ours):
        return not go_round_trip(template) or jinja_round_trip(jinja)
    if theirs != ours or "tools" not in theirs:
        return False
    return jinja_round_trip(jinja) and not go_round_trip(template)
