"""Which TEMPLATE a model gets: decided on rendered bytes, with the BOS once, and refused where anything differs."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path

import pytest

from conch_ollama.chat_template.conversations import CONVERSATIONS, PLAIN, TOOLS, conversation, random_conversations
from conch_ollama.chat_template.families import SLOT, Family, families, family_by_name, read_family
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.match import Match, Mismatch, match
from conch_ollama.chat_template.ollama_render import render_chat
from conch_ollama.errors import BadFileError, BadTemplateError
from tests.chat_template.references import REFERENCES, reference, source


@cache
def matched(name: str, family: str = "") -> Match:
    _, bos, add_bos = REFERENCES[name]
    found = match(reference(name, bos), add_bos=add_bos, bos_token=bos, family=family)
    assert isinstance(found, Match), found
    return found


@pytest.mark.parametrize("name", REFERENCES)
def test_each_model_gets_its_family(name: str) -> None:
    found = matched(name)
    assert found.family == REFERENCES[name][0]
    verdicts = {kind: found.classes[kind] for kind in PLAIN}
    assert set(verdicts.values()) <= {"equal", "refused by the Jinja"}
    assert found.stops
    family = family_by_name(found.family)
    if name != "refusing":
        assert set(family.classes) <= {kind for kind, verdict in found.classes.items() if verdict == "equal"}


@pytest.mark.parametrize("name", REFERENCES)
def test_more_conversations_than_the_match_has_seen(name: str) -> None:
    _, bos, add_bos = REFERENCES[name]
    template, jinja = matched(name).template, reference(name, bos)
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
    adding = match(reference("llama3", bos), add_bos=True, bos_token=bos)
    writing = match(reference("llama3", bos), add_bos=False, bos_token=bos)
    assert isinstance(adding, Match)
    assert isinstance(writing, Match)
    assert bos not in adding.template
    assert writing.template == bos + adding.template
    assert (adding.bos, writing.bos) == ("added by the server", "written by the TEMPLATE")


def test_a_bos_that_only_the_server_has_is_a_warning() -> None:
    found = match(reference("chatml"), add_bos=True, bos_token="<s>")
    assert isinstance(found, Match)
    assert "<s>" in found.warnings[0]


def test_another_default_system_text_fills_the_slot() -> None:
    text = 'Say "{{ö}}" \u3000 \\n\nand 海螺.'
    jinja = source("smollm2").replace(
        "You are a helpful AI assistant named SmolLM, trained by Hugging Face", text.replace("\\", "\\\\")
    )
    found = match(JinjaTemplate(jinja), add_bos=False, bos_token="")
    assert isinstance(found, Match)
    assert (found.family, found.system_default) == ("smollm2", text)
    assert "\u3000" not in found.template


@pytest.mark.bad_input("a chat template that no family renders")
def test_nothing_matches() -> None:
    found = match(
        JinjaTemplate("{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"),
        add_bos=False,
        bos_token="",
    )
    assert isinstance(found, Mismatch)
    assert found.conversation is not None
    assert found.nearest in found.summary
    assert "-[user]" in found.diff
    error = found.as_error()
    assert error.code == "template-mismatch"
    assert found.nearest in error.message
    assert error.hint is not None


@pytest.mark.bad_input("a chat template with today's date in it")
def test_a_date_never_matches() -> None:
    found = match(reference("llama3-dated", "<|begin_of_text|>"), add_bos=True, bos_token="<|begin_of_text|>")
    assert isinstance(found, Mismatch)
    assert "date" in found.summary
    assert found.nearest == "llama3"


@pytest.mark.bad_input("a server's BOS that the prompt begins with already")
def test_a_double_bos_never_matches() -> None:
    found = match(reference("smollm2", "<|im_start|>"), add_bos=True, bos_token="<|im_start|>")
    assert isinstance(found, Mismatch)
    assert "once more" in found.summary


@pytest.mark.bad_input("a chat template that refuses every question")
def test_a_jinja_that_refuses_everything() -> None:
    with pytest.raises(BadTemplateError) as caught:
        match(JinjaTemplate("{{ raise_exception('no') }}"), add_bos=False, bos_token="")
    assert caught.value.code == "template-refused"


def test_one_changed_character_loses_the_match_or_changes_nothing() -> None:
    """Seeded mutations of the Jinja: where the match stays, conversations it has not seen are still equal."""
    lost = 0
    fresh = list(random_conversations(seed=5, count=12))
    for name in ("smollm2", "qwen2.5", "qwen3", "deepseek-r1-distill", "llama3"):
        _, bos, add_bos = REFERENCES[name]
        chance, text = random.Random(name), source(name)
        for _ in range(4):
            at = chance.randrange(len(text))
            jinja_text = text[:at] + chance.choice("x|\n'") + text[at + 1 :]
            try:
                jinja = JinjaTemplate(jinja_text, bos_token=bos)
                found = match(jinja, add_bos=add_bos, bos_token=bos, families=[family_by_name(name)])
            except BadTemplateError:
                lost += 1
                continue
            lost += isinstance(found, Mismatch)
            for one in fresh if isinstance(found, Match) else ():
                try:
                    wanted = jinja.render(one.messages, continue_final_message=one.is_prefill)
                except BadTemplateError:
                    continue
                assert render_chat(found.template, one.messages) == (wanted.removeprefix(bos) if add_bos else wanted)
    assert lost >= 8


def test_old_thoughts_that_ollama_strips_are_said() -> None:
    assert matched("qwen3").classes["blank and odd contents"] == "equal"
    assert matched("qwen3", family="qwen3").classes["blank and odd contents"] == "altered by Ollama"


@pytest.mark.parametrize("name", ["qwen2.5", "qwen3"])
def test_tools_are_equal_as_json(name: str) -> None:
    template, jinja = matched(name).template, reference(name)
    chats = [one for one in CONVERSATIONS if one.kind.startswith("tools")]
    assert chats
    for one in chats:
        ours = render_chat(template, one.messages, tools=one.tools).splitlines()
        theirs = jinja.render(one.messages, tools=one.tools).splitlines()
        assert [_as_json(line) for line in ours] == [_as_json(line) for line in theirs]
    assert matched(name).bypassed is False


def _as_json(line: str) -> object:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return line


def test_thinking_off_is_the_jinjas_enable_thinking() -> None:
    chat = conversation("", ("u", "Hi")).messages
    template, jinja = matched("qwen3").template, reference("qwen3")
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
    ours = render_chat(matched("qwen3").template, chat, tools=TOOLS)
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
    own = Family("own", "{{ range .Messages }}{{ .Content }}{{ end }}", "d", "s", (), ())
    found = match(
        JinjaTemplate("{% for m in messages %}{{ m.content }}{% endfor %}"), families=[own], add_bos=False, bos_token=""
    )
    assert isinstance(found, Match)
    assert found.family == "own"
