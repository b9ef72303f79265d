"""Relations, users and head in compiled loops: torch's numbers, whoever else is in a batch."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional

from lbsf_core.model.ragged import segment_sum
from lbsf_core.score import related, user_kernels
from lbsf_core.score.lean import Lean
from lbsf_core.score.products import in_fours
from lbsf_core.score.related import Related
from tests.builders import random_batch, small_model


@pytest.mark.parametrize(("heads", "size"), [(1, 6), (2, 8), (4, 16)])
@pytest.mark.parametrize("large", [1.0, 40.0], ids=["soft", "one rules"])
def test_attention_is_torchs(heads: int, size: int, large: float) -> None:
    rng = np.random.default_rng(0)
    counts = np.array([1, 7, 8, 0, 9, 150])
    offsets = np.concatenate([[0], np.cumsum(counts)])
    read = rng.normal(size=(offsets[-1], 3 * heads * size)).astype(np.float32)
    read[:, : heads * size] *= large
    found = np.empty((len(read), heads * size), dtype=np.float32)
    user_kernels.attend(read, offsets, heads, size**-0.5, found)
    for begin, end in pairwise(offsets):
        one = torch.from_numpy(read[begin:end]).double().view(end - begin, 3, heads, size)
        expected = functional.scaled_dot_product_attention(*one.permute(1, 2, 0, 3))
        expected = expected.transpose(0, 1).reshape(end - begin, heads * size)
        np.testing.assert_allclose(found[begin:end], expected, atol=5e-5)


def test_attention_without_scores_is_the_mean() -> None:
    read = np.random.default_rng(0).normal(size=(5, 12)).astype(np.float32)
    found = np.empty((5, 4), dtype=np.float32)
    user_kernels.attend(read, np.array([0, 2, 5]), 2, 0.0, found)
    np.testing.assert_allclose(found[:2], read[:2, 8:].mean(axis=0)[None].repeat(2, 0), atol=1e-6)
    np.testing.assert_allclose(found[2:], read[2:, 8:].mean(axis=0)[None].repeat(3, 0), atol=1e-6)


def test_exponentials_to_the_last_bits() -> None:
    values = np.linspace(-86.9, 87.9, 100_003).astype(np.float32)
    expected = np.exp(values.astype(np.float64))
    powers = np.empty(len(values), dtype=np.int32)
    user_kernels._exp(values, len(values), powers, powers.view(np.float32))
    np.testing.assert_allclose(values, expected, rtol=3e-7)
    far = np.array([-np.inf, -1e30, 0.0], dtype=np.float32)
    user_kernels._exp(far, 3, powers, powers.view(np.float32))
    np.testing.assert_allclose(far, [0.0, 0.0, 1.0], atol=1e-37)


def test_layer_norm_and_the_bias_that_follows() -> None:
    rng = np.random.default_rng(0)
    rows, gain, bias, later = (rng.normal(size=n).astype(np.float32) for n in ((5, 7), 7, 7, 7))
    before, normed = rows.copy(), np.empty_like(rows)
    user_kernels.norm(rows, 0.05, gain, bias, later, normed)
    parts = (torch.from_numpy(part) for part in (before, gain, bias))
    expected = functional.layer_norm(next(parts), (7,), *parts, eps=0.05)
    np.testing.assert_allclose(normed, expected, atol=1e-6)
    np.testing.assert_allclose(rows, before + later, atol=1e-7)


@pytest.mark.parametrize("block", [1, 5, 100_000])
def test_users_are_parted_into_blocks_and_merchants_never(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = random_batch(3, 12, merchants=9)
    model = small_model(random_batch(99, 30))
    offsets = torch.from_numpy(batch.user_offsets)
    with torch.inference_mode():
        states = Lean(model).states(batch)
        parts = (states.vectors, states.days)
        totals = segment_sum(states.sums, offsets)
        expected = model.logits_of_segments(*parts, offsets, totals)
        monkeypatch.setattr(related, "BLOCK", block)
        found = Related(model).logits(*parts, batch.user_offsets, totals)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    some = list(related._some(batch.user_offsets))
    assert [first for first, _ in some] == [0, *(last for _, last in some[:-1])]
    assert some[-1][1] == len(batch)
    sizes = [batch.user_offsets[last] - batch.user_offsets[first] for first, last in some]
    assert all(
        size <= block or last == first + 1 for size, (first, last) in zip(sizes, some, strict=True)
    )


def test_rows_in_fours() -> None:
    assert [in_fours(rows) for rows in (0, 1, 4, 5, 2_047)] == [0, 4, 4, 8, 2_048]
