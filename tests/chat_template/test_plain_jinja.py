"""Other words for a chat template, and plain ones: transformers must not be able to tell them from the original."""

from __future__ import annotations

import pytest

from conch_ollama.chat_template.compare import References
from conch_ollama.chat_template.conversations import EDGES, ODD, SPACES
from conch_ollama.chat_template.engines import references_for
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.plain_jinja.candidates import candidates, is_same
from conch_ollama.chat_template.plain_jinja.rewrite import rewrite
from conch_ollama.chat_template.plain_jinja.text import quoted
from conch_ollama.chat_template.plain_jinja.writer import plain_jinjas
from tests.chat_template.references import source

REWRITTEN = {
    "{{ x['a'] | trim }}": "{{ strip_text(x['a']) }}",
    "{{ a + b.c(1)[2].strip() ~ 'x' }}": "{{ a + strip_text(b.c(1)[2]) ~ 'x' }}",
    "{{ (a or b)|trim|length }}": "{{ strip_text((a or b))|length }}",
    "{% set y = x.rstrip() %}": "{% set y = rstrip_text(x) %}",
    "{% if not m.content.lstrip() == {'a': {'b': 1}} %}{% endif %}": "{% if not lstrip_text(m.content) == "
    "{'a': {'b': 1}} %}{% endif %}",
    "{{ '%s\\n%s 5%%' % (m['role'], m['content']) }}": "{{ ('' ~ m['role'] ~ '\\n' ~ m['content'] ~ ' 5%') }}",
    "{{ '<%s>' % (a if b else c) + 'd' }}": "{{ ('<' ~ (a if b else c) ~ '>') + 'd' }}",
    "{{ f(tool['function'] | default(tool)) }}": "{{ f((tool['function'] if tool['function'] is defined else tool)) }}",
    "{{ '\\u4f60\\x41\\d\\n\\x27' }}": "{{ '你A\\\\d\\n\\'' }}",
    "X{% if a %}b{% endif %}": "{{- '' }}X{% if a %}b{% endif %}",
}
UNTOUCHED = (
    "{{ x.strip('\\n') }}{{ x | trim('a') }}{{ 5 % 2 }}{{ '%d' % x }}",
    "{% raw %}{{ x | trim }}{% endraw %}{# x | trim #}{{ 'x | trim' }} .strip()",
    "{{ x | default('a', true) }}{{ x | default(value='a') }}",
)


@pytest.mark.parametrize("text", REWRITTEN)
def test_what_is_taken_otherwise_is_said_in_other_words(text: str) -> None:
    found = rewrite(text)
    assert found.changes
    assert found.source.split("{%- endmacro %}\n")[-1] == REWRITTEN[text]


@pytest.mark.parametrize("text", UNTOUCHED)
def test_nothing_else_is_touched(text: str) -> None:
    assert rewrite(text).source == text
    assert rewrite(text).changes == ()


def test_the_macros_trim_as_python_does() -> None:
    for filter_, method in ((".strip()", str.strip), (".lstrip()", str.lstrip), (".rstrip()", str.rstrip)):
        jinja = JinjaTemplate(rewrite("{{ messages[0].content" + filter_ + " }}").source)
        for text in (*ODD, *EDGES, SPACES, f"{SPACES}x{SPACES}y{SPACES}", "  a\n"):
            assert jinja.render([{"role": "user", "content": text}]) == method(text)


def test_variables_that_llama_cpp_gives_count_as_not_given_there_and_only_there() -> None:
    jinja = JinjaTemplate(rewrite("{{ date_string if date_string is defined else 'the default' }}").source)
    question = [{"role": "user", "content": "Hi"}]
    assert jinja.render(question) == "the default"
    assert jinja.render(question, date_string="today") == "today"
    assert jinja.render(question, date_string="today", datetime="now") == "the default"


@pytest.mark.parametrize("name", ["llama2", "llama3.1", "internlm2", "phi-3-first", "minicpm5"])
def test_candidates_render_what_the_original_renders(name: str) -> None:
    jinja = JinjaTemplate(source(name), bos_token="<s>", eos_token="</s>")
    found = next(candidates(jinja, references_for(jinja)))
    assert found.source != jinja.source
    assert found.changes


@pytest.mark.parametrize("name", ["qwen3", "llama2", "gemma2", "phi-3", "deepseek-r1-distill", "granite-3.0"])
def test_plain_jinja_renders_what_the_original_renders(name: str) -> None:
    jinja = JinjaTemplate(source(name), bos_token="<s>", eos_token="</s>")
    known = References(jinja)
    assert any(is_same(jinja, found, known.plain) for found in plain_jinjas(jinja))


def test_a_template_that_is_another_is_found_out() -> None:
    jinja = JinjaTemplate(source("chatml"))
    known = References(jinja).plain
    assert is_same(jinja, source("chatml") + "{# the same #}", known)
    assert not is_same(jinja, source("chatml").replace("<|im_end|>", "<|im_end|> "), known)
    assert not is_same(jinja, source("chatml") + "{% if not add_generation_prompt %}x{% endif %}", known)


def test_a_date_that_stands_still_is_no_other_word_for_today() -> None:
    dated = "{{ strftime_now('%d %b %Y') }}{% for m in messages %}{{ m.role + m.content }}{% endfor %}"
    jinja = JinjaTemplate(dated)
    known = References(jinja).plain
    assert all(not is_same(jinja, found, known) for found in plain_jinjas(jinja))


@pytest.mark.parametrize("text", ["it's", "a\\b", "\n\t\r", "{{ x }}", '"', "你", "%}"])
def test_literal_texts_come_back(text: str) -> None:
    assert JinjaTemplate("{{ " + quoted(text) + " }}").render([]) == text
