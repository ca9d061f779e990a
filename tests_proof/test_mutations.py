"""A small seeded sample of mutations; `mutations.py` runs more."""

from __future__ import annotations

from tests.chat_template.mutations import mutations
from tests.chat_template.references import index

FAMILIES = ("chatml", "zephyr", "llama3", "gemma3", "mistral-7b-v0.3", "qwen2.5")


def test_a_proof_goes_where_the_prompt_changes() -> None:
    found = [one for name in FAMILIES for one in mutations(index()[name], 6, conversations=20)]
    assert sum(one.differs for one in found) >= 10
    assert not [one for one in found if one.differs and one.proven]
