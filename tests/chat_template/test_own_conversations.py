"""Templates that look at what is said, how much, or how often: no TEMPLATE says that, and none may be called proven."""

from __future__ import annotations

import pytest

from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.own_conversations import own_conversations
from conch_ollama.chat_template.prove import best_template
from tests.chat_template.references import index, source

#: A plain template with one condition in it, which is false for all that one would try by hand.
SLY = {
    "a command": "m.content.startswith('/quiet')",
    "a question mark": "m.content.endswith('?!')",
    "a word": "'xyzzy' in m.content",
    "the whole text": "m.content == 'ping'",
    "the whole text, in lower case": "m.content | lower == 'ping'",
    "one of several": "m.content in ['ping', 'pong']",
    "a system text": "messages[0].content == 'detailed thinking on'",
    "the length": "m.content | length > 1700",
    "the words": "m.content.split(' ') | length == 37",
    "the lines": "m.content.count('\n') == 17",
    "a number": "m.content | int(0) == 4711",
    "how many messages": "messages | length == 13",
    "how many messages at least": "messages | length > 40",
    "every so many messages": "messages | length is divisibleby 23",
    "the place": "loop.index == 21",
    "the round": "loop.index0 // 2 == 12",
    "the letter in front": "m.content[:3] == '@@@'",
    "the last word": "m.content.split(' ')[-1] == 'over'",
}
LOOP = (
    "{{% for m in messages %}}{{% if {} %}}!{{% endif %}}"
    "{{{{ '<' + m.role + '>' + m.content }}}}{{% endfor %}}<assistant>"
)


@pytest.mark.parametrize("name", SLY)
def test_what_depends_on_what_is_said_is_not_proven(name: str) -> None:
    found = best_template(JinjaTemplate(LOOP.format(SLY[name])), add_bos=False, bos_token="", families=())
    assert not found.proven
    assert found.reason or any(not one.holds for one in found.classes.values())


@pytest.mark.parametrize("cut", ["messages[-12:]", "messages[:30]", "messages[-50:]"])
def test_a_history_that_is_cut_is_not_proven(cut: str) -> None:
    text = "{% for m in " + cut + " %}{{ '<' + m.role + '>' + m.content }}{% endfor %}<assistant>"
    assert not best_template(JinjaTemplate(text), add_bos=False, bos_token="", families=()).proven


@pytest.mark.parametrize("change", ["[:900]", " | truncate(2500)", ".replace('xyzzy', '')", " | replace('==', '=')"])
def test_a_text_that_is_changed_seldom_is_not_proven(change: str) -> None:
    text = "{% for m in messages %}{{ '<' + m.role + '>' + (m.content" + change + ") }}{% endfor %}<assistant>"
    assert not best_template(JinjaTemplate(text), add_bos=False, bos_token="", families=()).proven


def test_a_date_in_a_system_text_only_is_found() -> None:
    dated = "{% if m.role == 'system' %}{{ strftime_now('%Y-%m-%d') }}{% endif %}{{ '<' + m.role + '>' + m.content }}"
    text = "{% for m in messages %}" + dated + "{% endfor %}<assistant>"
    found = best_template(JinjaTemplate(text), add_bos=False, bos_token="", families=())
    assert (found.proven, found.reason) == (False, "date")


def test_there_are_few_of_the_models_own() -> None:
    for name in index():
        assert len(own_conversations(source(name))) < 400
    assert not own_conversations("{% if")
    assert not own_conversations(source("chatml"))
