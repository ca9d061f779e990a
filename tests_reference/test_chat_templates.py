"""The reference chat templates of the tests against the models' own, as published packages carry them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conch_ollama.chat_template.case import WORK
from conch_ollama.chat_template.conversations import CONVERSATIONS, Conversation, random_conversations
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.jinja_limits import UNITS_PER_RENDERING
from conch_ollama.errors import BadTemplateError
from tests.chat_template.references import MOMENT, Reference, index, source
from tests.chat_template.test_hostile import proof_work
from tests_reference.oracle import real_tokenizer
from tests_reference.packaged_templates import packaged

PACKAGED = [name for name, reference in index().items() if reference.package]
#: Laid out in another way or with a switch taken out (see their notes): equal in what they render only.
CHANGED = {"qwq", "deepseek-r1-distill"}
CHATS = (*CONVERSATIONS, *random_conversations(seed=41, count=40))
#: Options under which llama.cpp's copy of a template is the model's own.
OPTIONS = {"qwq": {"enable_thinking": True}}


def real(reference: Reference, text: str) -> JinjaTemplate:
    return JinjaTemplate(
        text,
        bos_token=reference.bos_token,
        eos_token=reference.eos_token,
        special_tokens=reference.special_tokens,
        now=lambda: MOMENT,
    )


def rendered(template: JinjaTemplate, one: Conversation, options: dict[str, Any]) -> str | None:
    given: dict[str, Any] = {} if one.think is None else {"enable_thinking": one.think}
    given |= options
    try:
        return template.render(one.messages, tools=one.tools, continue_final_message=one.is_prefill, **given)
    except BadTemplateError:
        return None


@pytest.mark.parametrize("name", PACKAGED)
def test_ours_renders_what_the_models_own_renders(name: str) -> None:
    reference = index()[name]
    ours, theirs = reference.template(), real(reference, packaged(reference.package))
    options = OPTIONS.get(name, {})
    count = 0
    for one in CHATS:
        wanted = rendered(theirs, one, options)
        assert rendered(ours, one, options) == wanted, one
        count += wanted is not None
    assert count > len(CHATS) / 2


@pytest.mark.parametrize("name", [name for name in PACKAGED if index()[name].text == "own"])
def test_a_text_said_to_be_the_models_own_is(name: str) -> None:
    same = source(name).removesuffix("\n") == packaged(index()[name].package).removesuffix("\n")
    assert same == (name not in CHANGED)


@pytest.mark.parametrize("name", [name for name in PACKAGED if index()[name].text == "written"])
def test_a_written_text_is_not_a_copy(name: str) -> None:
    theirs = {line.strip() for line in packaged(index()[name].package).splitlines() if len(line.strip()) > 60}
    assert not theirs & {line.strip() for line in source(name).splitlines()}


@pytest.mark.parametrize("version", ["2-Pro-Llama-3-8B", "3-Llama-3.1-8B"])
def test_hermes_with_tools_renders_the_second_of_its_templates(version: str) -> None:
    reference = index()["hermes-2-pro"]
    theirs = real(reference, packaged(f"NousResearch-Hermes-{version}-tool_use"))
    chats = [one for one in CONVERSATIONS if one.tools]
    assert len(chats) >= 4
    for one in chats:
        assert rendered(reference.template(), one, {}) == rendered(theirs, one, {}) is not None


@pytest.mark.parametrize("name", ["Kimi-K3", "google-gemma-4-31B-it", "Reka-Edge", "GigaChat3-10B-A1.8B"])
def test_the_proofs_of_the_heaviest_templates_have_room(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    jinja = JinjaTemplate(packaged(name), bos_token="<s>", eos_token="</s>")
    purse = proof_work(jinja, "<s>", monkeypatch)
    assert 1.3 * purse.spent < WORK
    assert 2 * purse.spent < UNITS_PER_RENDERING * purse.renderings


@pytest.mark.parametrize("name", [name for name in PACKAGED if index()[name].package.startswith("npm:")])
def test_tokens_are_those_of_the_tokenizer(name: str) -> None:
    reference = index()[name]
    folder = real_tokenizer(reference.package[4:])
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert _text(config["bos_token"]) == reference.bos_token
    if name not in {"llama3", "gemma3"}:  # either end of text or end of turn is their EOS, by publisher
        assert _text(config["eos_token"]) == reference.eos_token
    if "add_bos_token" in config:
        assert config["add_bos_token"] == reference.add_bos


def _text(token: Any) -> str:
    return "" if token is None else str(token["content"] if isinstance(token, dict) else token)
