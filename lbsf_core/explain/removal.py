"""Why, by taking out: Shapley values of merchants, and of payments inside a merchant.

A coalition of merchants is the user's history folded without the others. Nothing of a segment
depends on the rest of the history, so its vector and its sums are computed once and a coalition
costs only the relation stage and the head: the same layers, the same logit as a refold (tested to
1e-6). The reference is the empty history, and a merchant's value is how many logits it adds to
those before it, mean over all orders.

Payments inside a merchant are valued by the Owen value: what they add in the company that their
merchant met in those orders, so that they sum to their merchant. A coalition of payments is the
segment folded anew from them (gaps, statistics and sums are theirs alone).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lbsf_core.errors import LbsfError
from lbsf_core.explain.shapley import Masks, Shapley, orders, shapley
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.lbsf import LBSF
from lbsf_core.score.calibration import Calibration

Floats = npt.NDArray[np.float64]

#: Segments that go through the relation stage together: few enough to stay near the cache.
PASS_SEGMENTS = 8_192
#: Payments that are folded anew together, those of all coalitions counted.
PASS_PAYMENTS = 262_144
#: Companies that a merchant's payments are valued in.
COMPANIES = 16
#: Players among the payments of one merchant; where there are more payments, neighbours in time go
#: together, so that cost grows with the payments and not with their square.
MOST_PLAYERS = 150


class Coalitions:
    """A user's merchants, to be put together at will.

    Args:
        model: scores.
        batch: one sample.

    Raises:
        LbsfError: the batch holds more or fewer samples than one, or the model reads the gap to
            payments at other merchants (`ModelConfig.user_gap`).
    """

    def __init__(self, model: LBSF, batch: FoldedBatch) -> None:
        if len(batch) != 1:
            raise LbsfError(f"coalitions are of one sample; the batch holds {len(batch)}.")
        if model.config.user_gap:
            raise LbsfError(
                "this model reads how long before a payment the user paid at any merchant, so no "
                "merchant can be taken out by itself. Train it again with user_gap = false."
            )
        self.model, self.batch = model.eval(), batch
        with torch.inference_mode():
            self.vectors, self.sums = model.segment_states(batch)

    @property
    def merchants(self) -> int:
        """S."""
        return len(self.vectors)

    def logits(self, masks: Masks) -> Floats:
        """(C,) logits with only the merchants where the (C, S) masks are true."""
        return _logits(self.model, self.vectors, self.sums, masks)

    def shapley(self, *, budget: int = 2000, seed: int = 0) -> Shapley:
        """(S,) values of the merchants, in logits; see the module's docstring."""
        return shapley(self.logits, self.merchants, budget=budget, seed=seed)

    def payments(
        self, segment: int, *, value: float | None = None, budget: int = 200, seed: int = 0
    ) -> Shapley:
        """Owen values of the payments of one merchant.

        Each company is what came before the merchant in a random order of all merchants. The sum
        is the merchant's value as these companies have it, which differs by noise from a value
        that comes from other orders; `adding_up_to` then moves each payment by its size. Above
        `MOST_PLAYERS` payments, neighbours in time are valued together and share alike.

        Args:
            segment: whose payments.
            value: of the merchant, that its payments are to sum to.
            budget: about how many coalitions of payments are folded.
            seed: of the orders.

        Raises:
            LbsfError: there is no such segment.
        """
        batch, model = self.batch, self.model
        if not 0 <= segment < self.merchants:
            raise LbsfError(f"merchant {segment} is none of the {self.merchants} of this sample.")
        places = orders(self.merchants, COMPANIES // 2, seed)
        company = places < places[:, segment, None]  # (K, S)
        own = batch.keep(batch.segment_of_payment == segment)
        payments = len(own.amounts)
        players = min(payments, MOST_PLAYERS)
        player = np.arange(payments) * players // payments  # of each payment, in order of time

        def worth(masks: Masks) -> Floats:
            """(C,) what these payments add, mean over the companies."""
            some = np.flatnonzero(masks.any(axis=1))
            step = max(1, PASS_PAYMENTS // payments)
            states = []
            for begin in range(0, len(some), step):
                kept = masks[some[begin : begin + step]][:, player]
                parts = own.select(np.zeros(len(kept), dtype=np.int64)).keep(kept.ravel())
                with torch.inference_mode():
                    states.append(model.segment_states(parts))
            vectors, sums = (torch.cat(part) for part in zip(*states, strict=True))
            pool = torch.cat([self.vectors, vectors])
            added = torch.cat([self.sums, sums])
            who = np.zeros((len(company), 1 + len(some), len(pool)), dtype=bool)
            who[:, :, : self.merchants] = company[:, None]
            who[:, 1 + np.arange(len(some)), self.merchants + np.arange(len(some))] = True
            logits = _logits(model, pool, added, who.reshape(-1, len(pool)))
            logits = logits.reshape(len(company), -1)
            found = np.zeros(len(masks))
            found[some] = (logits[:, 1:] - logits[:, :1]).mean(axis=0)
            return found

        found = shapley(worth, players, budget=budget, seed=seed)
        size = np.bincount(player)[player]
        values, lo, hi = (part[player] / size for part in (found.values, found.lo, found.hi))
        found = replace(found, values=values, lo=lo, hi=hi)
        return found if value is None else adding_up_to(found, value)

    def interactions(self) -> Floats:
        """(S, S) what two merchants are worth together beyond each alone, all others present.

        The sum of both single removals less the joint one: positive where each needs the other,
        negative where one would do in place of the other. The diagonal is 0.
        """
        count = self.merchants
        one, other = np.triu_indices(count, 1)
        masks = np.ones((1 + count + len(one), count), dtype=bool)
        masks[1 + np.arange(count), np.arange(count)] = False
        pairs = 1 + count + np.arange(len(one))
        masks[pairs, one] = masks[pairs, other] = False
        logits = self.logits(masks)
        whole, single, both = logits[0], logits[1 : 1 + count], logits[1 + count :]
        found = np.zeros((count, count))
        found[one, other] = whole - single[one] - single[other] + both
        return found + found.T


def adding_up_to(found: Shapley, total: float) -> Shapley:
    """Values and intervals moved, each by its share of all sizes, so that they sum to `total`."""
    if not len(found.values):
        return found
    size = np.abs(found.values)
    share = size / size.sum() if size.sum() > 0 else np.full(len(size), 1.0 / len(size))
    move = (total - found.values.sum()) * share
    return replace(
        found, values=found.values + move, lo=found.lo + move, hi=found.hi + move, whole=total
    )


def _logits(model: LBSF, vectors: Tensor, sums: Tensor, masks: Masks) -> Floats:
    """(C,) logits of users made of the segments where the (C, V) masks are true."""
    sizes = masks.sum(axis=1)
    order = np.argsort(sizes, kind="stable")  # like sizes share a pass
    runs = np.cumsum(sizes[order]) // PASS_SEGMENTS
    found = np.empty(len(masks))
    with torch.inference_mode():
        for part in np.split(order, np.flatnonzero(np.diff(runs)) + 1):
            some = masks[part]
            rows = torch.from_numpy(np.nonzero(some)[1]).to(vectors.device)
            ends = np.concatenate([[0], np.cumsum(sizes[part])]).astype(np.int64)
            totals = torch.from_numpy(some).to(sums) @ sums
            offsets = torch.from_numpy(ends).to(vectors.device)
            logits = model.logits_of_segments(vectors[rows], offsets, totals)
            found[part] = logits.cpu().double().numpy()
    return found


def explain_by_removal(
    bundle: Bundle,
    batch: FoldedBatch,
    *,
    merchant: str | None = None,
    budget: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Why one sample has its score, as `lbsf explain --method removal --json` prints it.

    Args:
        bundle: the model and its calibration.
        batch: one sample.
        merchant: whose payments are valued too.
        budget: about how many coalitions of merchants are asked for.
        seed: of the orders.

    Raises:
        LbsfError: the sample has no such merchant.
    """
    names = batch.merchants.decode()
    if merchant is not None and merchant not in names:
        raise LbsfError(f"{batch.user_ids[0]} has no payments at '{merchant}' in this window.")
    coalitions = Coalitions(bundle.model, batch)
    found = coalitions.shapley(budget=budget, seed=seed)
    rows: list[dict[str, Any]] = []
    for at, name in enumerate(names):
        payments = None
        if name == merchant:
            own = slice(int(batch.offsets[at]), int(batch.offsets[at + 1]))
            value = float(found.values[at])
            inside = coalitions.payments(at, value=value, seed=seed)
            payments = [
                {"timestamp": f"{np.datetime_as_string(when, unit='s')}Z", "amount": float(amount)}
                | _interval(inside, number)
                for number, (when, amount) in enumerate(
                    zip(
                        batch.timestamps[own].view("datetime64[us]"),
                        batch.amounts[own],
                        strict=True,
                    )
                )
            ]
        rows.append({"merchant": name} | _interval(found, at) | {"payments": payments})
    return {
        "user": batch.user_ids[0],
        "cutoff": f"{np.datetime_as_string(batch.cutoffs.view('datetime64[us]')[0], unit='s')}Z",
        "method": "removal (Shapley)",
        "baseline": "empty history",
        "logit": found.whole,
        "baseline_logit": found.empty,
        "pd": float(Calibration(**bundle.calibration).pd(np.array([found.whole]))[0]),
        "delta": float(found.values.sum() - (found.whole - found.empty)),
        "coalitions": found.coalitions,
        "exact": found.exact,
        "merchants": rows,
    }


def _interval(found: Shapley, at: int) -> dict[str, float]:
    """A value and its interval, as JSON values."""
    return {
        "value": float(found.values[at]),
        "lo": float(found.lo[at]),
        "hi": float(found.hi[at]),
    }
