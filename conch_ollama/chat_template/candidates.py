"""The curated TEMPLATEs as candidates for one model: with its own default system text, with a literal BOS if need be.

Candidates only; `prove.py` says which of them hold.
"""

from __future__ import annotations

from collections.abc import Iterable

from conch_ollama.chat_template.families import Family, go_string
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.ollama_render import OllamaTemplate
from conch_ollama.chat_template.verdicts import Server

_QUESTION = [{"role": "user", "content": "Hi"}]


def texts(family: Family, jinja: JinjaTemplate, server: Server) -> Iterable[str]:
    """The family's template for this model. Raises BadTemplateError where the Jinja refuses a single question."""
    text = family.text(default_system(family, jinja, server) if family.has_slot else None)
    question = jinja.render(_QUESTION)
    yield text
    if server.bos and not server.add_bos and question.startswith(server.bos):
        yield (server.bos if "{{" not in server.bos else "{{ " + go_string(server.bos) + " }}") + text


def default_system(family: Family, jinja: JinjaTemplate, server: Server) -> str | None:
    """What stands in the Jinja's prompt where the family has its default system text."""
    mark = "\u2402default\u2403"
    before, _, after = OllamaTemplate(family.text(mark)).execute(_QUESTION, None, None).partition(mark)
    text = server.without_bos(jinja.render(_QUESTION))
    before = before.removeprefix(server.bos) if server.add_bos else before
    if len(text) >= len(before + after) and text.startswith(before) and text.endswith(after):
        return text[len(before) : len(text) - len(after)]
    return None
