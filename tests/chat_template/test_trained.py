"""The prompts that LLaMA-Factory trains on. That they are its own is held against it in tests_training."""

from __future__ import annotations

from typing import Any

import pytest

from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.prove import best_template
from conch_ollama.chat_template.trained.formats import from_training, mismatch, names, trained_jinja, trained_stops
from conch_ollama.chat_template.trained.table import formats
from conch_ollama.errors import NotFoundError, TemplateRefusedError

from .references import source

TOKENS: Any = {"bos_token": "<s>", "eos_token": "</s>"}
TURNS = (("user", "Q"), ("assistant", "A"), ("user", "R"), ("assistant", "B"))
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
EMPTY = "<think>\n\n</think>\n\n"


def messages(count: int, system: str | None = None) -> list[dict[str, str]]:
    """The first turns, behind a system text if there is one."""
    turns = ((("system", system),) if system is not None else ()) + TURNS[:count]
    return [{"role": role, "content": content} for role, content in turns]


def from_options(**options: Any) -> JinjaTemplate:
    found = from_training(options, **TOKENS)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "count", "system", "expected"),
    [
        ("vicuna", 3, None, f"{VICUNA}USER: Q ASSISTANT:A</s>USER: R ASSISTANT:"),
        ("vicuna", 1, "", f"{VICUNA}USER: Q ASSISTANT:"),
        ("vicuna", 1, " ", " USER: Q ASSISTANT:"),
        ("default", 3, "S", "System: S</s>\nHuman: Q</s>\nAssistant:A</s>\nHuman: R</s>\nAssistant:"),
        ("alpaca", 2, "S", "S### Instruction:\nQ\n\n### Response:\nA</s>\n\n"),
        ("llama2", 3, "S", "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nQ [/INST]A</s><s>[INST] R [/INST]"),
        ("glm4", 2, "S", "[gMASK]<sop><|system|>\nS<|user|>\nQ<|assistant|>\nA</s>"),
        ("glm4", 3, None, "[gMASK]<sop><|user|>\nQ<|assistant|>\nA<|user|>\nR<|assistant|>"),
        ("smollm", 2, None, "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"),
    ],
)
def test_prompts(name: str, count: int, system: str | None, expected: str) -> None:
    assert trained_jinja(name, **TOKENS).render(messages(count, system)) == expected


def test_a_begun_answer_stays_open() -> None:
    jinja = trained_jinja("glm4", **TOKENS)
    assert jinja.render(messages(2), continue_final_message=True) == "[gMASK]<sop><|user|>\nQ<|assistant|>\nA"


@pytest.mark.parametrize(("given", "written"), [(None, VICUNA), ("", ""), ("It's\n'so'.", "It's\n'so'.")])
def test_default_system(given: str | None, written: str) -> None:
    jinja = trained_jinja("vicuna", **TOKENS, default_system=given)
    assert jinja.render(messages(1)) == f"{written}USER: Q ASSISTANT:"


def test_a_tokenizer_without_special_tokens() -> None:
    jinja = trained_jinja("llama2", bos_token="", eos_token="")
    assert jinja.render(messages(2)) == "[INST] Q [/INST]A<|endoftext|>"


def thoughts(**options: Any) -> tuple[str, str]:
    """What a qwen3 training makes of an old answer with a thought and a new one without, and of the next prompt."""
    turns = messages(4)
    turns[1]["content"] = "<think>\nhm\n</think>\n\nA"
    jinja = from_options(template="qwen3", **options)
    texts = jinja.render(turns), jinja.render([*turns, {"role": "user", "content": "Q"}])
    user = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    assert texts[1].endswith(user.format("Q")) or texts[1].endswith(user.format("Q") + EMPTY)
    for letter in "QR":
        texts = texts[0].replace(user.format(letter), "|"), texts[1].rpartition("<|im_start|>assistant\n")[2]
    return texts[0].replace("<|im_end|>\n", "."), texts[1]


def test_thoughts_of_a_supervised_training() -> None:
    filled, bare = f"|{EMPTY}A.|{EMPTY}B.", f"|A.|{EMPTY}B."
    assert thoughts() == (filled, "")
    assert thoughts(enable_thinking=True) == (filled, "")
    assert thoughts(enable_thinking=None) == (filled, EMPTY)
    assert thoughts(enable_thinking=False) == (filled, EMPTY)
    assert thoughts(mask_history=True) == (bare, "")
    assert thoughts(mask_history=True, enable_thinking=False) == (bare, EMPTY)
    assert thoughts(mask_history=True, preserve_thinking=True) == (filled, "")


@pytest.mark.parametrize("preserve", [True, False])
def test_thoughts_of_other_trainings(preserve: bool) -> None:
    assert thoughts(stage="dpo", preserve_thinking=preserve) == (f"|A.|{EMPTY}B.", "")


@pytest.mark.parametrize(
    ("options", "last", "old"),
    [
        ({}, "\n\nB", "\n\nA"),
        ({"enable_thinking": False}, "B", "A"),
        ({"mask_history": True}, "\n\nB", "A"),
        ({"stage": "dpo", "enable_thinking": False, "preserve_thinking": True}, "B", "\n\nA"),
    ],
)
def test_line_feeds_in_front_go_where_training_took_thoughts_out(options: Any, last: str, old: str) -> None:
    turns = [{**turn, "content": "\n\n" * (turn["role"] == "assistant") + turn["content"]} for turn in messages(4)]
    text = from_options(template="qwen3", **options).render(turns, add_generation_prompt=False)
    assert text.endswith(f"{EMPTY}{last}<|im_end|>\n")
    assert f"{old}<|im_end|>\n<|im_start|>user\nR" in text
    assert ("\n\nA" in text.replace(EMPTY, "|")) == old.startswith("\n")


def test_a_request_may_forgo_the_thought() -> None:
    jinja = trained_jinja("qwen3", **TOKENS)
    assert jinja.render(messages(1), enable_thinking=False) == jinja.render(messages(1)) + EMPTY
    assert jinja.render(messages(1), enable_thinking=True) == jinja.render(messages(1))


def test_a_format_without_thoughts_knows_none() -> None:
    plain, told = (trained_jinja("smollm2", **TOKENS, enable_thinking=told).source for told in (None, False))
    assert plain == told
    assert "think" not in plain


def test_options_of_a_training() -> None:
    assert from_training({}, **TOKENS) is None
    assert from_training({"template": None, "dataset": "x"}, **TOKENS) is None
    assert from_training({"template": "qwen", "stage": "pt"}, **TOKENS) is None
    told = from_options(template="vicuna", default_system="S", enable_thinking=False, lora_rank=8)
    assert told.render(messages(1)) == "SUSER: Q ASSISTANT:"


WEATHER = {"type": "function", "function": {"name": "weather", "description": "天气", "parameters": {}}}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "北京"}}}
CALLED = [
    {"role": "user", "content": "Rain?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL, CALL]},
    {"role": "tool", "content": "dry"},
    {"role": "tool", "content": "wet"},
]


def test_tools() -> None:
    text = trained_jinja("qwen", **TOKENS, default_system="S").render(CALLED, tools=[WEATHER])
    listed = '{"type": "function", "function": {"name": "weather", "description": "天气", "parameters": {}}}'
    call = '<tool_call>\n{"name": "weather", "arguments": {"city": "北京"}}\n</tool_call>'
    assert text.startswith("<|im_start|>system\nS\n\n# Tools\n\n")
    assert f"<tools>\n{listed}\n</tools>" in text
    assert f"assistant\n{call}\n{call}<|im_end|>\n" in text
    results = "<tool_response>\ndry\n</tool_response>\n<tool_response>\nwet\n</tool_response>"
    assert text.endswith(f"<|im_start|>user\n{results}<|im_end|>\n<|im_start|>assistant\n")


def test_tools_of_a_format_that_tells_of_them_in_another_way() -> None:
    jinja = trained_jinja("smollm2", **TOKENS)
    assert "tool" not in jinja.source
    assert jinja.render(messages(1), tools=[WEATHER]) == jinja.render(messages(1))


@pytest.mark.parametrize("name", ["qwen3", "mistral"])
def test_tools_are_compiled(name: str) -> None:
    proof = best_template(trained_jinja(name, **TOKENS), add_bos=True, bos_token="<s>", families=())
    assert proof.proven
    assert "tools" in proof.capabilities
    assert proof.classes["tools called and answered"].holds


def test_spaces_of_a_sentencepiece_tokenizer() -> None:
    """Slots are encoded one by one, each behind a space; behind a special token the server puts it itself."""
    spaced: Any = {**TOKENS, "space_prefix": True, "special_tokens": ("<|im_start|>", "<|im_end|>")}
    turns = "USER: Q ASSISTANT: A</s>USER: R ASSISTANT:"
    assert trained_jinja("vicuna", **spaced).render(messages(3)) == f"{VICUNA} {turns}"
    assert trained_jinja("vicuna", **spaced, default_system="").render(messages(1)) == "USER: Q ASSISTANT:"
    assert trained_jinja("mistral", **spaced).render(messages(2)) == "<s>[INST] Q[/INST] A</s>"
    chatml = "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n A<|im_end|>\n<|im_start|>user\n"
    assert trained_jinja("yi", **spaced).render(messages(3)).startswith(chatml)
    unknown = trained_jinja("yi", **{**spaced, "special_tokens": ()}).render(messages(3))
    assert unknown.startswith(chatml.replace("\n<|im_start|>user\n", "\n <|im_start|>user\n")[: len(chatml)])


def test_stops() -> None:
    assert trained_stops("vicuna", eos_token="</s>") == ("</s>",)
    assert trained_stops("qwen3", eos_token="<|endoftext|>") == ("<|im_end|>",)
    assert trained_stops("glm4", eos_token="<|endoftext|>") == ("<|endoftext|>", "<|user|>", "<|observation|>")
    assert trained_stops("deepseekcoder", eos_token="</s>") == ("</s>", "<|EOT|>")
    assert trained_stops("yi_vl", eos_token="</s>") == ("</s>",)


def test_no_stop_stands_in_an_answer() -> None:
    for name, form in formats().items():
        thought = "".join(form.thought_words) if form.is_reasoning else ""
        stops = trained_stops(name, eos_token="<eos>")
        assert stops, name
        assert not [stop for stop in stops if stop in thought], name


@pytest.mark.parametrize("name", ["vicuna", "default", "alpaca", "glm4", "gpt_oss"])
def test_a_template_for_ollama_is_proven(name: str) -> None:
    """A sample; tests_proof has them all."""
    proof = best_template(trained_jinja(name, **TOKENS), add_bos=True, bos_token="<s>", families=())
    assert proof.proven, proof.classes


def test_one_full_stop_is_a_mismatch() -> None:
    own = JinjaTemplate(source("smollm2"), bos_token="<|im_start|>", eos_token="<|im_end|>")
    tokens: Any = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    found = mismatch(trained_jinja("smollm2", **tokens), own)
    assert found is not None
    assert found.is_serious
    assert found.conversation.kind == "user"
    assert "\n-You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n" in found.diff
    assert "\n+You are a helpful AI assistant named SmolLM, trained by Hugging Face.<|im_end|>\n" in found.diff
    assert "user" in found.summary
    told = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    left = mismatch(trained_jinja("smollm2", **tokens, default_system=told), own)
    assert left is not None
    assert not left.is_serious
    assert left.trained is not None
    assert left.own is not None


def test_the_empty_thought_is_a_mismatch() -> None:
    own = JinjaTemplate(source("qwen3"), eos_token="<|im_end|>")
    tokens: Any = {"bos_token": "", "eos_token": "<|im_end|>"}
    kept = mismatch(trained_jinja("qwen3", **tokens), own)
    assert kept is not None
    assert "user" not in kept.kinds
    assert "turns" in kept.kinds
    closed = mismatch(trained_jinja("qwen3", **tokens, enable_thinking=False), own)
    assert closed is not None
    assert closed.conversation.kind == "user"
    bare = mismatch(trained_jinja("qwen3", **tokens, mask_history=True), own)
    assert bare is None or not bare.is_serious


def test_a_template_is_no_mismatch_of_itself_and_a_bos_does_not_count() -> None:
    jinja = trained_jinja("cohere", **TOKENS)
    assert mismatch(jinja, jinja) is None
    assert mismatch(jinja, trained_jinja("cohere", bos_token="", eos_token="</s>")) is None


def test_a_template_that_refuses_what_was_trained() -> None:
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    jinja = trained_jinja("cohere", **TOKENS)
    own = JinjaTemplate(refusing + jinja.source, **TOKENS)
    found = mismatch(jinja, own)
    assert found is not None
    assert found.own is None
    assert found.conversation.kind == "system"
    assert "refuses what was trained" in found.summary
    other = mismatch(own, jinja)
    assert other is not None
    assert other.trained is None
    assert "training refuses" in other.summary


def test_all_formats_render() -> None:
    assert len(names()) == len(formats()) == 121
    for name in names():
        texts = ("Be brief.", "question 1", "answer 1", "question 2")
        turns = zip(("system", "user", "assistant", "user"), texts, strict=True)
        prompt = trained_jinja(name, **TOKENS).render([{"role": role, "content": text} for role, text in turns])
        places = [prompt.index(text) for text in texts]
        assert places == sorted(places), name


@pytest.mark.bad_input("a template that LLaMA-Factory does not have")
@pytest.mark.parametrize(("name", "hint"), [("qwen_3", "near ones: qwen3"), ("海螺", "known: aeva, alpaca")])
def test_unknown_names(name: str, hint: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        trained_jinja(name, **TOKENS)
    assert caught.value.code == "not-found"
    assert repr(name) in caught.value.message
    assert (caught.value.hint or "").startswith(hint)


@pytest.mark.bad_input("a conversation in an order that training never sees")
@pytest.mark.parametrize(
    ("name", "roles"),
    [
        ("qwen", "assistant"),
        ("qwen", "user user"),
        ("qwen", "user system user"),
        ("qwen", "user tool"),
        ("vicuna", "user assistant tool"),
    ],
)
def test_another_order_is_refused(name: str, roles: str) -> None:
    turns = [{"role": role, "content": "x"} for role in roles.split()]
    with pytest.raises(TemplateRefusedError) as caught:
        trained_jinja(name, **TOKENS).render(turns)
    assert caught.value.code == "template-refused"
    assert "take turns" in caught.value.message
