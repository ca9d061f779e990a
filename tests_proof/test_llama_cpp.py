"""llama.cpp's verdict on every reference template: proven, or there are other words for it that are; see the table.

The table says what is expected and why; a verdict that changes has to be looked at. What is proven is also held against
conversations that no prover uses.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from conch_ollama.chat_template.compare import Reference, refer
from conch_ollama.chat_template.conversations import PLAIN
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.errors import BadTemplateError
from conch_ollama.workflows.engines import engine_verdicts
from conch_ollama.workflows.template_carrier import TEMPLATE_KEY
from conch_ollama.workflows.template_engine import TemplateEngine
from tests.chat_template.larger_corpus import larger
from tests.chat_template.odd_templates import ODD, template
from tests.chat_template.references import index
from tests.chat_template.synthetic import synthetic

_HOLDING = ("equal", "equal but for JSON spacing and key order", "refused by the Jinja")
_TABLE = tomllib.loads(
    (Path(__file__).parents[1] / "tests" / "chat_template" / "expected" / "llama_cpp.toml").read_text(encoding="utf-8")
)
#: Made up for the TEMPLATE compiler; what llama.cpp can't be brought to render alike, and why.
_BEYOND = {
    "the length of a text": "llama.cpp counts bytes, and Python characters",
    "cut to a length": "llama.cpp cuts bytes, and Python characters",
    "upper case questions": "llama.cpp turns the letters of ASCII only to upper case",
}


def verdict(jinja: JinjaTemplate) -> Mapping[str, Any]:
    found: Mapping[str, Any] = engine_verdicts(jinja)["llama.cpp"]
    return found


def failing(classes: Mapping[str, Any]) -> set[str]:
    return {kind for kind, one in classes.items() if one["verdict"] not in _HOLDING}


def first_difference(jinja: JinjaTemplate, source: str) -> tuple[Reference, str] | None:
    """The first conversation of the larger corpus that llama.cpp does not render as transformers does."""
    references = [one for one in (refer(jinja, one) for one in larger()) if one.text is not None]
    with (
        TemplateEngine({TEMPLATE_KEY: source}, bos_token=jinja.bos_token, eos_token=jinja.eos_token) as engine,
        ThreadPoolExecutor(4) as pool,
    ):

        def rendered(one: Reference) -> str:
            try:
                return engine.render(one.conversation).removeprefix(jinja.bos_token)
            except BadTemplateError as err:
                return f"[{err.message}]"

        for one, text in zip(references, pool.map(rendered, references), strict=True):
            if text != (one.text or "").removeprefix(jinja.bos_token):
                return one, text
    return None


def test_every_line_of_the_table_is_about_a_template() -> None:
    assert set(_TABLE) <= set(index())


@pytest.mark.parametrize("name", list(index()))
def test_every_template_has_a_verdict_and_other_words_where_it_differs(name: str) -> None:
    known = index()[name]
    jinja = JinjaTemplate(  # today, as llama.cpp
        known.template().source,
        bos_token=known.bos_token,
        eos_token=known.eos_token,
        special_tokens=known.special_tokens,
    )
    found, wanted = verdict(jinja), _TABLE.get(name)
    if wanted is None:
        assert found["proven"] is True
        assert not failing(found["classes"])
        assert found["corrected"] is None
    else:
        assert found["proven"] is wanted["proven"]
        assert set(found["changes"]) == set(wanted["changes"])
        assert failing(found["corrected_classes"]) == set(wanted.get("left", {}))
        assert not failing(found["corrected_classes"]) & set(PLAIN)
        assert set(PLAIN) <= set(found["corrected_classes"])
    assert first_difference(jinja, found["corrected"] or jinja.source) is None


@pytest.mark.parametrize("name", [*list(ODD)[::4], *_BEYOND])
def test_odd_templates_are_mended_or_it_is_known_why_not(name: str) -> None:
    jinja = template(name)
    found = verdict(jinja)
    source = jinja.source if found["proven"] else found["corrected"]
    assert (source is None) is (name in _BEYOND), found["reason"]
    assert source is None or first_difference(jinja, source) is None


@pytest.mark.parametrize("seed", range(100, 112))
def test_made_up_templates_are_mended(seed: int) -> None:
    jinja = synthetic(seed).template()
    found = verdict(jinja)
    source = jinja.source if found["proven"] else found["corrected"]
    assert source is not None, found["reason"]
    assert first_difference(jinja, source) is None
