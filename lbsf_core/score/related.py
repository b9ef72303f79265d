"""Relations, users and head of the forward pass: the same function as `LBSF.logits_of_segments`.

    merchants  norms and attention in compiled loops, a user at a time; matrix products by torch
    users      pooled in a loop over their merchants; rhythm, levels and head by the model's layers

Some users at a time, so that what their merchants become on the way stays in the cache. The model's
own layers put users of like size side by side instead, and write and read everything some thirty
times; a user has few merchants, and each such operation also costs Python's lock, which the other
threads wait for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from lbsf_core.fold.batch import Ints
from lbsf_core.model.lbsf import LBSF
from lbsf_core.model.ragged import NORM_EPSILON, length_buckets
from lbsf_core.model.relation import Bucket, RelationLayer, UserPooling
from lbsf_core.score import kernels, user_kernels
from lbsf_core.score.products import FEWEST, after_norm, in_fours, product

Vector = npt.NDArray[np.float32]

#: Merchants that go through the layers together; a user's are never parted.
BLOCK = 2_048


@dataclass(frozen=True)
class _Layer:
    """A relation layer. What follows a norm has its gain and bias in it."""

    heads: int
    scale: float  # of attention's scores
    read: Tensor  # (D, 3 D)
    read_bias: Tensor
    out: Tensor  # (D, D)
    out_bias: Vector
    up: Tensor  # (D, 2 D)
    up_bias: Vector
    down: Tensor  # (2 D, D)
    down_bias: Vector

    @classmethod
    def of(cls, layer: RelationLayer) -> _Layer:
        """From a model's layer; call it without gradients."""
        read, read_bias = after_norm(layer.norm, layer.query_key_value)
        out, out_bias = product(layer.out)
        up, up_bias = after_norm(layer.feed[0], layer.feed[1])
        down, down_bias = product(layer.feed[4])
        return cls(
            heads=layer.heads,
            scale=0.0 if layer.uniform else (len(out) // layer.heads) ** -0.5,
            read=read,
            read_bias=read_bias,
            out=out,
            out_bias=out_bias.numpy(),
            up=up,
            up_bias=up_bias.numpy(),
            down=down,
            down_bias=down_bias.numpy(),
        )

    def __call__(self, merchants: Tensor, offsets: Ints, one: Vector, none: Vector) -> None:
        """Relate (n, D) merchants of some users, in place; `one`, `none`: (D,) of ones, zeros."""
        normed = torch.empty_like(merchants)
        _norm(merchants, one, none, self.out_bias, normed)
        read = torch.addmm(self.read_bias, normed, self.read)
        mixed = normed  # not needed any more
        user_kernels.attend(read.numpy(), offsets, self.heads, self.scale, mixed.numpy())
        merchants.addmm_(mixed, self.out)
        _norm(merchants, one, none, self.down_bias, normed)
        hidden = normed @ self.up
        kernels.gelu(hidden.numpy(), self.up_bias)
        merchants.addmm_(hidden, self.down)


@dataclass(frozen=True)
class _Pooling:
    """How merchants become users."""

    uniform: bool  # every merchant of a user weighs the same
    gain: Vector  # of the norm
    bias: Vector
    hidden: Tensor  # (D, D)
    hidden_bias: Tensor
    score: Tensor  # (D, 1)
    score_bias: Tensor
    signal: Tensor  # (D, D)
    signal_bias: Tensor
    empty: Tensor  # (4 D,)

    @classmethod
    def of(cls, users: UserPooling) -> _Pooling:
        """From a model's layer; call it without gradients."""
        return cls(
            users.uniform,
            users.norm.weight.numpy(),
            users.norm.bias.numpy(),
            *product(users.hidden),
            # Scores are squashed into (-10, 10), see `segment_softmax`; signals into (-6, 6).
            *product(users.score, 10.0),
            *product(users.signal, 6.0),
            users.empty,
        )

    def __call__(self, merchants: Tensor, offsets: Ints, none: Vector, users: Tensor) -> None:
        """Write (b, 4 D) users of (n, D) merchants."""
        normed = torch.empty_like(merchants)
        _norm(merchants, self.gain, self.bias, none, normed)
        if self.uniform:
            weights = torch.ones(len(normed))
        else:
            hidden = torch.addmm(self.hidden_bias, normed, self.hidden).tanh_()
            weights = torch.addmm(self.score_bias, hidden, self.score)[:, 0]
            weights = weights.tanh_().mul_(10.0).exp_()
        signals = torch.addmm(self.signal_bias, normed, self.signal).tanh_().mul_(6.0).exp_()
        read = (part.numpy() for part in (normed, weights, signals))
        user_kernels.pool_users(*read, offsets, users.numpy())
        users[:, 3 * normed.shape[1] :].log1p_()
        users[torch.from_numpy(np.diff(offsets) == 0)] = self.empty


class Related:
    """What comes after merchant vectors. Later changes of the model are not seen in its layers.

    Args:
        model: on a CPU, in single precision; call it without gradients.
    """

    def __init__(self, model: LBSF) -> None:
        self.model = model
        self._layers = [_Layer.of(cast(RelationLayer, layer)) for layer in model.relations]
        self._pooling = _Pooling.of(model.users)
        width = model.config.width
        self._one, self._none = np.ones(width, np.float32), np.zeros(width, np.float32)
        parts = (part for part in (model.rhythm, model.levels) if part is not None)
        self._sizes = [len(part.segment_mean) for part in parts]

    def logits(self, vectors: Tensor, days: Tensor, offsets: Ints, totals: Tensor) -> Tensor:
        """(B,) logits of users; see `users`."""
        model, users = self.model, self._users(vectors, days, offsets, totals)
        logits: Tensor = model.head(model.forecast(users))[: len(offsets) - 1, 0]
        return logits

    def users(self, vectors: Tensor, days: Tensor, offsets: Ints, totals: Tensor) -> Tensor:
        """(B, U) what the head reads of users.

        Args:
            vectors: (S, D) merchant vectors before relations, user by user.
            days: (S, DAYS) when each was paid.
            offsets: (B + 1,) where each user's merchants begin.
            totals: (B, K) sums over each user's segments.
        """
        return self._users(vectors, days, offsets, totals)[: len(offsets) - 1]

    def _users(self, vectors: Tensor, days: Tensor, offsets: Ints, totals: Tensor) -> Tensor:
        """The same, and rows behind them that nobody is in; see `in_fours`."""
        model, count, width = self.model, len(offsets) - 1, self.model.config.width
        if model.meetings is not None and len(vectors):
            counts = torch.from_numpy(offsets)
            buckets = [Bucket(rows, counts) for rows in length_buckets(counts.diff())]
            vectors = model.meetings(vectors, days, buckets)
        users = torch.zeros(max(in_fours(count), FEWEST), UserPooling.PARTS * width)
        for first, last in _some(offsets):
            begin, end = int(offsets[first]), int(offsets[last])
            merchants = torch.zeros(in_fours(end - begin), width)
            merchants[: end - begin] = vectors[begin:end]
            at = offsets[first : last + 1] - begin
            for layer in self._layers:
                layer(merchants, at, self._one, self._none)
            self._pooling(merchants, at, self._none, users[first:last])
        totals = functional.pad(totals, (0, 0, 0, len(users) - count))
        parts = torch.split(totals.to(users.dtype), self._sizes, dim=1)
        return model.join(users, parts)


def _norm(rows: Tensor, gain: Vector, bias: Vector, later: Vector, normed: Tensor) -> None:
    """`user_kernels.norm` of tensors."""
    user_kernels.norm(rows.numpy(), NORM_EPSILON, gain, bias, later, normed.numpy())


def _some(offsets: Ints) -> Iterator[tuple[int, int]]:
    """First and last (not included) of users whose merchants are `BLOCK` at most, or of one."""
    first, count = 0, len(offsets) - 1
    while first < count:
        last = int(np.searchsorted(offsets, offsets[first] + BLOCK, side="right")) - 1
        last = min(max(last, first + 1), count)
        yield first, last
        first = last
