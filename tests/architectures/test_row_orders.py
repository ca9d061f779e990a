"""Row orders are permutations, and each has its inverse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conch_ollama.architectures.row_orders import interleave_halves, inverse


def test_halves_of_a_head_are_interleaved() -> None:
    assert interleave_halves(8, 2).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert interleave_halves(6, 1).tolist() == [0, 3, 1, 4, 2, 5]


@given(heads=st.integers(1, 40), half=st.integers(1, 40))
def test_inverse_undoes(heads: int, half: int) -> None:
    rows = 2 * half * heads
    order = interleave_halves(rows, heads)
    assert sorted(order) == list(range(rows))
    assert (np.arange(rows)[order][inverse(order)] == np.arange(rows)).all()


def test_rotation_is_the_same_in_both_layouts() -> None:
    """Rotating halves (transformers) and then reordering is reordering and then rotating neighbours (llama.cpp)."""
    head, angle = np.arange(1.0, 9.0), np.array([0.1, 0.5, 1.0, 2.0])
    first, second = head[:4], head[4:]
    halves = np.concatenate(
        [first * np.cos(angle) - second * np.sin(angle), second * np.cos(angle) + first * np.sin(angle)]
    )
    order = interleave_halves(8, 1)
    even, odd = head[order][0::2], head[order][1::2]
    neighbours = np.empty(8)
    neighbours[0::2] = even * np.cos(angle) - odd * np.sin(angle)
    neighbours[1::2] = odd * np.cos(angle) + even * np.sin(angle)
    assert halves[order] == pytest.approx(neighbours)
