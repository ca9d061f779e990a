"""The committed renderings of the reference chat templates are transformers' own."""

from __future__ import annotations

import pytest

from tests.chat_template.references import index
from tests.chat_template.renderings import expected
from tests_parity.reference_renderings import renderings


@pytest.mark.parametrize("name", index())
def test_the_committed_renderings_are_transformers(name: str) -> None:
    assert renderings(index()[name]) == expected(name), "run: python -m tests_parity.reference_renderings"
