"""What a turn consists of, and that nothing of it is a stop: for the models' own templates and made-up ones."""

from __future__ import annotations

from typing import Any

import pytest

from conch_ollama.chat_template.compiler.compile import compile_template
from conch_ollama.chat_template.compiler.model import Compiled
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.prove import best_template
from conch_ollama.chat_template.turns import Turns, useful_stops, whole_turns
from conch_ollama.errors import BadTemplateError
from tests.chat_template.references import index
from tests.parts.long import shortened

ASK = [{"role": "user", "content": "Rain?"}]
CALL = {"type": "function", "id": "abcdefghi", "function": {"name": "weather", "arguments": {"city": "Paris"}}}
ANSWERS: tuple[dict[str, Any], ...] = ({"content": "So."}, {"content": "", "tool_calls": [CALL]})
THOUGHTS: tuple[dict[str, Any], ...] = ({}, {"thinking": "Hm."}, {"reasoning_content": "Hm."})
#: Two parts to a turn: a thought ends as an answer in the middle of a conversation does.
CHANNELS = (
    "{%- for m in messages %}{%- if m.role == 'assistant' %}"
    "{%- if m.thinking %}{{- '<|bot|>thought<|:|>' + m.thinking + '<|over|>' }}{%- endif %}"
    "{{- '<|bot|>answer<|:|>' + m.content + ('<|done|>' if loop.last else '<|over|>') }}"
    "{%- else %}{{- '<|' + m.role + '|>' + m.content + '<|over|>' }}{%- endif %}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|bot|>' }}{%- endif %}"
)


def _compiled(jinja: JinjaTemplate, *, add_bos: bool = False, bos: str = "") -> Compiled:
    found = compile_template(jinja, add_bos=add_bos, bos_token=bos)
    assert isinstance(found, Compiled)
    return found


@pytest.mark.parametrize("name", shortened(index(), ("gpt-oss", "qwen3", "llama3.1", "smollm2", "alpaca")))
def test_no_stop_of_a_models_own_template_is_inside_a_turn(name: str) -> None:
    of = index()[name]
    jinja = of.template()
    stops = _compiled(jinja, add_bos=of.add_bos, bos=of.bos_token).stops
    assert stops
    seen = 0
    for answer in ({"role": "assistant", **thought, **said} for thought in THOUGHTS for said in ANSWERS):
        try:
            prompt, text = jinja.render(ASK), jinja.render([*ASK, answer], add_generation_prompt=False)
        except BadTemplateError:
            continue
        while not text.startswith(prompt):
            prompt = prompt[:-1]
        said = text[len(prompt) :]
        inside = said[: max(said.rfind("So."), said.rfind("Paris"), 0)]
        assert not [stop for stop in stops if stop in inside], said
        seen += bool(inside or said.startswith("So."))
    assert seen


def test_gpt_oss_ends_at_return_alone() -> None:
    """`<|end|>` and `<|start|>` stand between analysis and answer."""
    of = index()["gpt-oss"]
    assert best_template(of.template(), add_bos=False, bos_token="").stops == ("<|return|>",)
    assert _compiled(JinjaTemplate(of.template().source)).stops == ("<|return|>",)  # no EOS is known
    assert any("<|end|><|start|>assistant<|channel|>final" in turn for turn in whole_turns(of.template()))


def test_what_ends_a_part_of_a_turn_is_no_stop() -> None:
    jinja = JinjaTemplate(CHANNELS, eos_token="<|done|>")
    assert useful_stops(jinja, ("<|done|>", "<|over|>", "<|bot|>", "<|user|>")) == ("<|done|>", "<|user|>")
    assert _compiled(jinja).stops == ("<|done|>", "<|user|>")
    assert _compiled(JinjaTemplate(CHANNELS)).stops == ("<|user|>",)
    shared = CHANNELS.replace("'<|' + m.role + '|>'", "'<|bot|>' + m.role")  # the next question begins as an answer
    assert _compiled(JinjaTemplate(shared)).stops == ("<|done|>",)
    whole = CHANNELS.replace("{%- if m.thinking %}", "{%- if false %}")  # without thoughts it is the end of a turn
    assert useful_stops(JinjaTemplate(whole), ("<|over|>", "<|bot|>")) == ("<|over|>", "<|bot|>")


def test_the_end_of_text_stays_whatever_the_template_writes() -> None:
    jinja = JinjaTemplate(CHANNELS.replace("<|over|>", "<|done|>"), eos_token="<|done|>")
    assert useful_stops(jinja, ("<|done|>", "<|bot|>")) == ("<|done|>",)


@pytest.mark.parametrize(
    "source",
    [
        "{% for m in messages %}{{ m.content if m.role == 'user' else raise_exception('no') }}{% endfor %}",
        "{{ messages | length }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}",
    ],
    ids=["no answers", "the question changes with what follows"],
)
def test_where_no_turn_is_seen_no_stop_goes(source: str) -> None:
    jinja = JinjaTemplate(source)
    assert whole_turns(jinja) == ()
    assert useful_stops(jinja, ("<user>", "<assistant>")) == ("<user>", "<assistant>")


def test_a_turn_does_not_go_on_after_its_end() -> None:
    turns = Turns("", (), ("a<sep>b<end>",))
    assert turns.goes_on_after("<sep>")
    assert not turns.goes_on_after("<end>")
    assert not turns.goes_on_after("")
