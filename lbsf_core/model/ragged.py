"""Sums, softmax and attention over ragged segments: values + offsets, no padding of payments."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def segment_ids(offsets: Tensor) -> Tensor:
    """(N,) number of the segment of each row, from (S + 1,) offsets."""
    return torch.repeat_interleave(torch.arange(len(offsets) - 1), offsets.diff())


def segment_sum(values: Tensor, offsets: Tensor, weights: Tensor | None = None) -> Tensor:
    """(S, D) sums of (N, D) values over segments, each row times its (N,) weight if given.

    An embedding bag over the rows in order: 10 times faster on a CPU than `segment_reduce`
    (262k rows of 64: 4 ms against 27-63 ms), and differentiable in values and weights.
    """
    rows = torch.arange(len(values))
    return F.embedding_bag(
        rows, values, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


def segment_softmax(scores: Tensor, offsets: Tensor, ids: Tensor) -> Tensor:
    """(N, H) weights that sum to 1 over each segment, from (N, H) scores.

    Scores are squashed into (-10, 10) before the exponential: no overflow, no segment maximum to
    find, and smooth everywhere, which integrated gradients need to converge.
    """
    exp = torch.exp(10.0 * torch.tanh(scores / 10.0))
    return exp / segment_sum(exp, offsets)[ids]


#: Variance added in every layer norm. Larger than usual: with 1e-5 a norm turns sharply where a
#: vector is short, and integrated gradients, whose path starts at the (short) typical payment, then
#: need 128 steps and more; with 0.05 most samples need 8 to 32 (measured on the sample data).
NORM_EPSILON = 0.05


def layer_norm(width: int) -> torch.nn.LayerNorm:
    """The layer norm that every part of the model uses."""
    return torch.nn.LayerNorm(width, eps=NORM_EPSILON)


#: A bucket holds samples whose number of segments differs by at most this factor.
_GROWTH = 1.25


def length_buckets(counts: Tensor) -> list[Tensor]:
    """Row numbers of samples grouped by like number of segments; empty samples are left out."""
    order = torch.argsort(counts, stable=True)
    order = order[counts[order] > 0]
    if not len(order):
        return []
    sizes = counts[order].double()
    level = torch.floor(torch.log(sizes) / torch.log(torch.tensor(_GROWTH, dtype=torch.float64)))
    _, widths = torch.unique_consecutive(level, return_counts=True)
    return list(torch.split(order, widths.tolist()))
