"""Ragged sums, softmax and buckets, by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsf_core.model.ragged import (
    bag_sum,
    length_buckets,
    segment_ids,
    segment_softmax,
    segment_sum,
)


def test_segment_ids_and_sums_by_hand() -> None:
    offsets = torch.tensor([0, 2, 2, 5])  # the middle segment is empty
    values = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [4.0, 40.0], [5.0, 50.0]])
    assert segment_ids(offsets).tolist() == [0, 0, 2, 2, 2]
    assert segment_sum(values, offsets).tolist() == [[3.0, 30.0], [0.0, 0.0], [12.0, 120.0]]
    weights = torch.tensor([[1.0, 1.0], [0.5, 0.0], [0.0, 0.0], [2.0, 0.0], [1.0, -1.0]])
    assert segment_sum(values, offsets, weights).tolist() == [
        [[2.0, 20.0], [1.0, 10.0]],
        [[0.0, 0.0], [0.0, 0.0]],
        [[13.0, 130.0], [-5.0, -50.0]],
    ]


def test_sums_and_softmax_have_the_gradients_that_differences_show() -> None:
    torch.manual_seed(0)
    offsets = torch.tensor([0, 3, 3, 4])
    ids = segment_ids(offsets)
    values = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    scores = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    check = torch.autograd.gradcheck
    assert check(lambda v: segment_sum(v, offsets), (values,))
    assert check(lambda v, w: segment_sum(v, offsets, w), (values, scores))
    assert check(lambda w: segment_sum(values.detach(), offsets, w), (scores,))
    assert check(lambda s: segment_softmax(s, offsets, ids), (scores,))


def test_bag_sum_by_hand_and_its_gradient() -> None:
    table = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    rows, weights = torch.tensor([[0, 2], [2, 2]]), torch.tensor([[1.0, 0.5], [2.0, -1.0]])
    assert bag_sum(table, rows, weights).tolist() == [[2.5, 25.0], [3.0, 30.0]]
    offsets = torch.tensor([0, 3, 3, 4])
    found = bag_sum(table, rows.flatten(), weights.flatten(), offsets)
    assert found.tolist() == [[8.5, 85.0], [0.0, 0.0], [-3.0, -30.0]]
    exact = table.double().requires_grad_()
    for args in ((rows, weights.double()), (rows.flatten(), weights.double().flatten(), offsets)):
        assert torch.autograd.gradcheck(lambda t, args=args: bag_sum(t, *args), (exact,))
    big = torch.randn(70_000, 1, dtype=torch.float64, requires_grad=True)  # beyond 16 bits
    bag_sum(big, torch.tensor([[69_999, 0, 69_999]]), torch.ones(1, 3).double()).sum().backward()
    assert big.grad is not None
    assert (big.grad[0].item(), big.grad[69_999].item(), big.grad.sum().item()) == (1.0, 2.0, 3.0)


def test_segment_softmax_by_hand() -> None:
    offsets = torch.tensor([0, 2, 3])
    ids = segment_ids(offsets)
    scores = torch.tensor([[0.0], [1.0], [5.0]])
    found = segment_softmax(scores, offsets, ids)
    ratio = float(torch.exp(10 * torch.tanh(torch.tensor(0.1))))  # 2.7093, a softmax has e
    assert found[:, 0].tolist() == pytest.approx([1 / (1 + ratio), ratio / (1 + ratio), 1.0])
    assert ratio == pytest.approx(2.7093, abs=1e-4)


def test_segment_softmax_of_small_scores_is_a_softmax() -> None:
    torch.manual_seed(0)
    scores = torch.randn(7, 3) * 0.2
    offsets = torch.tensor([0, 3, 7])
    found = segment_softmax(scores, offsets, segment_ids(offsets))
    expected = torch.cat([scores[:3].softmax(0), scores[3:].softmax(0)])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=6),
    st.floats(-1e6, 1e6, allow_nan=False),
    st.integers(0, 1000),
)
def test_segment_softmax_sums_to_one_and_never_overflows(counts, scale, seed) -> None:
    offsets = torch.tensor([0, *counts]).cumsum(0)
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(int(offsets[-1]), 2, generator=generator) * scale
    found = segment_softmax(scores, offsets, segment_ids(offsets))
    assert (found > 0).all()
    torch.testing.assert_close(segment_sum(found, offsets), torch.ones(len(counts), 2))


def test_length_buckets_hold_every_sample_with_a_segment_once() -> None:
    counts = torch.tensor([0, 100, 1, 3, 95, 0, 1, 2])
    buckets = [bucket.tolist() for bucket in length_buckets(counts)]
    assert sorted(sample for bucket in buckets for sample in bucket) == [1, 2, 3, 4, 6, 7]
    assert [2, 6] in buckets
    for bucket in buckets:
        sizes = counts[bucket]
        assert sizes.max() <= 1.25 * sizes.min()
    assert length_buckets(torch.tensor([0, 0])) == []
    assert length_buckets(torch.tensor([], dtype=torch.int64)) == []
