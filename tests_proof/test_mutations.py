"""Mutations of every proven reference template, 40 positions a family and side: proofs go where the prompt changes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache

import pytest

from tests.chat_template.mutations import SIDES, Outcome, report, run_all
from tests.chat_template.references import index

POSITIONS = 40


@cache
def outcomes() -> Mapping[str, list[Outcome]]:
    return run_all(list(index()), POSITIONS)


@pytest.mark.parametrize("side", SIDES)
def test_a_proof_goes_where_the_prompt_changes_and_stays_where_it_does_not(side: str) -> None:
    found = [one for family in outcomes().values() for one in family if one.mutant.side == side]
    false = [one.mutant for one in found if one.is_false_proof]
    changed = [one for one in found if one.changed]
    sys.stdout.write(f"{side}: {report(found)}\n")
    assert len(changed) >= 8 * len(outcomes())
    assert not false[:5], f"{len(false)} of {len(changed)}"
    lost = [one.mutant for one in found if one.is_lost_for_nothing]
    assert not lost[:5], f"{len(lost)} of {len(found) - len(changed)}"
    assert any(one.proven for one in found)


def test_every_proven_family_takes_part() -> None:
    assert set(outcomes()) == {name for name, reference in index().items() if not reference.dated}
