"""What llama.cpp makes of chat templates, asked of llama.cpp itself, and what is offered where it differs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from conch_ollama.chat_template.conversations import PLAIN, conversation
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.errors import BadTemplateError, RuntimeFailedError
from conch_ollama.workflows.chat_format import read_chat_format
from conch_ollama.workflows.engines import engine_verdicts
from conch_ollama.workflows.template_carrier import TEMPLATE_KEY, write_carrier
from conch_ollama.workflows.template_engine import TemplateEngine
from tests.chat_template.references import source

BOS, EOS = "<s>", "</s>"
CHATML = source("chatml")
NAMED = """{{ bos_token }}{% for message in messages %}
{{ message['role'].upper() + ': ' + message['content'] + '\n' }}{% endfor %}
{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"""


def verdict(template: str, **options: Any) -> Mapping[str, Any]:
    jinja = JinjaTemplate(template, bos_token=BOS, eos_token=EOS)
    found: Mapping[str, Any] = engine_verdicts(jinja, **options)["llama.cpp"]
    return found


def test_a_template_that_llama_cpp_renders_alike_is_proven_and_needs_no_other_words() -> None:
    found = verdict(CHATML)
    assert found["proven"] is True
    assert set(PLAIN) <= set(found["classes"])
    assert {one["verdict"] for one in found["classes"].values()} == {"equal"}
    assert found["corrected"] is None
    assert found["reason"] == ""
    assert found["version"].startswith("xllamacpp ")
    assert found["prefill_by_server"]["verdict"] == "equal"


def test_white_space_that_is_no_ascii_is_found_and_mended() -> None:
    found = verdict(source("gemma2"))
    assert found["proven"] is False
    assert found["reason"] == "differs in blank and odd contents"
    one = found["classes"]["blank and odd contents"]
    assert one["verdict"] == "differs"
    assert "\u3000" in one["diff"]
    assert {kind: one["verdict"] for kind, one in found["corrected_classes"].items()}["user"] == "equal"
    mended = verdict(found["corrected"])
    assert mended["proven"] is True
    assert mended["corrected"] is None


def test_a_system_text_that_the_template_drops_is_merged_by_llama_cpp_and_not_by_what_is_offered() -> None:
    found = verdict(source("phi-3-first"), correct=False)
    assert "+You are a magic conch." in found["classes"]["system"]["diff"]
    assert found["corrected"] is None  # not asked for
    offered = verdict(source("phi-3-first"))["corrected"]
    assert offered is not None
    with TemplateEngine({TEMPLATE_KEY: offered}, bos_token=BOS, eos_token=EOS) as engine:
        assert "Brief" not in engine.render(conversation("", ("s", "Brief"), ("u", "Hi")))


@pytest.mark.bad_input("a chat template that llama.cpp does not load")
def test_a_template_that_llama_cpp_does_not_load_is_said_and_mended() -> None:
    found = verdict(source("internlm2"))
    assert found["proven"] is False
    assert found["reason"] == 'llama.cpp does not load the template: Unknown operator "%" between String and Tuple'
    assert found["classes"] == {}
    assert found["changes"] == ["texts are joined without %"]
    with TemplateEngine({TEMPLATE_KEY: found["corrected"]}, bos_token=BOS, eos_token=EOS) as engine:
        assert "<|im_start|>user\nHi<|im_end|>" in engine.render(conversation("", ("u", "Hi")))


def test_what_other_words_can_not_mend_is_written_anew() -> None:
    template = NAMED.replace("{{ bos_token }}", "{{ bos_token }}{{ 4 // 2 }}")
    found = verdict(template)
    assert found["proven"] is False
    assert found["changes"][0] == "written anew, without tools"
    assert "//" not in found["corrected"]
    with TemplateEngine({TEMPLATE_KEY: found["corrected"]}, bos_token=BOS, eos_token=EOS) as engine:
        assert engine.render(conversation("", ("u", "Hi"))) == f"{BOS}2USER: Hi\nASSISTANT:"


def test_the_template_of_a_file_is_held_against_the_models_own(tmp_path: Path) -> None:
    path = write_carrier(tmp_path / "海螺 a.gguf", {TEMPLATE_KEY: NAMED}, bos_token=BOS, eos_token=EOS)
    held = read_chat_format(path).templates
    assert verdict(NAMED, templates=held)["proven"] is True
    other = verdict(CHATML, templates=held, correct=False)
    assert other["proven"] is False
    assert "+USER: What is the capital of France?" in other["classes"]["user"]["diff"]


@pytest.mark.parametrize(
    ("bos", "eos"), [("<｜begin▁of▁sentence｜>", "<|end|>"), ("", ""), (EOS, EOS), ("", "x"), ("\n", "é")]
)
def test_the_template_sees_the_tokens_as_they_are(bos: str, eos: str) -> None:
    shown = "[{{ bos_token }}|{{ eos_token }}]{{ messages[0].content }}"
    with TemplateEngine({TEMPLATE_KEY: shown}, bos_token=bos, eos_token=eos) as engine:
        assert engine.render(conversation("", ("u", "Hi 你"))) == f"[{bos}|{eos}]Hi 你"


@pytest.mark.bad_input("a chat template that fails on every question")
def test_a_template_that_transformers_can_not_render_never_reaches_llama_cpp() -> None:
    with pytest.raises(BadTemplateError, match="undefined"):
        verdict("{{ nothing.at.all }}")


@pytest.mark.bad_input("a chat template without end, which only llama.cpp gets to see")
def test_a_template_without_end_is_ended() -> None:
    loops = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"
    endless = "{% if datetime is defined %}" + loops + "{% endif %}"
    with pytest.raises(RuntimeFailedError, match="does not load the template"):
        TemplateEngine({TEMPLATE_KEY: endless}, bos_token=BOS, eos_token=EOS, patience=1.0)


@pytest.mark.bad_input("a chat template that ends llama.cpp itself")
def test_a_template_that_ends_llama_cpp_is_a_verdict() -> None:
    deep = "{% macro f(x) %}{{ f(x) }}{% endmacro %}{% if datetime is defined %}{{ f(1) }}{% endif %}" + CHATML
    found = verdict(deep, correct=False)
    assert found["proven"] is False
    assert found["reason"].startswith("llama.cpp ")


def test_an_answer_that_llama_cpp_continues_by_itself_is_told_apart_from_what_the_template_would_do() -> None:
    found = verdict(source("llama3"), correct=False)
    assert found["classes"]["prefill"]["verdict"] == "equal"
    assert found["prefill_by_server"]["verdict"] == "differs"  # white space at the end stays: the template never saw it
