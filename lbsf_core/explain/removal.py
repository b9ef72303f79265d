"""Why, by taking out: Shapley values of merchants, and of payments inside a merchant.

A coalition of merchants is the user's history folded without the others. Nothing of a segment
depends on the rest of the history, so its vector and its sums are computed once and a coalition
costs only the relation stage and the head: the same layers, the same logit as a refold (tested to
1e-6). A merchant's value is how many logits it adds to those before it, mean over all orders, held
against the empty history or against real references.

Payments inside a merchant are valued by the Owen value: what they add in the company that their
merchant met in those orders, so that they sum to their merchant. A coalition of payments is the
segment folded anew from them (gaps, statistics and sums are theirs alone).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from lbsf_core.errors import LbsfError
from lbsf_core.explain.alike import Alike
from lbsf_core.explain.attention import in_use, whole_logits
from lbsf_core.explain.baselines import EMPTY, Baseline
from lbsf_core.explain.result import Explanation, assemble
from lbsf_core.explain.shapley import TOP, Game, Masks, Shapley, orders, shapley, unstable
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.lbsf import LBSF, States
from lbsf_core.score.calibration import Calibration

Floats = npt.NDArray[np.float64]

METHOD = "removal (Shapley)"
_LOOSE = (
    f"Unstable: which {TOP} merchants come first is not settled by these coalitions. Read their "
    "intervals, or ask for more."
)
#: Segments that go through the relation stage together: few enough to stay near the cache.
PASS_SEGMENTS = 8_192
#: Payments that are folded anew together, those of all coalitions counted.
PASS_PAYMENTS = 262_144
#: Payments, kept or not, of histories that are folded and scored together.
REFOLDED = 32_768
#: Companies that a merchant's payments are valued in.
COMPANIES = 16
#: Players among the payments of one merchant; where there are more payments, neighbours in time go
#: together, so that cost grows with the payments and not with their square.
MOST_PLAYERS = 150


class Coalitions:
    """A user's merchants, to be put together at will.

    Players are the user's S merchants and, where there is a baseline that is not the empty history,
    one more: the merchants that only the baseline pays (`others`). A merchant that is taken out is
    what the baseline has in its place: nothing, or the baseline's own payments there.

    Args:
        model: scores.
        batch: one sample.
        baseline: what the history is held against; None = the empty history.

    Raises:
        LbsfError: the batch holds more or fewer samples than one, or the model reads the gap to
            payments at other merchants (`ModelConfig.user_gap`).
    """

    def __init__(
        self, model: LBSF, batch: FoldedBatch, baseline: FoldedBatch | None = None
    ) -> None:
        if len(batch) != 1:
            raise LbsfError(f"coalitions are of one sample; the batch holds {len(batch)}.")
        if model.config.user_gap:
            raise LbsfError(
                "this model reads how long before a payment the user paid at any merchant, so no "
                "merchant can be taken out by itself. Train it again with user_gap = false."
            )
        self.model, self.batch = in_use(model), batch
        with torch.inference_mode():
            self.states = model.segment_states(batch)
        self._stand_ins = self._place(baseline)

    def _place(self, baseline: FoldedBatch | None) -> npt.NDArray[np.int64]:
        """Put the baseline's segments behind the user's own; (R, V) who stands in for whom.

        Entry [r, v] is the player in whose absence segment v is there in reference r; -1 = never.
        """
        own = len(self.states)
        if baseline is None:
            return np.full((1, own), -1, dtype=np.int64)
        with torch.inference_mode():
            self.states = States.concat([self.states, self.model.segment_states(baseline)])
        player = {name: at for at, name in enumerate(self.batch.merchants.decode())}
        found = np.full((len(baseline), len(self.states)), -1, dtype=np.int64)
        names, sample = baseline.merchants.decode(), baseline.sample_of_segment
        for at, name in enumerate(names):
            found[sample[at], own + at] = player.get(name, own)
        return found

    @property
    def merchants(self) -> int:
        """S."""
        return len(self.batch.merchants)

    @property
    def others(self) -> bool:
        """Whether there is a player for the merchants of the baseline alone."""
        return bool(self._stand_ins.shape[1] > self.merchants)

    @property
    def players(self) -> int:
        """S, and one more where `others`."""
        return self.merchants + self.others

    def _there(self, masks: Masks, reference: int) -> Masks:
        """(C, V) which segments of the pool are there, of (C, P) players that are."""
        found = np.zeros((len(masks), len(self.states)), dtype=bool)
        found[:, : self.merchants] = masks[:, : self.merchants]
        stands = np.flatnonzero(self._stand_ins[reference] >= 0)
        found[:, stands] = ~masks[:, self._stand_ins[reference, stands]]
        return found

    def logits(self, masks: Masks) -> Floats:
        """(C,) logits with only the players where the (C, P) masks are true.

        With several references in the baseline: mean over them.
        """
        found: Floats = np.stack([game(masks) for game in self.games()]).mean(axis=0)
        return found

    def games(self) -> list[Game]:
        """What a coalition is worth, against each reference of the baseline."""

        def against(reference: int) -> Game:
            return lambda masks: segment_logits(
                self.model, self.states, self._there(masks, reference)
            )

        return [against(reference) for reference in range(len(self._stand_ins))]

    def shapley(self, *, budget: int = 2000, seed: int = 0) -> Shapley:
        """(P,) values of the players, in logits; see the module's docstring."""
        return shapley(self.games(), self.players, budget=budget, seed=seed)

    def payments(
        self, segment: int, *, value: float | None = None, budget: int = 200, seed: int = 0
    ) -> Shapley:
        """Owen values of the payments of one merchant.

        Each company is what came before the merchant in a random order of all players. The sum
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
        places = orders(self.players, COMPANIES // 2, seed)
        company = places < places[:, segment, None]  # (K, P)
        own = batch.keep(batch.segment_of_payment == segment)
        payments = len(own.amounts)
        players = min(payments, MOST_PLAYERS)
        player = np.arange(payments) * players // payments  # of each payment, in order of time
        without = self._companies(company)  # (K, V)
        company[:, segment] = True
        among = self._companies(company)
        among[:, segment] = False  # some of its payments take its place

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
            pool = States.concat([self.states, *states])
            first = len(self.states)
            who = np.zeros((len(without), 1 + len(some), len(pool)), dtype=bool)
            who[:, 0, :first] = without
            who[:, 1:, :first] = among[:, None]
            who[:, 1 + np.arange(len(some)), first + np.arange(len(some))] = True
            logits = segment_logits(model, pool, who.reshape(-1, len(pool)))
            logits = logits.reshape(len(without), -1)
            found = np.zeros(len(masks))
            found[some] = (logits[:, 1:] - logits[:, :1]).mean(axis=0)
            return found

        found = shapley(worth, players, budget=budget, seed=seed)
        size = np.bincount(player)[player]
        values, lo, hi = (part[player] / size for part in (found.values, found.lo, found.hi))
        found = replace(found, values=values, lo=lo, hi=hi)
        return found if value is None else adding_up_to(found, value)

    def _companies(self, masks: Masks) -> Masks:
        """(K, V) segments that are there in each company, against references in turn."""
        count = len(self._stand_ins)
        return np.concatenate(
            [self._there(mask[None], at % count) for at, mask in enumerate(masks)]
        )

    def interactions(self, among: Sequence[int] | None = None) -> Floats:
        """(S, S) what two merchants are worth together beyond each alone, all others present.

        The sum of both single removals less the joint one: positive where each needs the other,
        negative where one would do in place of the other. The diagonal is 0, and so are pairs of
        merchants that are not both `among` those asked for (None = all).
        """
        count = self.merchants
        asked = np.arange(count) if among is None else np.unique(np.asarray(among, dtype=np.int64))
        one, other = (asked[at] for at in np.triu_indices(len(asked), 1))
        masks = np.ones((1 + count + len(one), self.players), dtype=bool)
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


def segment_logits(model: LBSF, states: States, masks: Masks) -> Floats:
    """(C,) logits of users made of the segments where the (C, V) masks are true."""
    sizes = masks.sum(axis=1)
    order = np.argsort(sizes, kind="stable")  # like sizes share a pass
    found = np.empty(len(masks))
    device = states.vectors.device
    with torch.inference_mode():
        alike = Alike.of(model, states, torch.from_numpy(masks).to(device))
        rest = model if alike is None else alike.rest
        held = sizes if alike is None else np.maximum(sizes, len(states) // 2)  # see `of_histories`
        runs = np.cumsum(held[order]) // PASS_SEGMENTS
        for part in np.split(order, np.flatnonzero(np.diff(runs)) + 1):
            some = torch.from_numpy(masks[part]).to(device)
            rows = some.nonzero()[:, 1]
            ends = np.concatenate([[0], np.cumsum(sizes[part])]).astype(np.int64)
            totals = some.to(states.sums) @ states.sums
            offsets = torch.from_numpy(ends).to(device)
            vectors = states.vectors[rows] if alike is None else alike.of_histories(some)
            logits = rest.logits_of_segments(vectors, states.days[rows], offsets, totals)
            found[part] = logits.cpu().double().numpy()
    return found


def refolds(model: LBSF, batch: FoldedBatch) -> Game:
    """(C, N) which payments of one sample stay -> (C,) logits of the histories folded from them."""

    def logits(masks: Masks) -> Floats:
        step = max(1, REFOLDED // max(1, masks.shape[1]))
        parts = []
        for begin in range(0, len(masks), step):
            some = masks[begin : begin + step]
            copies = batch.select(np.zeros(len(some), dtype=np.int64))
            parts.append(whole_logits(model, copies.keep(some.ravel())))
        return np.concatenate(parts) if parts else np.zeros(0)

    return logits


def explain_by_removal(
    bundle: Bundle,
    batch: FoldedBatch,
    *,
    baseline: Baseline = EMPTY,
    opened: Sequence[str] = (),
    budget: int = 2000,
    seed: int = 0,
) -> Explanation:
    """Why one sample has its score, by taking merchants out.

    Args:
        bundle: the model and its calibration.
        batch: one sample.
        baseline: what stands where a merchant is taken out.
        opened: merchants whose payments are valued too; it takes about a second each.
        budget: about how many coalitions of merchants are asked for.
        seed: of the orders.

    Raises:
        LbsfError: the sample has no such merchant, or the baseline is no history.
    """
    names = batch.merchants.decode()
    unknown = sorted(set(opened) - set(names))
    if unknown:
        raise LbsfError(f"{batch.user_ids[0]} has no payments at '{unknown[0]}' in this window.")
    if baseline.batch is None and baseline.name != EMPTY.name:
        raise LbsfError(
            f"removal can't be held against the {baseline.name}: a merchant that is gone has no "
            "slot. Choose another baseline, or integrated gradients."
        )
    model = bundle.model
    coalitions = Coalitions(model, batch, baseline.batch)
    found = coalitions.shapley(budget=budget, seed=seed)
    count = len(names)
    values, lo, hi = (part[:count] for part in (found.values, found.lo, found.hi))
    loose = unstable(replace(found, values=values, lo=lo, hi=hi))
    payments = np.full((3, len(batch.amounts)), np.nan)
    for at, name in enumerate(names):
        if name in opened:
            inside = coalitions.payments(at, value=float(found.values[at]), seed=seed)
            own = slice(int(batch.offsets[at]), int(batch.offsets[at + 1]))
            payments[:, own] = inside.values, inside.lo, inside.hi
    with torch.inference_mode():
        _, attention = model.forward_with_attention(batch)
    return assemble(
        batch,
        logit=found.whole,
        baseline_logit=found.empty,
        pd=float(Calibration(**bundle.calibration).pd(found.whole)),
        delta=float(found.values.sum() - (found.whole - found.empty)),
        method=METHOD,
        baseline=baseline.words,
        steps=0,
        fields=(),
        field_attributions=np.zeros((len(batch.amounts), 0)),
        payment_attributions=payments[0],
        payment_lo=payments[1],
        payment_hi=payments[2],
        merchant_attributions=values,
        merchant_lo=lo,
        merchant_hi=hi,
        opened=np.array([name in opened for name in names], dtype=bool),
        others=float(found.values[count:].sum()),
        coalitions=found.coalitions,
        unstable=loose,
        warnings=(_LOOSE,) if loose else (),
        merchant_weights=attention.merchants.cpu().double().numpy(),
        payment_weights=attention.payments.cpu().double().numpy(),
        relation_weights=attention.relations[0].cpu().double().numpy(),
    )
