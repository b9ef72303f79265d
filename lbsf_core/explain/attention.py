"""Where the model looked, how evenly, and what it would lose by looking at everything alike.

Attention is shown beside an explanation and is never the cause: weights that may be evened out
without a loss were no reason for any score (Wiegreffe & Pinter, arXiv 1908.04626).
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from lbsf_core.errors import LbsfError
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.lbsf import LBSF, Attention, Layout, _per_sample
from lbsf_core.model.relation import RelationLayer
from lbsf_core.score.scorer import batch_logits, passes
from lbsf_core.train.split import PARTS, parts

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def entropy(weights: Floats) -> tuple[Floats, Floats]:
    """How evenly rows of weights are spread.

    Args:
        weights: (..., n), each row sums to 1.

    Returns:
        (...,) entropy in nats, and the same as a share of its most, log(n): 0 = all on one, 1 = all
        alike. Of one weight, or none, it is 0 nats and 1: there is nothing to choose.
    """
    logs = np.log(weights, out=np.zeros_like(weights), where=weights > 0)
    nats: Floats = np.maximum(0.0, -(weights * logs).sum(axis=-1))
    count = weights.shape[-1]
    if count <= 1:
        return np.zeros_like(nats), np.ones_like(nats)
    return nats, np.minimum(1.0, nats / np.log(count))


@dataclass(frozen=True)
class AttentionView:
    """Where the model looked in one sample with S merchants, N payments and H heads.

    Entropies come as (nats, share of the most possible), see `entropy`.

    Attributes:
        merchants: S names.
        offsets: (S + 1,) payments of merchant s are rows offsets[s]:offsets[s + 1].
        merchant_weights: (S,), they sum to 1.
        payment_weights: (N,), they sum to 1 inside each merchant; mean of heads.
        relation_weights: (H, S, S), rows sum to 1: how much a merchant (row) looks at another
            (column), mean of layers; all 0 where the model has no relation layer.
        merchant_entropy: of the merchant weights.
        payment_entropy: 2 x (S,) of each merchant's payments.
        head_entropy: 2 x (H,) of relations, mean over the rows of each head.
        relation_entropy: 2 x (S,) of each row of the mean of heads.
    """

    merchants: tuple[str, ...]
    offsets: Ints
    merchant_weights: Floats
    payment_weights: Floats
    relation_weights: Floats
    merchant_entropy: tuple[float, float]
    payment_entropy: tuple[Floats, Floats]
    head_entropy: tuple[Floats, Floats]
    relation_entropy: tuple[Floats, Floats]

    @property
    def relations(self) -> Floats:
        """(S, S) attention between merchants, mean of heads."""
        found: Floats = self.relation_weights.mean(axis=0)
        return found

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; the weights of payments lie beside their merchant."""
        inside = np.split(self.payment_weights, self.offsets[1:-1])
        return {
            "entropy": _told(*self.merchant_entropy),
            "merchants": [
                {
                    "merchant": merchant,
                    "weight": float(self.merchant_weights[s]),
                    "payments": inside[s].tolist(),
                    "entropy": _told(*(part[s] for part in self.payment_entropy)),
                    "relations_entropy": _told(*(part[s] for part in self.relation_entropy)),
                }
                for s, merchant in enumerate(self.merchants)
            ],
            "relations": self.relations.tolist(),
            "heads": [
                {
                    "relations": weights.tolist(),
                    "entropy": _told(*(part[h] for part in self.head_entropy)),
                }
                for h, weights in enumerate(self.relation_weights)
            ],
        }


def _told(nats: float, share: float) -> dict[str, float]:
    return {"nats": float(nats), "share": float(share)}


def in_use(model: LBSF) -> LBSF:
    """The model, told that it isn't trained now; telling it takes a millisecond of a page."""
    return model.eval() if model.training else model


def whole_logits(model: LBSF, batch: FoldedBatch) -> Floats:
    """(B,) logits of default by a whole forward pass, without gradients."""
    with torch.inference_mode():
        logits: Floats = in_use(model)(batch).cpu().double().numpy()
    return logits


def looked(model: LBSF, fused: Tensor, statistics: Tensor, layout: Layout) -> Attention:
    """Where `LBSF.forward_with_attention` looks, of payments that are encoded already.

    Args:
        model: looks.
        fused: (N, D) fused payments.
        statistics: (S, K) of their segments.
        layout: of both.
    """
    found: dict[str, Any] = {}
    model.represent(fused, statistics, layout, found)
    return Attention(
        payments=found["payments"].mean(dim=1),
        merchants=found["merchants"],
        relations=_per_sample(found["relations"], layout, model.config.heads),
    )


def attention_view(model: LBSF, batch: FoldedBatch) -> AttentionView:
    """Where a model looked in one sample.

    Raises:
        LbsfError: the batch holds more or fewer samples than one.
    """
    if len(batch) != 1:
        raise LbsfError(f"an attention view is of one sample; the batch holds {len(batch)}.")
    with torch.no_grad():
        _, found = in_use(model).forward_with_attention(batch)
    merchants, payments, relations = (
        part.double().cpu().numpy()
        for part in (found.merchants, found.payments, found.relations[0])
    )
    inside = [entropy(part) for part in np.split(payments, batch.offsets[1:-1])]
    inside = inside if len(merchants) else []
    nats, share = entropy(merchants)
    by_head = entropy(relations)  # 2 x (H, S)
    return AttentionView(
        merchants=tuple(batch.merchants.decode()),
        offsets=batch.offsets,
        merchant_weights=merchants,
        payment_weights=payments,
        relation_weights=relations,
        merchant_entropy=(float(nats), float(share)),
        payment_entropy=(
            np.array([nats for nats, _ in inside]),
            np.array([share for _, share in inside]),
        ),
        # A head without a row has nothing to choose either.
        head_entropy=(
            by_head[0].mean(axis=1) if len(merchants) else np.zeros(len(relations)),
            by_head[1].mean(axis=1) if len(merchants) else np.ones(len(relations)),
        ),
        relation_entropy=entropy(relations.mean(axis=0)),
    )


def uniform(model: LBSF) -> LBSF:
    """A copy of a model that looks at all payments and all merchants alike; the model stays."""
    copy = deepcopy(model).eval()
    copy.merchants.uniform = copy.users.uniform = True
    for layer in copy.relations:
        assert isinstance(layer, RelationLayer)  # noqa: S101 - what `LBSF` builds by itself
        layer.uniform = True
    return copy


def uniform_auc(
    store: FoldedStore,
    bundle: Bundle,
    rows: npt.ArrayLike | None = None,
    *,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """AUC as it is, and the AUC that the model keeps when all its attention is forced uniform.

    Args:
        store: holds labelled samples.
        bundle: the model.
        rows: numbers of samples; by default the labelled ones of the test part, which training
            never saw, or all labelled ones where that part has not both classes.
        draws: bootstrap draws of the intervals, by user.
        seed: of the draws.

    Returns:
        {"samples", "bad", "unseen": whether training never saw them (None where `rows` are given),
        "learned", "uniform", "difference"}, the last three {"mean", "lo", "hi"}; the difference is
        learned - uniform, paired. The three are None where there is one class only.
    """
    from lbsf_core.evaluate.metrics import auc, bootstrap_rows  # loads its library: a second

    labels = store.samples["label"].to_numpy(dtype=np.float64)
    chosen, unseen = _labelled(store, bundle) if rows is None else (np.asarray(rows), None)
    chosen = chosen[np.isfinite(labels[chosen])].astype(np.int64)
    known = labels[chosen]
    told: dict[str, Any] = {
        "samples": len(chosen),
        "bad": int(known.sum()),
        "unseen": unseen,
        "learned": None,
        "uniform": None,
        "difference": None,
    }
    if not 0 < known.sum() < len(known):
        return told
    batch = store.read(chosen)
    batches = passes(batch, np.arange(len(batch)))
    logits = [batch_logits(m, batches) for m in (bundle.model, uniform(bundle.model))]
    whole = [auc(known, one) for one in logits]
    drawn = np.array(
        [
            [auc(known[some], one[some]) for one in logits]
            for some in bootstrap_rows(known, batch.user_ids, draws, seed)
        ]
    )
    figures = {
        "learned": (whole[0], drawn[:, 0]),
        "uniform": (whole[1], drawn[:, 1]),
        "difference": (whole[0] - whole[1], drawn[:, 0] - drawn[:, 1]),
    }
    for name, (mean, values) in figures.items():
        lo, hi = np.quantile(values, [0.025, 0.975])
        told[name] = {"mean": float(mean), "lo": float(lo), "hi": float(hi)}
    return told


def _labelled(store: FoldedStore, bundle: Bundle) -> tuple[Ints, bool]:
    """Labelled samples of the test part, or all of them; and whether training never saw them."""
    frame = store.samples
    labels = frame["label"].to_numpy(dtype=np.float64)
    known = np.flatnonzero(np.isfinite(labels)).astype(np.int64)
    rule = bundle.training.get("split")
    if rule:
        cutoffs = pd.DatetimeIndex(frame["cutoff"]).as_unit("us").asi8
        part = parts(frame["user_id"].tolist(), cutoffs, labels, rule)
        test = known[part[known] == PARTS.index("test")]
        if 0 < labels[test].sum() < len(test):
            return test, True
    return known, False
