"""Ollama's preparation of a chat: joining, the two paths, thoughts, tools, and what it reads from the syntax tree."""

from __future__ import annotations

import pytest

from conch_ollama.chat_template.capabilities import go_capabilities, go_round_trip, is_bypassed, jinja_capabilities
from conch_ollama.chat_template.conversations import TOOLS, conversation
from conch_ollama.chat_template.ollama_render import OllamaTemplate, check_truncations, collate, render_chat
from conch_ollama.chat_template.ollama_tree import thinking_tags, tool_call_tag
from conch_ollama.chat_template.ollama_values import LATEST, V0_9_3
from conch_ollama.chat_template.thoughts import without_thought
from conch_ollama.errors import BadTemplateError

EACH = "{{ range .Messages }}<{{ .Role }}>{{ .Content }}{{ end }}"
LEGACY = "{{ if .System }}S:{{ .System }} {{ end }}{{ if .Prompt }}P:{{ .Prompt }} {{ end }}R:{{ .Response }} END "


def chat(*turns: tuple[str, str]) -> list[dict[str, object]]:
    return [dict(message) for message in conversation("", *turns).messages]


def test_neighbours_of_one_role_are_joined() -> None:
    messages = chat(("s", "a"), ("s", "b"), ("u", "c"), ("u", "d"), ("s", "e"))
    system, joined = collate(messages, V0_9_3)
    assert system == "a\n\nb\n\ne"
    assert [(one["role"], one["content"]) for one in joined] == [
        ("system", "a\n\nb"),
        ("user", "c\n\nd"),
        ("system", "e"),
    ]
    assert messages[0]["content"] == "a"


def test_tool_results_are_joined_until_0_9_6() -> None:
    messages = chat(("t", "a"), ("t", "b"))
    assert len(collate(messages, V0_9_3)[1]) == 1
    assert len(collate(messages, (0, 9, 6))[1]) == 2


def test_the_models_system_comes_first_unless_the_request_has_one() -> None:
    assert render_chat(EACH, chat(("u", "x")), system="S") == "<system>S<user>x"
    assert render_chat(EACH, chat(("s", "own"), ("u", "x")), system="S") == "<system>own<user>x"
    assert render_chat("{{ .System }}|" + EACH, chat(("u", "x")), system="S") == "S|<system>S<user>x"


def test_legacy_runs_once_a_turn_and_cuts_the_last() -> None:
    messages = chat(("s", "sys"), ("u", "one"), ("a", "two"), ("u", "three"))
    assert render_chat(LEGACY, messages) == "S:sys P:one R:two END P:three R:"


def test_legacy_appends_the_response() -> None:
    assert render_chat("<{{ .Prompt }}>", chat(("u", "a"), ("a", "b"), ("u", "c"))) == "<a>b<c>"


def test_legacy_drops_tool_results_and_has_no_functions_of_ollama_in_the_last_turn() -> None:
    assert render_chat(LEGACY, chat(("u", "a"), ("t", "b"))) == "P:a R:"
    with pytest.raises(BadTemplateError):
        render_chat("{{ json .Prompt }}{{ .Response }}", chat(("u", "a")))


def test_legacy_else_after_the_response_fails_as_in_ollama() -> None:
    with pytest.raises(BadTemplateError) as caught:
        render_chat("{{ if .Prompt }}{{ .Response }}{{ else }}x{{ end }}", chat(("u", "a")))
    assert caught.value.hint is not None


@pytest.mark.parametrize(
    ("content", "left"),
    [
        ("<think>a</think>\n\nb", "b"), (" \n<think>a</think> b ", "b "), ("plain", "plain"), ("  plain", "  plain"),
        ("<think>never closed", ""), ("", ""), ("  ", ""), ("<thi", ""), ("a<think>b</think>c", "a<think>b</think>c"),
        ("<think>a</think>b</think>c", "b</think>c"),
    ],
)  # fmt: skip
def test_old_thoughts_are_taken_away(content: str, left: str) -> None:
    assert without_thought(content) == left


def test_thoughts_go_by_family_or_name_and_only_before_the_last_question() -> None:
    messages = chat(("u", "q"), ("a", "<think>t</think>one"), ("u", "r"), ("a", "<think>u</think>two"))
    whole = "<user>q<assistant><think>t</think>one<user>r<assistant><think>u</think>two"
    cut = "<user>q<assistant>one<user>r<assistant><think>u</think>two"
    assert render_chat(EACH, messages) == whole
    assert render_chat(EACH, messages, family="qwen3") == cut
    assert render_chat(EACH, messages, name="someone/deepseek-r1:8b") == cut
    assert render_chat(EACH, messages, name="deepseek-r1-distill") == whole


def test_think_and_tools_reach_the_template() -> None:
    template = "{{ .IsThinkSet }} {{ .Think }} {{ len .Tools }}{{ range .Messages }}{{ end }}"
    assert render_chat(template, chat(("u", "a"))) == "false false 0"
    assert render_chat(template, chat(("u", "a")), think=False, tools=TOOLS) == "true false 1"


def test_tools_print_as_json() -> None:
    rendered = render_chat("{{ range .Messages }}{{ end }}{{ .Tools }}", chat(("u", "a")), tools=TOOLS)
    assert rendered == (
        '[{"type":"function","function":{"name":"weather","description":"The weather of a city","parameters":'
        '{"type":"object","required":["city"],"properties":{"city":{"type":"string","description":"its name"}}}}}]'
    )
    assert (
        render_chat("{{ range .Messages }}{{ end }}{{ .Tools }}", chat(("u", "a")), tools=TOOLS, version=LATEST)
        == rendered
    )


def test_later_functions_and_fields_are_unknown_to_0_9_3() -> None:
    dated = "{{ currentDate }}{{ range .Messages }}{{ end }}"
    assert len(render_chat(dated, chat(("u", "a")), version=LATEST)) == 10
    with pytest.raises(BadTemplateError):
        render_chat(dated, chat(("u", "a")))
    with pytest.raises(BadTemplateError):
        render_chat("{{ range .Messages }}{{ .ToolName }}{{ end }}", chat(("u", "a")))


@pytest.mark.bad_input("TEMPLATE that gives a function of texts what is no text")
@pytest.mark.parametrize("call", ["currentDate 1", "currentDate .Messages", "1 | yesterdayDate"])
def test_dates_take_texts_only(call: str) -> None:
    with pytest.raises(BadTemplateError, match="expected string"):
        render_chat(f"{{{{ {call} }}}}{{{{ range .Messages }}}}{{{{ end }}}}", chat(("u", "a")), version=LATEST)
    assert render_chat('{{ currentDate "x" }}{{ range .Messages }}{{ end }}', chat(("u", "a")), version=LATEST)


@pytest.mark.bad_input("TEMPLATE that fails on a conversation the server truncates on the way")
def test_truncated_conversations_are_rendered_too() -> None:
    fussy = OllamaTemplate(
        '{{ range $i, $_ := .Messages }}{{ if and (eq $i 0) (eq .Role "assistant") }}{{ .Nope }}{{ end }}{{ end }}'
    )
    messages = chat(("u", "a"), ("a", "b"), ("u", "c"))
    assert fussy.execute(messages, None, None) == ""
    with pytest.raises(BadTemplateError) as caught:
        check_truncations(fussy, messages)
    assert "Nope" in caught.value.message


@pytest.mark.bad_input("TEMPLATE that calls a template without a value")
def test_template_call_without_value() -> None:
    with pytest.raises(BadTemplateError) as caught:
        OllamaTemplate('one\n{{ define "t" }}{{ end }}{{ template "t" }}')
    assert "line 2" in caught.value.message
    assert caught.value.hint is not None


def test_tags_are_read_from_the_tree() -> None:
    thinking = "{{ range .Messages }}{{ if .Thinking }} <think>\n{{ .Thinking }}\n</think>{{ end }}{{ end }}"
    assert thinking_tags(OllamaTemplate(thinking).template.root) == ("<think>", "</think>")
    assert thinking_tags(OllamaTemplate("{{ range $.Messages }}<a>{{ .Thinking }}</a>{{ end }}").template.root) == (
        "",
        "",
    )
    calls = "{{ range .Messages }}{{ if .ToolCalls }}{{ range .ToolCalls }}\n<tool_call>\n{{ . }}"
    calls += "{{ end }}{{ end }}{{ end }}"
    assert tool_call_tag(OllamaTemplate(calls).template.root) == "<tool_call>"
    assert tool_call_tag(OllamaTemplate(EACH).template.root) == "{"


def test_a_plain_template_over_a_jinja_with_tools_is_bypassed() -> None:
    jinja = "{% if tools %}{{ tool_calls }}<tool_response>{% endif %}<think></think>"
    assert jinja_capabilities(jinja) == {"tools", "thinking"}
    assert is_bypassed(OllamaTemplate(EACH), jinja)
    assert not is_bypassed(OllamaTemplate(EACH), "{{ messages }}")


def test_capabilities_of_the_curated_templates() -> None:
    from conch_ollama.chat_template.families import family_by_name

    found = {
        name: OllamaTemplate(family_by_name(name).text())
        for name in ("chatml", "qwen2.5", "qwen3", "deepseek-r1-distill")
    }
    assert [sorted(go_capabilities(template)) for template in found.values()] == [
        [],
        ["tools"],
        ["thinking", "tools"],
        ["thinking"],
    ]
    assert go_round_trip(found["qwen2.5"])
    assert go_round_trip(found["qwen3"])
    assert [tool_call_tag(found[name].template.root) for name in ("qwen2.5", "qwen3")] == ["<tool_call>"] * 2
    assert thinking_tags(found["qwen3"].template.root) == ("<think>", "</think>")
