"""Hostile templates end soon and in a clear error: each in a process of its own limits, killed if it does not answer.

Soon is 2 seconds of the processor; how long that takes on a busy machine is not the template's doing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as LateError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conch_ollama.chat_template.case import WORK
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.jinja_limits import UNITS_PER_RENDERING, UNITS_TO_BEGIN, Purse
from conch_ollama.chat_template.prove import best_template
from conch_ollama.errors import BadTemplateError
from tests.chat_template.hostile import GO, JINJA
from tests.chat_template.references import index
from tests.parts.long import shortened

SECONDS = 2.0
PATIENCE = 20.0


class Worker:
    """The process that renders; a new one after one that had to be killed."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(1)
        self._process: subprocess.Popen[bytes] | None = None

    def answer(self, side: str, source: str) -> dict[str, Any]:
        try:
            return self._threads.submit(self._ask, json.dumps([side, source])).result(PATIENCE)
        except LateError:
            self.close()
            pytest.fail(f"no answer in {PATIENCE} s: {source[:100]}")

    def _ask(self, line: str) -> dict[str, Any]:
        if self._process is None:
            command = [sys.executable, "-m", "tests.chat_template.hostile_worker"]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], env=_untraced()
            )
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(line.encode() + b"\n")
        stdin.flush()
        answer = stdout.readline()
        if not answer:
            died, self._process = self._process.wait(), None
            raise AssertionError(f"the process died with {died}")
        found: dict[str, Any] = json.loads(answer)
        return found

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


def _untraced() -> dict[str, str]:
    """The environment without what lets coverage measure child processes: tracing takes more time than rendering."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.close()


@pytest.mark.bad_input("a hostile Jinja template")
@pytest.mark.parametrize("name", shortened(JINJA, list(JINJA)[::3]))
def test_jinja(worker: Worker, name: str) -> None:
    source, word = JINJA[name]
    _check(
        worker.answer("Jinja", source), word, refused=name in ("a cycle that grows", "a namespace that holds itself")
    )


@pytest.mark.bad_input("a hostile Go template")
@pytest.mark.parametrize("name", shortened(GO, list(GO)[::3]))
def test_go(worker: Worker, name: str) -> None:
    source, word = GO[name]
    _check(worker.answer("Go", source), word)


def _check(answer: dict[str, Any], word: str, *, refused: bool = False) -> None:
    assert answer["code"] == ("template-refused" if refused or word == "refuses" else "bad-template"), answer
    assert word in answer["message"]
    assert len(answer["message"]) < 2000
    assert answer["seconds"] < SECONDS


_VALUES = ("x", "'ab'", "n.x", "i", "[x]", "{'k': x}", "(x, x)", "99999", "range(9999)", "messages", "-1", "1.5")
_OPERATORS = ("+", "*", "**", "%", "~", "==", "in", "//")
_CALLS = (
    *("|list", "|join('ab')", "|string", "|upper", "|replace('a', 'aaaa')", "|center(9999)", "|sort", "|tojson"),
    *("|batch(99)|list", "|map('string')|list", "|sum", "|indent(999)", "|format(99)", "|length", "|int", "|round"),
    *(
        ".split('a')",
        ".join('abc')",
        ".replace('', 'xx')",
        ".format(99999)",
        "[::-1]",
        "[1:]",
        "|unique|list",
        "|reverse",
    ),
)


@st.composite
def _sources(draw: st.DrawFn) -> str:
    """A few loops inside one another around statements that let a value grow."""
    value = draw(st.sampled_from(_VALUES))
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            value = f"({value} {draw(st.sampled_from(_OPERATORS))} {draw(st.sampled_from(_VALUES))})"
        else:
            value = f"({value}){draw(st.sampled_from(_CALLS))}"
    kind = draw(st.sampled_from(("{{% set n.x = {0} %}}", "{{{{ {0} }}}}", "{{% set x %}}{{{{ {0} }}}}{{% endset %}}")))
    depth = draw(st.integers(1, 4))
    loops = "".join(f"{{% for i in {draw(st.sampled_from(_VALUES))} %}}" for _ in range(depth))
    start = "{% set x = 'abc' %}{% set n = namespace(x='abc') %}"
    return start + loops + kind.format(value) + "{% endfor %}" * depth


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(source=_sources())
def test_whatever_grows_ends(worker: Worker, source: str) -> None:
    answer = worker.answer("Jinja", source)
    assert answer["code"] in ("", "bad-template"), answer
    assert answer["seconds"] < SECONDS, source


def test_the_models_own_templates_are_far_from_the_bounds() -> None:
    """A conversation of 300 turns, and one with a text of a million characters."""
    turns = [{"role": role, "content": f"text {n}"} for n in range(150) for role in ("user", "assistant")]
    for name in index():
        template = index()[name].template()
        assert "text 149" in template.render(turns[:-1])
        assert len(template.render([{"role": "user", "content": "海螺 " * 333_333}])) > 900_000


@pytest.mark.bad_input("a Jinja template that is a value too large only for a short conversation")
def test_a_long_conversation_is_given_more() -> None:
    template = JinjaTemplate("{{ messages[0].content * 2 }}")
    assert len(template.render([{"role": "user", "content": "a" * 5_000_000}])) == 10_000_000
    with pytest.raises(BadTemplateError) as caught:
        JinjaTemplate("{{ 'a' * 5_000_000 }}").render([{"role": "user", "content": ""}])
    assert caught.value.code == "bad-template"
    assert "5000000 characters" in caught.value.message


@pytest.mark.bad_input("a Jinja template without an end only where it is asked for long enough")
@pytest.mark.parametrize(
    "condition",
    ["messages[0].role == 'system'", "messages | length > 2", "messages[-1].role == 'assistant'", "enable_thinking"],
)
def test_a_proof_ends_too(worker: Worker, condition: str) -> None:
    """Not only one rendering of it: the thousands that a proof takes."""
    loop = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"
    source = "{% if " + condition + " %}" + loop + "{% endif %}{% for m in messages %}<{{ m.content }}>{% endfor %}"
    _check(worker.answer("proof", source), "does too much")


@pytest.mark.bad_input("a Jinja template that is slow for every conversation")
@pytest.mark.parametrize(
    "work",
    [
        "{% for i in range(9999) %}{% endfor %}",
        "{% for i in range(900) %}{% for k in range(900) %}{% endfor %}{% endfor %}",
        "{% for i in range(300) %}{% set x = (messages | tojson * 9) | replace('e', 'ee') | upper %}{% endfor %}",
        "{% for i in range(100) %}{% set x = range(2000) | map('string') | sort | join %}{% endfor %}",
    ],
    ids=["a loop", "loops in one another", "long texts", "lists"],
)
def test_a_slow_template_is_not_asked_for_ever(worker: Worker, work: str) -> None:
    source = work + "{% for m in messages %}<{{ m.content }}>{% endfor %}"
    _check(worker.answer("proof", source), "does too much")


@pytest.mark.parametrize("name", shortened(index(), ("minicpm5", "apertus")))
def test_the_proofs_of_the_models_own_templates_have_room(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty parts of a hundred at least, and on average they need less than half of what a rendering may."""
    purse = proof_work(index()[name].template(), index()[name].bos_token, monkeypatch)
    assert purse.renderings > 400
    assert 1.3 * purse.spent < WORK
    assert 2 * purse.spent < UNITS_PER_RENDERING * purse.renderings


@pytest.mark.parametrize(
    ("paid", "empty"),
    [
        ([UNITS_TO_BEGIN + UNITS_PER_RENDERING], False),
        ([UNITS_TO_BEGIN + UNITS_PER_RENDERING + 1], True),  # the first of a slow template
        ([UNITS_TO_BEGIN, 2 * UNITS_PER_RENDERING], False),
        ([UNITS_TO_BEGIN, 2 * UNITS_PER_RENDERING + 1], True),  # too much on average
        ([UNITS_TO_BEGIN, 0, 0, 0, 4 * UNITS_PER_RENDERING], False),
        ([UNITS_TO_BEGIN, 0, 0, 0, 4 * UNITS_PER_RENDERING, 1], True),  # all of it
    ],
)
def test_what_renderings_may_spend_together(paid: list[int], empty: bool) -> None:
    purse = Purse(UNITS_TO_BEGIN + 4 * UNITS_PER_RENDERING)
    for units in paid:
        purse.pay(units)
    assert purse.is_empty == empty


def proof_work(jinja: JinjaTemplate, bos_token: str, monkeypatch: pytest.MonkeyPatch) -> Purse:
    """What the renderings of a whole proof spent."""
    purses: list[Purse] = []
    within = JinjaTemplate.within

    def watched(template: JinjaTemplate, units: int) -> JinjaTemplate:
        metered = within(template, units)
        assert metered._purse is not None
        purses.append(metered._purse)
        return metered

    monkeypatch.setattr(JinjaTemplate, "within", watched)
    best_template(jinja, add_bos=bool(bos_token), bos_token=bos_token)
    (purse,) = purses
    return purse
