"""Our interpreter of Go templates against Go itself on 20,000 random templates a seed, over every node and builtin."""

from __future__ import annotations

import sys

import pytest

from tests.chat_template.go_fuzz import fuzz

CASES = 20_000


@pytest.mark.parametrize("seed", [7, 31337])
def test_twenty_thousand_templates_do_what_go_does(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    found = fuzz(CASES, seed)
    with capsys.disabled():
        sys.stdout.write(f"\n{found}\n")
    found.check()
