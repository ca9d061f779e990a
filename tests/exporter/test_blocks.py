"""Row blocks cover every row once, and are closed under the order."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from conch_ollama.exporter.blocks import row_blocks


@given(st.integers(1, 400), st.integers(1, 64), st.integers(1, 4096))
def test_blocks_cover_all_rows_in_order(rows: int, columns: int, block_bytes: int) -> None:
    blocks = list(row_blocks(rows, columns, None, block_bytes))
    assert [row for start, stop in blocks for row in range(start, stop)] == list(range(rows))
    assert all((stop - start) * columns * 4 <= max(block_bytes, columns * 4) for start, stop in blocks)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 512), st.randoms())
def test_blocks_are_closed_under_an_order(groups: list[int], block_bytes: int, random: object) -> None:
    order: list[int] = []
    for size in groups:  # a permutation within each group, as attention heads are reordered
        group = list(range(len(order), len(order) + size))
        random.shuffle(group)  # type: ignore[attr-defined]
        order += group
    array = np.array(order, dtype=np.int64)
    blocks = list(row_blocks(len(order), 1, array, block_bytes))
    assert blocks[0][0] == 0 and blocks[-1][1] == len(order)
    for start, stop in blocks:
        assert sorted(array[start:stop]) == list(range(start, stop))
    assert all(a[1] == b[0] for a, b in pairwise(blocks))
