"""Made-up templates by the score: nearly all proven, and no proof false on conversations that the prover never saw."""

from __future__ import annotations

from conch_ollama.chat_template.prove import best_template
from tests.chat_template.larger_corpus import first_difference, larger
from tests.chat_template.synthetic import synthetic

SEEDS = range(100, 150)


def test_made_up_templates_are_proven_and_truly() -> None:
    proven = 0
    for seed in SEEDS:
        made = synthetic(seed)
        jinja = made.template()
        found = best_template(jinja, add_bos=made.add_bos, bos_token=made.bos, families=())
        proven += found.proven
        if found.proven:
            corpus = larger(count=40)
            wrong = first_difference(jinja, found.template, add_bos=made.add_bos, bos=made.bos, corpus=corpus)
            assert wrong is None, (seed, made.habits, wrong)
    assert proven >= 0.95 * len(SEEDS)
