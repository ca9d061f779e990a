"""Our rendering of chat templates against transformers' own, on every template and conversation of the tests."""

from __future__ import annotations

from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from conch_ollama.chat_template.conversations import CONVERSATIONS, random_conversations
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.errors import BadTemplateError
from tests.chat_template.references import FOLDER

#: Constructs that templates use and the committed ones do not.
EACH = "{% for m in messages %}"
CONSTRUCTS = {
    "generation": EACH + "{% generation %}<{{ m.content }}>{% endgeneration %}{% endfor %}",
    "loop controls": EACH + "{% if loop.index0 == 1 %}{% continue %}{% endif %}{{ m.content }}{% endfor %}",
    "tojson": "{{ messages | tojson(indent=2) }}{{ messages | tojson(sort_keys=True, ensure_ascii=True) }}",
    "trim": EACH + "\n  {{ m.role }}:{{ m['content'] | trim }}\n  {% endfor %}\n",
    "namespace": "{% set ns = namespace(n=0) %}"
    + (EACH + "{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}{{ messages[-1].content }}"),
    "macro": "{% macro show(m) %}[{{ m.content }}]{% endmacro %}" + EACH + "{{ show(m) }}{% endfor %}",
    "refusal": "{% if messages | length > 2 %}{{ raise_exception('too long') }}{% endif %}{{ messages[0].content }}",
    "undefined": "{{ pad_token is defined }}{{ messages[0].content }}{{ nope }}{% if messages[5] %}x{% endif %}",
    "strings": EACH + "{{ m.content.split('</think>')[-1].lstrip('\\n') }}{{ m.content[:3] | upper }}{% endfor %}",
    "reasoning": EACH + "{{ m.reasoning_content }}{{ m.thinking }}{{ m.content }}{% endfor %}",
    "tools": "{% for t in tools or [] %}{{ t | tojson }}\n{% endfor %}"
    + "{{ documents }}{{ enable_thinking }}{{ messages[0].content }}",
}

TEMPLATES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.jinja"))} | CONSTRUCTS
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def theirs(source: str, options: dict[str, Any], messages: Any, **wanted: Any) -> str | None:
    try:
        rendered, _ = render_jinja_template([list(messages)], chat_template=source, **wanted, **options)
    except Exception:  # a template can fail in any way
        return None
    return str(rendered[0])


@pytest.mark.parametrize("name", TEMPLATES)
def test_we_render_what_transformers_renders(name: str) -> None:
    source = TEMPLATES[name]
    template = JinjaTemplate(source, **TOKENS)
    rendered = 0
    chats = [*CONVERSATIONS, *random_conversations(seed=3, count=40)]
    for one in chats:
        options: dict[str, Any] = {} if one.think is None else {"enable_thinking": one.think}
        for prefill in {one.is_prefill, False, True}:
            wanted = theirs(
                source,
                {**TOKENS, **options},
                one.messages,
                tools=list(one.tools) if one.tools else None,
                continue_final_message=prefill,
                add_generation_prompt=not prefill,
            )
            try:
                found = template.render(one.messages, tools=one.tools, continue_final_message=prefill, **options)
            except BadTemplateError:
                found = None
            assert found == wanted, (one, prefill)
            rendered += wanted is not None
    assert rendered > len(chats) / 3
