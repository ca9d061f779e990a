from __future__ import annotations

import pytest
from hypothesis import given

from conch_ollama.errors import BadTemplateError
from conch_ollama.ollama.grammar import quoted
from conch_ollama.ollama.template_text import escape_template, split
from tests.ollama.strategies import templates


@pytest.mark.parametrize(
    ("template", "escaped"),
    [
        ("plain {{ .Prompt }}", "plain {{ .Prompt }}"),
        ("a\u00a0b", 'a{{ "\\u00a0" }}b'),
        ("\u3000\u200d", '{{ "\\u3000\\u200d" }}'),
        ("👨\u200d👩", '👨{{ "\\u200d" }}👩'),
        ("\U000e0001", '{{ "\\U000e0001" }}'),
        ('{{ "a\u00a0}}" }}', '{{ "a\\u00a0}}" }}'),
        ("{{ `raw\u00a0\\n` }}", '{{ "raw\\u00a0\\\\n" }}'),
        ("{{ `fine` }}\u00ad", '{{ `fine` }}{{ "\\u00ad" }}'),
        ('x"""\ny', 'x""{{ "\\"" }}\ny'),
        ('x""" y', 'x""" y'),
        ('{{ `"""\n` }}', '{{ "\\"\\"\\"\\n" }}'),
        ("{{/* note\u00a0}} */}}x", "{{/* note}} */}}x"),
        ("{{- /* a\u00ad */ -}}", "{{- /* a */ -}}"),
    ],
)
def test_escapes(template: str, escaped: str) -> None:
    assert escape_template(template) == escaped


@given(templates)
def test_escaped_templates_can_be_written_and_are_stable(template: str) -> None:
    escaped = escape_template(template)
    assert quoted(escaped) is not None
    assert escape_template(escaped) == escaped


@given(templates)
def test_splitting_loses_nothing(template: str) -> None:
    assert "".join(piece for piece, _ in split(template)) == template


@pytest.mark.bad_input("TEMPLATE: a no-break space in an action")
def test_an_unprintable_rune_in_an_action() -> None:
    with pytest.raises(BadTemplateError) as caught:
        escape_template("{{ if\u00a0.System }}x{{ end }}")
    assert caught.value.code == "bad-template"
    assert "U+00A0" in caught.value.message


@pytest.mark.bad_input("TEMPLATE: an action without an end")
def test_an_action_that_never_ends() -> None:
    with pytest.raises(BadTemplateError) as caught:
        escape_template("\u00a0\n\n{{ .Prompt")
    assert caught.value.code == "bad-template"
    assert "line 3" in caught.value.message
