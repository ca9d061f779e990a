"""The curated templates are complete, fit the models they are written for, and are chosen by rendered bytes alone."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from conch_ollama.chat_template.conversations import CONVERSATIONS, PLAIN, TOOLS, conversation, random_conversations
from conch_ollama.chat_template.families import SLOT, Family, families, family_by_name, read_family
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.ollama_render import render_chat
from conch_ollama.chat_template.prove import ALTERED_KIND, best_template
from conch_ollama.chat_template.verdicts import ALTERED, EQUAL, REFUSED, Proof
from conch_ollama.errors import BadFileError, BadTemplateError
from tests.chat_template import families_table
from tests.chat_template.references import REFERENCES, reference, source


@cache
def proof(name: str, family: str = "") -> Proof:
    wanted, bos, add_bos = REFERENCES[name]
    if not family and name == families_table.reference_of(wanted):
        return families_table.proof(wanted)[1]
    return best_template(reference(name, bos), add_bos=add_bos, bos_token=bos, family=family)


@pytest.mark.parametrize("name", REFERENCES)
def test_each_model_gets_its_family(name: str) -> None:
    found, family = proof(name), family_by_name(REFERENCES[name][0])
    assert (found.strategy, found.proven) == (f"curated:{family.name}", True)
    assert {found.classes[kind].verdict for kind in PLAIN} <= {EQUAL, REFUSED}
    assert found.stops == family.stops


def test_the_readme_says_what_each_family_comes_to() -> None:
    """`python -m tests.chat_template.families_table` writes it anew."""
    assert families_table.table() in families_table.readme().read_text(encoding="utf-8")
    for family in families():
        found = families_table.proof(family.name)[1]
        assert (found.strategy, found.proven) == (f"curated:{family.name}", True)


@pytest.mark.parametrize("name", REFERENCES)
def test_more_conversations_than_the_proof_has_seen(name: str) -> None:
    _, bos, add_bos = REFERENCES[name]
    template, jinja = proof(name).template, reference(name, bos)
    compared = 0
    for one in random_conversations(seed=977, count=40):
        try:
            wanted = jinja.render(one.messages, continue_final_message=one.is_prefill)
        except BadTemplateError:
            continue
        compared += 1
        assert render_chat(template, one.messages) == (wanted.removeprefix(bos) if add_bos else wanted)
    assert compared > 10


def test_a_literal_bos_only_where_the_server_adds_none() -> None:
    bos = REFERENCES["llama3"][1]
    adding = proof("llama3")
    writing = best_template(reference("llama3", bos), add_bos=False, bos_token=bos)
    assert bos not in adding.template
    assert writing.template == bos + adding.template
    assert (adding.bos, writing.bos) == ("added by the server", "written by the TEMPLATE")


def test_another_default_system_text_fills_the_slot() -> None:
    text = 'Say "{{ö}}" \u3000 \\n\nand 海螺.'
    jinja = source("smollm2").replace(
        "You are a helpful AI assistant named SmolLM, trained by Hugging Face", text.replace("\\", "\\\\")
    )
    found = best_template(JinjaTemplate(jinja), add_bos=False, bos_token="")
    assert (found.strategy, found.system_default) == ("curated:smollm2", text)
    assert "\u3000" not in found.template


def test_old_thoughts_that_ollama_strips_are_said() -> None:
    assert ALTERED_KIND not in proof("qwen3").classes
    assert proof("qwen3", family="qwen3").classes[ALTERED_KIND].verdict == ALTERED


@pytest.mark.parametrize("name", ["qwen2.5", "qwen3"])
def test_tools_are_equal_as_json(name: str) -> None:
    template, jinja = proof(name).template, reference(name)
    chats = [one for one in CONVERSATIONS if one.kind in ("tools declared", "tools called and answered")]
    assert chats
    for one in (one for one in chats if not one.is_prefill):
        ours = render_chat(template, one.messages, tools=one.tools).splitlines()
        theirs = jinja.render(one.messages, tools=one.tools).splitlines()
        assert [_as_json(line) for line in ours] == [_as_json(line) for line in theirs]
    assert proof(name).bypassed is False


def _as_json(line: str) -> object:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return line


def test_thinking_off_is_the_jinjas_enable_thinking() -> None:
    chat = conversation("", ("u", "Hi")).messages
    template, jinja = proof("qwen3").template, reference("qwen3")
    assert render_chat(template, chat, think=False) == jinja.render(chat, enable_thinking=False)
    assert render_chat(template, chat, think=True) == jinja.render(chat, enable_thinking=True)
    assert render_chat(template, chat, think=None) == jinja.render(chat)


def test_a_thought_given_apart_is_rendered_as_the_jinja_does() -> None:
    chat = [
        {"role": "user", "content": "Rain?"},
        {
            "role": "assistant",
            "content": "",
            "thinking": "\nask\n",
            "tool_calls": [{"function": {"name": "w", "arguments": {"a": 1}}}],
        },
        {"role": "tool", "content": "dry"},
    ]
    ours = render_chat(proof("qwen3").template, chat, tools=TOOLS)
    assert "<|im_start|>assistant\n<think>\nask\n</think>\n\n<tool_call>\n" in ours
    assert (
        ours.partition("<|im_end|>")[2].replace('{"a":1}', '{"a": 1}')
        == reference("qwen3").render(chat, tools=TOOLS).partition("<|im_end|>")[2]
    )


def test_every_family_is_complete() -> None:
    assert len(families()) >= 7
    for family in families():
        assert family.description
        assert family.source
        assert family.stops
        assert family.has_slot == (family.default_system is not None)
        assert SLOT not in family.text()


@pytest.mark.bad_input("a template family with an unknown key")
def test_family_with_unknown_key(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "template.gotmpl").write_text("{{ .Prompt }}", encoding="utf-8")
    (folder / "family.toml").write_text('description = "d"\nsource = "s"\nstop = ["x"]\n', encoding="utf-8")
    with pytest.raises(BadFileError) as caught:
        read_family(folder)
    assert caught.value.code == "bad-file"
    assert "family.toml" in caught.value.message
    assert "stop" in caught.value.message


def test_a_family_can_be_given() -> None:
    own = Family("own", "{{ range .Messages }}{{ .Content }}{{ end }}", "d", "s", ())
    jinja = JinjaTemplate("{% for m in messages %}{{ m.content }}{% endfor %}")
    found = best_template(jinja, families=[own], add_bos=False, bos_token="")
    assert (found.strategy, found.proven) == ("curated:own", True)
