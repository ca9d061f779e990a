"""llama.cpp's verdict on every reference template: proven, or there are other words for it that are; see the table.

The table says what is expected and why it is so; it is made by hand, and a verdict that changes has to be looked at.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from conch_ollama.chat_template.conversations import PLAIN
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.workflows.engines import engine_verdicts
from tests.chat_template.references import index

_HOLDING = ("equal", "equal but for JSON spacing and key order", "refused by the Jinja")
_TABLE = Path(__file__).parents[1] / "tests" / "chat_template" / "expected" / "llama_cpp.toml"


def expected(name: str) -> dict[str, Any]:
    return tomllib.loads(_TABLE.read_text(encoding="utf-8")).get(name, {})


def failing(classes: dict[str, Any]) -> set[str]:
    return {kind for kind, one in classes.items() if one["verdict"] not in _HOLDING}


def test_every_line_of_the_table_is_about_a_template() -> None:
    assert set(tomllib.loads(_TABLE.read_text(encoding="utf-8"))) <= set(index())


@pytest.mark.parametrize("name", list(index()))
def test_every_template_has_a_verdict_and_other_words_where_it_differs(name: str) -> None:
    known, wanted = index()[name], expected(name)
    jinja: JinjaTemplate = known.template()
    found = engine_verdicts(
        jinja.source, bos_token=known.bos_token, eos_token=known.eos_token, special_tokens=known.special_tokens
    )["llama.cpp"]
    assert found["proven"] is wanted.get("proven", True)
    left = set(wanted.get("left", {}))
    if not wanted:
        assert not failing(found["classes"])
        assert found["corrected"] is None
    else:
        assert found["corrected"]
        assert set(found["changes"]) == set(wanted["changes"])
        assert failing(found["corrected_classes"]) == left
        assert not left & set(PLAIN)
        assert set(PLAIN) <= set(found["corrected_classes"])
