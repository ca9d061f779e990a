"""Tools in real Go: a TEMPLATE, curated or compiled, renders there what our interpreter makes of it."""

from __future__ import annotations

from conch_ollama.chat_template.capabilities import jinja_capabilities
from conch_ollama.chat_template.compare import likeness, refer, server_for
from conch_ollama.chat_template.conversations import CONVERSATIONS, TOOL_KINDS
from conch_ollama.chat_template.ollama_render import collate, render_chat
from conch_ollama.chat_template.ollama_values import V0_9_3
from conch_ollama.chat_template.prove import best_template
from conch_ollama.chat_template.verdicts import DIFFERS
from tests.chat_template.oracle import Case, judge
from tests.chat_template.references import index


def test_go_renders_tools_as_we_do() -> None:
    cases, wanted = [], []
    for name, of in index().items():
        jinja = of.template()
        if "tools" not in jinja_capabilities(jinja.source):
            continue
        found = best_template(jinja, add_bos=of.add_bos, bos_token=of.bos_token)
        server = server_for(jinja, of.add_bos, of.bos_token)
        if "tools" not in found.capabilities:
            continue
        for one in (one for one in CONVERSATIONS if one.kind in TOOL_KINDS):
            system, messages = collate(one.messages, V0_9_3)
            data = {"Think": False, "IsThinkSet": False, "Response": "", "System": system}
            cases.append(Case(found.template, data, {}, messages, one.tools, True))
            ours = render_chat(found.template, one.messages, tools=one.tools)
            text = refer(jinja, one).text
            if text is not None and found.classes[one.kind].holds and not of.dated:
                assert likeness(one, server.without_bos(text), ours) != DIFFERS
            wanted.append((name, one.kind, ours))
    assert len(cases) > 200
    for (name, kind, ours), verdict in zip(wanted, judge(cases), strict=True):
        assert verdict.output is not None, (name, kind, verdict.fault)
        assert verdict.output.decode() == ours, (name, kind)
