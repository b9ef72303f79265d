"""Rows by segment: the same order however large the numbers of merchants are."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lbsf_core.fold.group import _by_segment


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=60),
    st.sampled_from([1, 10**6, 2**57]),
)
def test_rows_lie_by_sample_and_merchant_and_equal_ones_keep_their_place(
    rows: list[tuple[int, int]], step: int
) -> None:
    """With numbers of 2 ** 57 group and row do not fit into one number together."""
    sample = np.array(sorted(one for one, _ in rows), dtype=np.int64)
    merchant = np.array([other * step for _, other in rows], dtype=np.int64)
    order, starts = _by_segment(sample, merchant)
    assert order.tolist() == np.lexsort((merchant, sample)).tolist()
    pairs = list(zip(sample[order].tolist(), merchant[order].tolist(), strict=True))
    assert starts.tolist() == [n for n in range(len(pairs)) if n == 0 or pairs[n] != pairs[n - 1]]
