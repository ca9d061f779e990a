"""What all proofs of one model share, and the worst verdict of a class."""

from __future__ import annotations

from typing import Any

from conch_ollama.chat_template.case import references_of
from conch_ollama.chat_template.engines import references_for
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.prove import best_template, prove
from conch_ollama.chat_template.verdicts import DIFFERS, EQUAL, NOT_EXPRESSIBLE, REFUSED, ClassVerdict, by_class
from tests.chat_template.references import reference


class Counted(JinjaTemplate):
    """Counts its renderings, its copies' too."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.rendered: list[int] = []

    def render(self, *args: Any, **kwargs: Any) -> str:
        self.rendered.append(1)
        return super().render(*args, **kwargs)


def test_the_prompts_are_rendered_once_for_all_proofs_of_a_model() -> None:
    jinja = Counted(reference("chatml").source)
    shared = references_of(jinja)
    best = best_template(jinja, add_bos=False, bos_token="", references=shared)
    once = len(jinja.rendered)
    given = prove(jinja, best.template, add_bos=False, bos_token="", references=shared)
    assert len(jinja.rendered) - once < 10  # whether it writes the BOS, and messages as Ollama joins them
    assert given.classes == prove(reference("chatml"), best.template, add_bos=False, bos_token="").classes
    before = len(jinja.rendered)
    assert len(references_for(jinja, shared)) > len(shared.plain)
    assert len(jinja.rendered) - before < 30


def test_a_dated_template_has_its_clock_stopped_for_all_proofs() -> None:
    dated = JinjaTemplate("{{ strftime_now('%d.%m.%Y %f') }}{% for m in messages %}{{ m.content }}{% endfor %}")
    shared = references_of(dated)
    assert shared.dated
    question = [{"role": "user", "content": "Hi"}]
    assert shared.jinja.render(question) == shared.jinja.render(question)
    assert not references_of(reference("chatml")).dated


def test_the_worst_verdict_of_a_class_counts_and_a_diff_is_made_only_where_it_could_be_worse() -> None:
    made: list[str] = []

    def whole(verdict: str, diff: str = "") -> Any:
        def make() -> ClassVerdict:
            made.append(diff or verdict)
            return ClassVerdict(verdict, diff=diff)

        return make

    found = by_class(
        [
            ("user", REFUSED, whole(REFUSED)),
            ("user", EQUAL, whole(EQUAL)),
            ("turns", DIFFERS, whole(NOT_EXPRESSIBLE, "first")),
            ("turns", DIFFERS, whole(DIFFERS, "second")),
            ("turns", DIFFERS, whole(DIFFERS, "third")),
            ("user", REFUSED, whole(REFUSED, "milder")),
        ]
    )
    assert {kind: one.verdict for kind, one in found.items()} == {"user": EQUAL, "turns": DIFFERS}
    assert found["turns"].diff == "second"
    assert made == [REFUSED, EQUAL, "first", "second"]
