"""What ends a turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from conch_ollama.tokenizers.stops import EOG_TEXTS, Stops, find_stops, turn_ends
from tests.tokenizers.folders import CHATML

LLAMA_3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
    "message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' %}{{ content }}{% endfor %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
)
LLAMA_3_TOKENS = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
DEEPSEEK = (
    "{{bos_token}}{% for message in messages %}{% if message['role'] == 'user' %}{{'<｜User｜>' + message['content']}}"
    "{% endif %}{% if message['role'] == 'assistant' %}{{'<｜Assistant｜>' + message['content'] + "
    "'<｜end▁of▁sentence｜>'}}{% endif %}{% if message['role'] == 'tool' %}{{'<｜tool▁output▁begin｜>' + "
    "message['content'] + '<｜tool▁output▁end｜>'}}{% endif %}{% endfor %}"
)
DEEPSEEK_TOKENS = (
    "<｜begin▁of▁sentence｜>",
    "<｜end▁of▁sentence｜>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "<｜tool▁output▁begin｜>",
    "<｜tool▁output▁end｜>",
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + "
    "' [/INST]' }}{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{% for message in messages %}{{ '<start_of_turn>' + role + '\\n' }}{% if message['content'] is string %}"
    "{{ message['content'] | trim }}{% else %}{% for item in message['content'] %}{{ item['text'] | trim }}{% endfor %}"
    "{{ raise_exception('Invalid content type') }}{% endif %}{{ '<end_of_turn>\\n' }}{% endfor %}"
)
PHI_4 = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '<|im_sep|>' + message['content'] + "
    "'<|im_end|>' }}{% endfor %}"
)
UNHEARD_OF = "{% for m in messages %}<<{{ m.role }}>>{{ m.content }}<over/>\n{% endfor %}"
HARMONY = "{{ '<|start|>assistant<|message|>' + message.content + '<|end|>' }}{{ message.content + '<|return|>' }}"
IMAGES = (
    "{% for part in message['content'] %}{{ part['text'] }}{{ '[IMG]' }}{{ part['text'] }}<patch>{% endfor %}"
    "{{ message['content'] + '<over/>' }}{{ message['content'] + eos_token }}"
)
TOOLS = "{{ '<|im_start|>' + message.content + '<|im_end|>' }}<tool_call>{{ tool | tojson }}</tool_call><|im_end|>"


@pytest.mark.parametrize(
    ("template", "tokens", "eos", "ends"),
    [
        (CHATML, ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "<|endoftext|>", ["<|im_end|>"]),
        (LLAMA_3, LLAMA_3_TOKENS, "<|end_of_text|>", ["<|eot_id|>"]),
        (DEEPSEEK, DEEPSEEK_TOKENS, "<｜end▁of▁sentence｜>", ["<｜end▁of▁sentence｜>"]),
        (MISTRAL, ("<s>", "</s>", "[INST]", "[/INST]"), "</s>", ["</s>"]),
        (GEMMA, ("<eos>", "<start_of_turn>", "<end_of_turn>"), "<eos>", ["<end_of_turn>"]),
        (PHI_4, ("<|im_start|>", "<|im_sep|>", "<|im_end|>"), None, ["<|im_end|>"]),
        (UNHEARD_OF, ("<<", ">>", "<over/>"), None, ["<over/>"]),
        (HARMONY, ("<|start|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>"), "<|return|>", ["<|return|>"]),
        (TOOLS, ("<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"), None, ["<|im_end|>"]),
        (IMAGES, ("[IMG]", "<patch>", "</s>", "<over/>"), "</s>", ["</s>"]),
        (IMAGES.replace("eos_token", "''"), ("[IMG]", "<patch>", "</s>", "<over/>"), "</s>", ["<over/>"]),
        ("{{ messages[0]['content'] }}", ("<|im_end|>",), "<|im_end|>", []),
        ("{% if message['content'] == 'x' %}<|user|>{% endif %}", ("<|user|>",), None, []),
        ("", ("<|im_end|>",), None, []),
        (CHATML, (), None, []),
        ("{% for broken %}{{ 'x", ("<|im_end|>",), None, []),
    ],
    ids=str,
)
def test_turn_ends(template: str, tokens: Sequence[str], eos: str | None, ends: list[str]) -> None:
    assert turn_ends(template, frozenset(tokens), eos_token=eos) == ends


def stops(template: str | None, tokens: Sequence[str], **ids: Any) -> Stops:
    return find_stops(
        ids={text: index for index, text in enumerate(tokens)},
        added=frozenset(tokens),
        chat_template=template,
        **{"eos": None, **ids},
    )


TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<over/>", "<|observation|>", "<|user|>")


def test_eos_ends_turns_itself() -> None:
    assert stops(CHATML, TOKENS, eos=2) == Stops(2, None, None, (2,), ("<|im_end|>",))


def test_a_turn_ends_with_another_token_than_eos() -> None:
    assert stops(CHATML, TOKENS, eos=0) == Stops(0, 2, None, (2, 0), ("<|im_end|>", "<|endoftext|>"))


def test_an_eos_that_begins_turns_is_a_warning() -> None:
    """As transformers names it for the tokenizer of SmolLM2's GGUF. The model stops all the same."""
    found = stops(CHATML, TOKENS, eos=1)
    assert (found.eos, found.eot, found.ids) == (1, 2, (2, 1))
    assert "'<|im_start|>' stands in the chat template" in found.warnings[0]


def test_without_eos_the_turn_s_end_is_eos() -> None:
    assert stops(CHATML, TOKENS) == Stops(2, None, None, (2,), ("<|im_end|>",))


def test_without_eos_and_template_generation_config_decides() -> None:
    assert stops(None, TOKENS, configured=(0, 3)) == Stops(0, 3, None, (0, 3), ("<|endoftext|>", "<over/>"))


def test_what_llama_cpp_knows_by_text_needs_no_key() -> None:
    assert "<|endoftext|>" in EOG_TEXTS
    assert stops(CHATML, TOKENS, eos=2, configured=(2, 0)) == Stops(
        2, None, None, (2, 0), ("<|im_end|>", "<|endoftext|>")
    )


def test_further_stops_take_the_keys_that_are_left_then_warn() -> None:
    found = stops(CHATML, TOKENS, eos=2, configured=(2, 3, 4, 5))
    assert (found.eos, found.eot, found.eom, found.ids) == (2, 4, 3, (2, 3, 4, 5))
    assert "'<|user|>'" in found.warnings[0]
    assert found.strings == ("<|im_end|>", "<over/>", "<|observation|>", "<|user|>")


def test_an_eot_that_is_known_already_stays() -> None:
    assert stops(CHATML, TOKENS, eos=0, eot=3).eot == 3


def test_nothing_is_known() -> None:
    found = stops(None, TOKENS)
    assert (found.eos, found.ids) == (None, ())
    assert "no end of text is known" in found.warnings[0]


def test_strings_are_those_of_added_tokens_only() -> None:
    found = find_stops(ids={"<|im_end|>": 2}, added=frozenset({"<|im_end|>"}), chat_template=None, eos=7)
    assert (found.ids, found.strings) == ((7,), ())
