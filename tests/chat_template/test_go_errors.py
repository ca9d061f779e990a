"""What a Go template that is wrong, or that means harm, ends in: one BadTemplateError that says where."""

from __future__ import annotations

import pytest

from conch_ollama.chat_template.go.evaluator import Limits
from conch_ollama.chat_template.go.template import GoTemplate
from conch_ollama.chat_template.go.values import from_json
from conch_ollama.errors import BadTemplateError


def run(source: str, limits: Limits = Limits()) -> bytes:  # noqa: B008
    data = from_json({"S": "text", "L": [1, 2]})
    return GoTemplate(source).execute(data, limits)


@pytest.mark.bad_input("Go template: an action that is not closed")
def test_unclosed_action() -> None:
    with pytest.raises(BadTemplateError) as caught:
        run("one\n{{ .S")
    assert caught.value.code == "bad-template"
    assert caught.value.message == "Go template, line 2: unclosed action"


@pytest.mark.bad_input("Go template: an unknown function")
def test_unknown_function() -> None:
    with pytest.raises(BadTemplateError) as caught:
        run("one\n{{ trim .S }}")
    assert caught.value.code == "bad-template"
    assert "line 2" in caught.value.message
    assert "'trim' not defined" in caught.value.message


@pytest.mark.bad_input("Go template: a missing end")
def test_missing_end() -> None:
    with pytest.raises(BadTemplateError) as caught:
        run("{{ range .L }}x")
    assert "{{end}} is missing" in caught.value.message


@pytest.mark.bad_input("Go template: a field of a text")
def test_field_of_text() -> None:
    with pytest.raises(BadTemplateError) as caught:
        run("\n\n{{ .S.Role }}")
    assert "line 3" in caught.value.message
    assert "field Role in type string" in caught.value.message


@pytest.mark.bad_input("Go template: values of two types compared")
def test_incompatible_comparison() -> None:
    with pytest.raises(BadTemplateError) as caught:
        run('{{ if eq .L "a" }}{{ end }}{{ if eq 1 "a" }}{{ end }}')
    assert "compar" in caught.value.message


@pytest.mark.bad_input("Go template: endless recursion")
def test_recursion_ends() -> None:
    with pytest.raises(BadTemplateError) as caught:
        run('{{ define "t" }}{{ template "t" . }}{{ end }}{{ template "t" . }}')
    assert "templates inside one another" in caught.value.message


@pytest.mark.bad_input("Go template: nested too deeply")
def test_deep_nesting_ends() -> None:
    with pytest.raises(BadTemplateError) as caught:
        run("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}")
    assert "nest" in caught.value.message


@pytest.mark.bad_input("Go template: too many steps")
def test_long_loop_ends() -> None:
    with pytest.raises(BadTemplateError) as caught:
        run("{{ range 1000000000 }}{{ range 1000000000 }}{{ end }}{{ end }}", Limits(steps=1000))
    assert "1000 steps" in caught.value.message


@pytest.mark.bad_input("Go template: too much output")
def test_output_is_bounded() -> None:
    with pytest.raises(BadTemplateError) as caught:
        run("{{ range 1000 }}0123456789{{ end }}", Limits(output=500))
    assert "500 bytes" in caught.value.message


def test_a_chain_of_else_if_as_long_as_any_real_one_parses() -> None:
    chain = "{{ if false }}{{ else if false }}" + "{{ else if false }}" * 60 + "{{ else }}end{{ end }}"
    assert run(chain) == b"end"
