"""Templates compiled and proven: the models' own, made-up ones, and no false proof on conversations not proven with.

The models' own on such conversations: test_compiled_in_go.py.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache

import pytest

from conch_ollama.chat_template.compiler.compile import compile_template
from conch_ollama.chat_template.compiler.go_trims import write_trim
from conch_ollama.chat_template.compiler.model import Compiled, NotExpressible
from conch_ollama.chat_template.compiler.trims import SPACE, Trim, candidates
from conch_ollama.chat_template.compiler.writer import Writer
from conch_ollama.chat_template.conversations import EDGES, ODD, PLAIN, THOUGHTS
from conch_ollama.chat_template.go.template import GoTemplate
from conch_ollama.chat_template.go.values import Map
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.prove import best_template
from conch_ollama.chat_template.verdicts import Proof
from conch_ollama.errors import BadTemplateError
from tests.chat_template.larger_corpus import first_difference, larger
from tests.chat_template.references import MOMENT, index
from tests.chat_template.synthetic import synthetic
from tests.parts.long import shortened

#: Of the models' own templates: not compiled to a proof, and why. All others are.
UNPROVEN = {
    "llama3.2": "date",
    "llama3-dated": "date",
    "granite-3.3": "date",
    "gpt-oss": "date",
    "apertus": "date",
}


@cache
def proof(name: str) -> Proof:
    reference = index()[name]
    return best_template(reference.template(), add_bos=reference.add_bos, bos_token=reference.bos_token, families=())


#: A family of each kind; the others take their time.
QUICK = (
    "smollm2",
    "chatml",
    "llama3",
    "qwen2.5",
    "gemma2",
    "mistral-7b-v0.3",
    "phi-3.5",
    "zephyr",
    "granite-3.3",
    "command-r",
)


@pytest.mark.parametrize("name", shortened(index(), QUICK))
def test_models_own_templates_are_compiled_and_proven(name: str) -> None:
    found = proof(name)
    assert found.strategy == "compiled"
    assert found.proven == (name not in UNPROVEN), {kind: one.diff for kind, one in found.classes.items()}
    assert found.reason.startswith(UNPROVEN.get(name, ""))
    if found.proven:
        assert all(found.classes[kind].holds for kind in PLAIN)
        assert found.stops


@pytest.mark.bad_input("a date in a default system text, to be proven")
@pytest.mark.parametrize("name", [name for name, why in UNPROVEN.items() if why == "date"])
def test_a_date_is_frozen_and_never_proven(name: str) -> None:
    found = proof(name)
    assert (found.proven, found.reason) == (False, "date")
    assert all(one.holds for kind, one in found.classes.items() if kind in PLAIN)
    assert str(datetime.now().year) in found.template


def test_what_is_learnt_is_said() -> None:
    assert "You are a helpful" in (proof("smollm2").system_default or "")
    assert proof("smollm2").features["default system"] == proof("smollm2").system_default
    assert proof("llama2").features["system"].startswith("inside a question")
    assert proof("gemma2").features["system"] == "refused"
    assert proof("llama3").features["user"] == "white space at both ends goes"
    assert "<|eot_id|>" in proof("llama3").stops


def test_ollama_finds_the_tags_of_a_thought_and_history_loses_it() -> None:
    for name in ("qwen3", "deepseek-r1-distill", "qwq"):
        assert "thinking" in proof(name).capabilities
        assert proof(name).classes["thinking in history"].holds
    assert proof("llama3").capabilities == frozenset()


def test_made_up_templates_are_proven_and_truly() -> None:
    """The first of the seeds."""
    proven = 0
    for seed in range(4):
        made = synthetic(seed)
        jinja = made.template()
        found = best_template(jinja, add_bos=made.add_bos, bos_token=made.bos, families=())
        proven += found.proven
        if found.proven:
            wrong = first_difference(jinja, found.template, add_bos=made.add_bos, bos=made.bos, corpus=larger(count=20))
            assert wrong is None, (seed, made.habits, wrong)
    assert proven == 4


#: Cuts at tags that are hard to search for: the end comes twice, longer characters, a quote.
TAGS = ("[/MUSED]", "|x||", "◈fin◈", "it's\\")
TRIMS = (*candidates()[:60:3], *candidates()[60::9], *candidates(TAGS)[10::97])


@pytest.mark.parametrize("trim", [trim for trim in TRIMS if not trim.is_identity], ids=lambda trim: trim.words)
def test_trimming_in_go_is_trimming_in_python(trim: Trim) -> None:
    out = Writer()
    out.code("$text := .text")
    write_trim(out, "$text", trim)
    out.value("$text")
    template = GoTemplate(out.finished())
    joined = [f"{one}</think>{other}" for one in EDGES for other in EDGES]
    joined += [text for tag in TAGS for text in (f"{tag}{tag}a", f"a{tag[:-1]}{tag} b \n{tag[:2]}")]
    joined += [f" {one} x {tag} {two} y " for tag in TAGS for one in TAGS for two in TAGS]
    for text in (*ODD, *EDGES, *THOUGHTS, *joined, "</think></think>a", "</thin</think>k>", "é\xa0\u0301"):
        assert template.execute(Map({b"text": text.encode()})).decode() == trim(text), repr(text)


def test_white_space_is_pythons() -> None:
    every = "".join(map(chr, range(0x110000)))
    assert {char for char in every if char.isspace()} == set(SPACE)


@pytest.mark.parametrize(
    ("source", "construct"),
    [
        ("{% for m in messages | reverse %}{{ m.content }}|{% endfor %}", "dropped, repeated or moved"),
        ("{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}", "dropped, repeated or moved"),
        ("{% for m in messages %}{{ m.content | length }}{% endfor %}", "not printed"),
        ("{% for m in messages %}{{ m.content | replace('a', 'b') }}{% endfor %}", "a change to the system's text"),
        (
            "{% for m in messages %}[{{ loop.revindex }}]{{ m.content }}{% endfor %}",
            "depends on how many turns there are",
        ),
    ],
)
@pytest.mark.bad_input("a chat template that a TEMPLATE can't say")
def test_what_cannot_be_said_is_said(source: str, construct: str) -> None:
    found = compile_template(JinjaTemplate(source), add_bos=False, bos_token="")
    assert isinstance(found, NotExpressible), found
    assert construct in found.construct
    assert found.limit
    proof = best_template(JinjaTemplate(source), add_bos=False, bos_token="", families=())
    assert (proof.proven, proof.template, proof.reason) == (False, "", found.summary)


@pytest.mark.bad_input("a chat template that refuses every question, to be compiled")
def test_a_jinja_that_refuses_everything() -> None:
    with pytest.raises(BadTemplateError) as caught:
        compile_template(JinjaTemplate("{{ raise_exception('no') }}"), add_bos=False, bos_token="")
    assert caught.value.code == "bad-template"


def test_braces_quotes_and_invisible_characters_of_a_template_survive() -> None:
    marks = ['{{"', '"""\n', "{", "\u3000\u200d", "\r\n", "-}}", "  "]
    for mark in marks:
        source = "{% for m in messages %}{{ " + repr(mark) + " + m.content + " + repr(mark) + " }}{% endfor %}"
        jinja = JinjaTemplate(source).at(MOMENT)
        found = compile_template(jinja, add_bos=False, bos_token="")
        assert isinstance(found, Compiled)
        assert not first_difference(jinja, found.template, add_bos=False, bos="", corpus=larger(count=10))
        assert "\u3000" not in found.template
