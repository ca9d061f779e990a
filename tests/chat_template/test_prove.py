"""What is proven and what is not: the BOS once, faults of the Jinja, dates, old thoughts, tokens, the better of two."""

from __future__ import annotations

import pytest

from conch_ollama.chat_template.conversations import PLAIN
from conch_ollama.chat_template.families import family_by_name
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.prove import ALTERED_KIND, best_template, prove
from conch_ollama.chat_template.verdicts import ALTERED, DIFFERS, EQUAL, NOT_EXPRESSIBLE, REFUSED
from conch_ollama.errors import BadTemplateError
from tests.chat_template.references import index, reference, source

CHATML = family_by_name("chatml").text()
LOOP = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


def test_each_class_has_its_verdict() -> None:
    found = prove(reference("chatml"), CHATML, add_bos=False, bos_token="")
    assert found.proven
    assert {found.classes[kind].verdict for kind in PLAIN} == {EQUAL}
    assert (found.strategy, found.bos, found.reason) == ("given", "none", "")
    refusing = prove(reference("refusing", "<s>"), CHATML, add_bos=True, bos_token="<s>")
    assert refusing.proven
    assert refusing.classes["system"].verdict == REFUSED
    assert refusing.bos == "added by the server"


@pytest.mark.bad_input("a given TEMPLATE that is not the model's")
def test_a_difference_is_shown_with_its_conversation() -> None:
    found = prove(reference("smollm2"), CHATML, add_bos=False, bos_token="")
    assert not found.proven
    worst = found.classes["user"]
    assert worst.verdict == DIFFERS
    assert worst.conversation is not None
    assert worst.conversation.kind == "user"
    assert "-You are a helpful AI assistant" in worst.diff
    assert found.classes["system"].verdict == EQUAL


@pytest.mark.bad_input("a chat template that fails where there is a system text, without refusing it")
def test_a_broken_jinja_is_no_refusal() -> None:
    broken = JinjaTemplate(
        "{% if messages[0].role == 'system' %}{{ nothing.at_all.here }}{% endif %}" + source("chatml")
    )
    found = prove(broken, CHATML, add_bos=False, bos_token="")
    assert not found.proven
    assert found.classes["user"].verdict == EQUAL
    assert found.classes["system"].verdict == DIFFERS
    assert "fails" in found.classes["system"].diff


@pytest.mark.bad_input("a TEMPLATE that writes the BOS which the server adds")
def test_the_bos_counts_once() -> None:
    jinja = JinjaTemplate("{{ bos_token }}" + source("chatml"), bos_token="<s>")
    assert prove(jinja, CHATML, add_bos=True, bos_token="<s>").proven
    assert prove(jinja, "<s>" + CHATML, add_bos=False, bos_token="<s>").proven
    assert not prove(jinja, "<s>" + CHATML, add_bos=True, bos_token="<s>").proven
    assert not prove(jinja, CHATML, add_bos=False, bos_token="<s>").proven


def test_a_users_bos_is_not_taken_for_the_templates() -> None:
    """A template that writes no BOS: a text that begins with one keeps it, and the server's own is a warning."""
    jinja = JinjaTemplate("{% for m in messages %}{{ m.content }}|{% endfor %}")
    found = best_template(jinja, add_bos=True, bos_token="<s>")
    assert found.proven
    assert "<s>" in found.warnings[0]


def test_token_ids_are_compared_where_there_is_a_tokenizer() -> None:
    jinja = JinjaTemplate("{{ bos_token }}" + source("chatml"), bos_token="<s>")

    def by_character(text: str) -> list[int]:
        return [1, *by_character(text[3:])] if text.startswith("<s>") else [ord(char) for char in text]

    def by_start(text: str) -> list[int]:
        """A text after a BOS gets other ids than the same text alone."""
        return [1, 2, *map(ord, text[3:])] if text.startswith("<s>") and text[3:] else [1] if text else []

    assert prove(jinja, CHATML, add_bos=True, bos_token="<s>", tokenizer=by_character).proven
    assert not prove(jinja, CHATML, add_bos=True, bos_token="<s>", tokenizer=by_start).proven


def test_what_ollama_alters_is_a_class_of_its_own() -> None:
    found = best_template(reference("qwen3"), add_bos=False, bos_token="", family="qwen3", name="q")
    assert found.proven
    assert found.classes[ALTERED_KIND].verdict == ALTERED
    assert found.altered
    assert all(one.messages for one in found.altered)
    assert ALTERED_KIND not in best_template(reference("qwen3"), add_bos=False, bos_token="").classes


def test_a_curated_template_is_preferred_where_it_is_proven() -> None:
    named = index()["qwen2.5"]
    found = best_template(named.template(), add_bos=named.add_bos, bos_token=named.bos_token)
    assert found.strategy == "curated:qwen2.5"
    assert "tools" in found.capabilities
    assert found.system_default is not None
    better = index()["minicpm5"]  # ChatML as well, but it has thoughts
    found = best_template(better.template(), add_bos=better.add_bos, bos_token=better.bos_token)
    assert found.strategy == "compiled"
    assert found.classes["thinking in history"].holds
    other = best_template(JinjaTemplate(LOOP), add_bos=False, bos_token="")
    assert (other.strategy, other.proven) == ("compiled", True)
    assert other.template.startswith("{{- ")


@pytest.mark.bad_input("a given TEMPLATE that Go does not parse")
def test_a_template_that_does_not_parse() -> None:
    with pytest.raises(BadTemplateError) as caught:
        prove(reference("chatml"), "{{ if }}", add_bos=False, bos_token="")
    assert caught.value.code == "bad-template"
    assert "line 1" in caught.value.message


@pytest.mark.bad_input("a chat template with today's date, to be proven against a frozen one")
def test_a_frozen_date_is_no_proof() -> None:
    dated = JinjaTemplate("{{ strftime_now('%Y') }}" + LOOP)
    found = best_template(dated, add_bos=False, bos_token="")
    assert (found.proven, found.reason) == (False, "date")
    assert not prove(dated, found.template, add_bos=False, bos_token="").proven


@pytest.mark.bad_input("a server's BOS that the prompt begins with already")
def test_a_bos_that_would_double_is_not_proven() -> None:
    found = best_template(reference("smollm2", "<|im_start|>"), add_bos=True, bos_token="<|im_start|>")
    wanted = reference("smollm2", "<|im_start|>").render([{"role": "user", "content": "Hi"}])
    assert wanted.startswith("<|im_start|>system")
    assert not found.template.startswith("<|im_start|>")
    smollm2 = family_by_name("smollm2").text()
    assert not prove(reference("smollm2", "<|im_start|>"), smollm2, add_bos=True, bos_token="<|im_start|>").proven


@pytest.mark.bad_input("a chat template that refuses every question")
def test_a_jinja_that_refuses_everything() -> None:
    with pytest.raises(BadTemplateError) as caught:
        best_template(JinjaTemplate("{{ raise_exception('no') }}"), add_bos=False, bos_token="")
    assert caught.value.code == "template-refused"


@pytest.mark.bad_input("a chat template that prints the messages in another order")
def test_what_cannot_be_expressed_has_its_reason_and_the_nearest_template() -> None:
    found = best_template(JinjaTemplate(LOOP.replace("messages", "messages|reverse")), add_bos=False, bos_token="")
    assert not found.proven
    assert "moved" in found.reason
    turns = found.classes["turns"]
    assert turns.verdict == NOT_EXPRESSIBLE
    assert turns.construct and turns.limit
    assert "-user: How are you?" in turns.diff
    assert found.strategy.startswith("curated:")
    assert found.template


def test_what_ollama_joins_is_not_expressible() -> None:
    found = best_template(reference("chatml"), add_bos=False, bos_token="")
    joined = found.classes["adjacent messages"]
    assert found.proven
    assert joined.verdict == NOT_EXPRESSIBLE
    assert "joins" in joined.limit
    other = prove(reference("chatml"), CHATML.replace("Content", "Role"), add_bos=False, bos_token="")
    assert other.classes["adjacent messages"].verdict == DIFFERS


@pytest.mark.bad_input("a tokenizer that reads a text's start otherwise than what follows a BOS")
def test_other_token_ids_of_the_same_text_are_shown() -> None:
    jinja = JinjaTemplate("{{ bos_token }}" + source("chatml"), bos_token="<s>")

    def by_start(text: str) -> list[int]:
        """As SentencePiece does, a space before the first word of a text."""
        return [1, *map(ord, text[3:])] if text.startswith("<s>") else [0, *map(ord, text)]

    found = prove(jinja, CHATML, add_bos=True, bos_token="<s>", tokenizer=by_start)
    assert not found.proven
    assert "other token ids" in found.classes["user"].diff


@pytest.mark.bad_input("a chat template that does in every rendering nearly as much as one may")
def test_a_template_that_does_too_much_for_a_proof() -> None:
    slow = JinjaTemplate("{% for i in range(9000) %}{% endfor %}" + LOOP)
    assert slow.render([{"role": "user", "content": "Hi"}])
    with pytest.raises(BadTemplateError) as caught:
        best_template(slow, add_bos=False, bos_token="")
    assert "too much to be proven" in caught.value.message
    assert slow.render([{"role": "user", "content": "Hi"}])  # the budget was the proof's
