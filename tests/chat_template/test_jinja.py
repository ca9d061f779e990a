"""Jinja as transformers renders it (held against transformers itself in tests_parity), its errors and its bounds."""

from __future__ import annotations

from datetime import datetime

import pytest

from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.errors import BadTemplateError, TemplateRefusedError

USER = [{"role": "user", "content": "Hi"}]
CHATML = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
CHATML += "{% if add_generation_prompt %}<assistant>{% endif %}"


def test_generation_prompt_and_tokens() -> None:
    template = JinjaTemplate("{{ bos_token }}" + CHATML + "{{ eos_token is defined }}", bos_token="<s>")
    assert template.render(USER) == "<s><user>Hi</><assistant>False"
    assert template.render(USER, add_generation_prompt=False) == "<s><user>Hi</>False"


def test_blocks_are_trimmed_loops_can_break_and_generation_is_ignored() -> None:
    source = "  {% for m in messages %}\n{% if loop.index > 1 %}{% break %}{% endif %}\n"
    source += "{% generation %}{{ m.content }}{% endgeneration %}\n  {% endfor %}\n"
    assert JinjaTemplate(source).render([*USER, *USER]) == "Hi"


def test_json_keeps_characters_and_order() -> None:
    template = JinjaTemplate("{{ tools | tojson }}")
    assert template.render(USER, tools=[{"b": "你<&", "a": [1, None]}]) == '[{"b": "你<&", "a": [1, null]}]'


def test_options_reach_the_template() -> None:
    template = JinjaTemplate("{{ enable_thinking is defined and enable_thinking is false }} {{ documents[0].text }}")
    assert template.render(USER, enable_thinking=False, documents=[{"text": "d"}]) == "True d"


def test_the_clock_can_be_set() -> None:
    template = JinjaTemplate("{{ strftime_now('%d %b %Y') }}")
    assert template.at(datetime(2001, 2, 3)).render(USER) == "03 Feb 2001"


@pytest.mark.parametrize("content", ["One, two, ", " x ", "", "  ", "x\n"])
def test_the_final_message_stays_open(content: str) -> None:
    chat = [*USER, {"role": "assistant", "content": content}]
    assert JinjaTemplate(CHATML).render(chat, continue_final_message=True) == f"<user>Hi</><assistant>{content}"


def test_a_trimming_template_gives_a_trimmed_end() -> None:
    template = JinjaTemplate(CHATML.replace("m.content", "m.content | trim"))
    chat = [*USER, {"role": "assistant", "content": "One,  "}]
    assert template.render(chat, continue_final_message=True) == "<user>Hi</><assistant>One,"


def test_a_thought_is_there_under_each_of_its_names() -> None:
    template = JinjaTemplate("{{ messages[0].reasoning_content }}|{{ messages[0].thinking }}")
    assert template.render([{"role": "assistant", "content": "", "thinking": "t"}]) == "t|t"


def test_messages_are_left_as_they_were() -> None:
    chat = [{"role": "assistant", "content": "a"}]
    JinjaTemplate(CHATML).render(chat, continue_final_message=True)
    assert chat == [{"role": "assistant", "content": "a"}]


@pytest.mark.bad_input("Jinja: a syntax error")
def test_syntax_error_names_the_line() -> None:
    with pytest.raises(BadTemplateError) as caught:
        JinjaTemplate("one\ntwo {% if %}")
    assert caught.value.code == "bad-template"
    assert "line 2" in caught.value.message


@pytest.mark.bad_input("Jinja: the template refuses the conversation")
def test_raise_exception() -> None:
    with pytest.raises(TemplateRefusedError) as caught:
        JinjaTemplate("{{ raise_exception('roles must alternate') }}").render(USER)
    assert caught.value.code == "template-refused"
    assert "roles must alternate" in caught.value.message


@pytest.mark.bad_input("Jinja: an undefined value is used")
def test_undefined_value() -> None:
    with pytest.raises(BadTemplateError) as caught:
        JinjaTemplate("{{ bos_token + 'x' }}").render(USER)
    assert "bos_token" in caught.value.message


@pytest.mark.bad_input("Jinja: the template swallows the message to continue")
def test_swallowed_final_message() -> None:
    with pytest.raises(BadTemplateError):
        JinjaTemplate("{# content #}nothing").render(
            [{"role": "assistant", "content": "a"}], continue_final_message=True
        )


@pytest.mark.bad_input("Jinja: a template that reaches for Python's internals")
@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__ }}", "{{ ''.__class__.__base__.__subclasses__() }}", "{{ messages.append(1) }}",
        "{% set n = namespace(__class__=1) %}", "{{ cycler.__init__.__globals__ }}", "{{ '{0.__class__}'.format(1) }}",
    ],
)  # fmt: skip
def test_internals_are_out_of_reach(source: str) -> None:
    try:
        rendered = JinjaTemplate(source).render(USER)
    except BadTemplateError:
        return
    assert "class" not in rendered
    assert "built-in" not in rendered


@pytest.mark.bad_input("Jinja: a template that builds a huge text")
@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' * 10 ** 10 }}", "{{ 10 ** 1000000000 }}", "{{ '%1000000000d' % 1 }}", "{{ 'a'.center(1000000000) }}",
        "{% set x = 'a' * 1000000 %}{% for i in range(99) %}{{ x }}{% endfor %}", "{{ [1] * 999999999 }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{{ range(999999999) | list }}",
    ],
)  # fmt: skip
def test_bombs_end_in_an_error(source: str) -> None:
    with pytest.raises(BadTemplateError):
        JinjaTemplate(source).render(USER)
