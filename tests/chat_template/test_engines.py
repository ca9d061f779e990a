"""What another engine makes of a Jinja, held against it: the engine here is a function, so that all is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from conch_ollama.chat_template.conversations import PLAIN, Conversation, conversation
from conch_ollama.chat_template.engines import EngineProof, cut_open, engine_proof, open_ended
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.verdicts import DIFFERS, EQUAL, REFUSED
from conch_ollama.errors import BadTemplateError, RuntimeFailedError

BOS = "<s>"
CHATML = """{{ bos_token }}{% for message in messages %}
{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
ALTERNATING = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML


def engine(source: str, change: Callable[[str], str] = str) -> Callable[[Conversation], str]:
    jinja = JinjaTemplate(source, bos_token=BOS)

    def render(one: Conversation) -> str:
        text = jinja.render(one.messages, continue_final_message=one.is_prefill, tools=one.tools)
        return change(text)

    return render


def proof(source: str, render: Callable[[Conversation], str]) -> EngineProof:
    return engine_proof(JinjaTemplate(source, bos_token=BOS), render, bos_token=BOS)


def test_an_engine_that_renders_the_same_is_proven() -> None:
    found = proof(CHATML, engine(CHATML))
    assert found.proven
    assert set(PLAIN) <= set(found.classes)
    assert all(one.holds for one in found.classes.values())


def test_a_leading_bos_is_taken_off_both_sides_and_no_other() -> None:
    assert proof(CHATML, engine(CHATML, lambda text: text.removeprefix(BOS))).proven
    assert not proof(CHATML, engine(CHATML, lambda text: BOS + text)).proven


def test_one_space_in_one_conversation_is_a_difference_with_its_diff() -> None:
    found = proof(CHATML, engine(CHATML, lambda text: text.replace("magic conch.", "magic conch. ")))
    assert not found.proven
    assert [kind for kind, one in found.classes.items() if not one.holds] == ["system"]
    one = found.classes["system"]
    assert one.conversation is not None and one.conversation.messages[0]["content"] == "You are a magic conch."
    assert "-You are a magic conch.<|im_end|>\n+You are a magic conch. <|im_end|>" in one.diff


def test_what_the_jinja_refuses_does_not_count() -> None:
    found = proof(ALTERNATING, engine(CHATML))
    assert found.proven
    assert found.classes["system"].verdict == REFUSED
    assert found.classes["user"].verdict == EQUAL


@pytest.mark.bad_input("a template that the engine refuses")
def test_an_engine_that_refuses_is_a_difference() -> None:
    found = proof(CHATML, engine(ALTERNATING))
    assert found.classes["system"].verdict == DIFFERS
    assert "no system" in found.classes["system"].diff
    assert not found.proven


def test_an_engine_that_ends_is_no_verdict() -> None:
    def dead(one: Conversation) -> str:
        raise RuntimeFailedError("gone")

    with pytest.raises(RuntimeFailedError, match="gone"):
        proof(CHATML, dead)


def test_a_last_text_is_left_open_as_transformers_does_it() -> None:
    trims = "{% for message in messages %}[{{ message['content'] | trim }}]{% endfor %}"
    for source in (CHATML, trims):
        for text in ("One, two, ", "", "\n\n", " a"):
            one = conversation("prefill", ("u", "Count."), ("a", text))
            jinja = JinjaTemplate(source)
            wanted = jinja.render(one.messages, continue_final_message=True)
            rendered = jinja.render(open_ended(one.messages), add_generation_prompt=False)
            assert cut_open(rendered, text) == wanted


def test_texts_that_tell_engines_of_bytes_apart_are_among_the_conversations() -> None:
    shouting = CHATML.replace("+ message['content']", "+ message['content'] | upper")
    ascii_only = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    plain = engine(CHATML)

    def render(one: Conversation) -> str:
        text = plain(one)
        for message in one.messages:
            text = text.replace(str(message["content"]), str(message["content"]).translate(ascii_only))
        return text

    assert not proof(shouting, render).classes["blank and odd contents"].holds


@pytest.mark.bad_input("a template that drops the answer which is to be continued")
def test_a_template_that_drops_the_last_text_can_not_leave_it_open() -> None:
    with pytest.raises(BadTemplateError, match="does not come back"):
        cut_open("user: Hi", "Well,")
