"""Faithfulness: does taking out what an explanation names move the score, and does the rest not?

Every method ranks a user's merchants (or payments), those first that are said to push the logit
away from that of the empty history. For each share of `SHARES` the first ones are taken out
(deletion) or kept alone (insertion), always by refolding:

    comprehensiveness   how far the logit falls back without them: more is better
    sufficiency         how much of the way is there with them alone: more is better

Both are means over the shares, normalised user by user (after Edin et al., arXiv 2408.08137): 0 and
1 are the lowest and the highest that any order was found to reach, the methods, their reverses and,
for merchants, a greedy search in both directions among them. A user whose score no order moves says
nothing and is left out. One sample is drawn of each user; differences are paired by user.

The default is removal, unless attention proves truer (see `_summary`): then it is attention.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lbsf_core.explain.gradient import integrated_gradients
from lbsf_core.explain.removal import Coalitions, refolds
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle

Floats = npt.NDArray[np.float64]
Masks = npt.NDArray[np.bool_]
Progress = Callable[[int, int], None]

#: Shares of the merchants or payments that are taken out or kept; at least one is.
SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)
#: What is compared, the default first. "removal" is the Shapley value of a merchant; of a payment,
#: what its own removal does.
METHODS = ("removal", "gradient", "attention", "relation weight", "amount", "recency", "random")
#: Measures, each better when higher.
MEASURES = ("comprehensiveness", "sufficiency")
#: Least distance between the limits, in logits, for a user to count.
LEAST_RANGE = 1e-4
#: Most payments for which each one's own removal is tried.
MOST_PAYMENTS = 2_000


def faithfulness(
    store: FoldedStore,
    bundle: Bundle,
    *,
    users: int = 200,
    budget: int = 1000,
    draws: int = 2000,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure every method on users of a store.

    Args:
        store: samples; a few are drawn, each with two merchants at least.
        bundle: the model.
        users: how many are measured.
        budget: coalitions of a removal.
        draws: bootstrap draws of the intervals, by user.
        seed: of the draw, of removal and of random orders.
        progress: called with (samples done, samples in all).

    Returns:
        {"users", "methods": {name: {measure: mean}}, "default", "differences": {"default - other":
        {measure: {"mean", "lo", "hi"}}}} of merchants, the same under "payments", and "shares".
    """
    rows = np.sort(draw(store, users, seed))
    found: dict[str, list[Floats]] = {"merchants": [], "payments": []}
    for done, row in enumerate(rows):
        batch = store.read([int(row)])
        coalitions = Coalitions(bundle.model, batch)
        merchants, payments = rank(coalitions, budget=budget, seed=seed + int(row))
        found["merchants"].append(measure(coalitions.logits, merchants, greedy=True))
        if len(batch.amounts) <= MOST_PAYMENTS:
            found["payments"].append(measure(refolds(bundle.model, batch), payments))
        if progress:
            progress(done + 1, len(rows))
    return {
        **_summary(found["merchants"], draws, seed),
        "payments": _summary(found["payments"], draws, seed),
        "shares": list(SHARES),
    }


def draw(store: FoldedStore, users: int, seed: int, least: int = 2) -> npt.NDArray[np.int64]:
    """Numbers of up to `users` samples with `least` merchants at least, one a user, by chance."""
    rng = np.random.default_rng(seed)
    frame = store.samples
    rows = rng.permutation(np.flatnonzero(frame["segments"].to_numpy() >= least))
    first = ~frame["user_id"].iloc[rows].duplicated().to_numpy()
    return rows[first][:users].astype(np.int64)


def rank(
    coalitions: Coalitions, *, budget: int = 1000, seed: int = 0, risky: bool = False
) -> tuple[Floats, Floats]:
    """What each method says of a sample's merchants and payments: (M, S) and (M, N), high = first.

    Signed methods are turned so that what pushes the logit away from the empty history is high, or
    what raises it, where `risky`.
    """
    model, batch = coalitions.model, coalitions.batch
    rng = np.random.default_rng(seed)
    segment, count = batch.segment_of_payment, len(batch.merchants)
    values = coalitions.shapley(budget=budget, seed=seed)
    push = 1.0 if risky or values.whole >= values.empty else -1.0
    attributions = integrated_gradients(model, batch)
    gradient, attention = attributions.fields.sum(axis=1), attributions.attention
    looked = attention.merchants.double().cpu().numpy()
    inside = attention.payments.double().cpu().numpy()
    related = attention.relations[0].double().cpu().numpy().mean(axis=0).sum(axis=0)
    size, age = np.abs(batch.amounts), batch.timestamps.astype(np.float64)

    def by_merchant(of_payments: Floats) -> Floats:
        return np.bincount(segment, of_payments, minlength=count).astype(np.float64)

    alone = np.zeros(len(size))
    if len(size) <= MOST_PAYMENTS:
        alone = values.whole - refolds(model, batch)(~np.eye(len(size), dtype=bool))
    merchants = {
        "removal": push * values.values,
        "gradient": push * by_merchant(gradient),
        "attention": looked,
        "relation weight": related,
        "amount": by_merchant(size),
        "recency": age[batch.offsets[1:] - 1],
        "random": rng.random(count),
    }
    payments = {
        "removal": push * alone,
        "gradient": push * gradient,
        "attention": looked[segment] * inside,
        "relation weight": related[segment] * inside,
        "amount": size,
        "recency": age,
        "random": rng.random(len(size)),
    }
    return (
        np.stack([merchants[name] for name in METHODS]),
        np.stack([payments[name] for name in METHODS]),
    )


def measure(logits: Callable[[Masks], Floats], ranks: Floats, *, greedy: bool = False) -> Floats:
    """(2, M) normalised comprehensiveness and sufficiency of M orders of P players.

    Args:
        logits: (C, P) who stays -> (C,).
        ranks: (M, P), high = first.
        greedy: look for the limits by a greedy search as well; costs about 2 * P**2 coalitions.

    Returns:
        NaN where no order moves the score.
    """
    players = ranks.shape[1]
    sizes = np.maximum(1, np.ceil(np.array(SHARES) * players)).astype(np.int64)
    empty, whole = logits(np.array([[False] * players, [True] * players]))
    push = 1.0 if whole >= empty else -1.0
    orders = np.argsort(-ranks, axis=1, kind="stable")
    orders = np.concatenate([orders, orders[:, ::-1]])  # a reverse may be better: a limit
    if greedy:
        ways = [(out, up) for out in (True, False) for up in (push, -push)]
        found = [_greedy(logits, players, int(sizes[-1]), *way) for way in ways]
        orders = np.concatenate([orders, found])
    first = np.zeros((len(orders), len(sizes), players), dtype=bool)
    for at, size in enumerate(sizes):
        np.put_along_axis(first[:, at], orders[:, :size], True, axis=1)
    flat = first.reshape(-1, players)
    without, alone = np.split(logits(np.concatenate([~flat, flat])), 2)
    fallen = push * (whole - without).reshape(first.shape[:2]).mean(axis=1)
    there = push * (alone - empty).reshape(first.shape[:2]).mean(axis=1)
    result = np.full((2, len(ranks)), np.nan)
    for at, found_by in enumerate((fallen, there)):
        low, high = found_by.min(), found_by.max()
        if high - low >= LEAST_RANGE:
            result[at] = (found_by[: len(ranks)] - low) / (high - low)
    return result


def _greedy(
    logits: Callable[[Masks], Floats], players: int, steps: int, out: bool, up: float
) -> npt.NDArray[np.int64]:
    """(P,) an order whose first `steps` are each the best next one to take out or to put in.

    Args:
        logits: (C, P) who stays -> (C,).
        players: P.
        steps: how many are searched for; the others follow as they come.
        out: take players out of all of them; else put them into none.
        up: 1 = towards the whole history's side, -1 = against it.
    """
    chosen: list[int] = []
    for _ in range(steps):
        open_ones = np.setdiff1d(np.arange(players), chosen)
        masks = np.full((len(open_ones), players), out)
        masks[:, chosen] = not out
        masks[np.arange(len(open_ones)), open_ones] = not out
        towards = -up if out else up
        chosen.append(int(open_ones[np.argmax(towards * logits(masks))]))
    rest = np.setdiff1d(np.arange(players), chosen)
    return np.concatenate([np.array(chosen, dtype=np.int64), rest])


def _summary(found: Sequence[Floats], draws: int, seed: int) -> dict[str, Any]:
    """Means of every method, and the default's difference to each other one with its interval.

    Attention is the default where one measure's whole interval says that it is above removal, and
    none says that it is below.
    """
    values = np.stack(found) if found else np.zeros((0, 2, len(METHODS)))  # (U, 2, M)
    usable = values[np.isfinite(values).all(axis=(1, 2))]
    if not len(usable):
        return {"users": 0, "methods": {}, "default": METHODS[0], "differences": {}}
    means = usable.mean(axis=0)
    drawn = np.random.default_rng(seed).integers(0, len(usable), (draws, len(usable)))

    def above(one: str, other: str) -> dict[str, dict[str, float]]:
        """By how much one method is above another, for each measure."""
        gap = usable[:, :, METHODS.index(one)] - usable[:, :, METHODS.index(other)]  # (U, 2)
        lo, hi = np.quantile(gap[drawn].mean(axis=1), [0.025, 0.975], axis=0)
        return {
            name: {"mean": float(gap[:, at].mean()), "lo": float(lo[at]), "hi": float(hi[at])}
            for at, name in enumerate(MEASURES)
        }

    won = above("attention", METHODS[0]).values()
    truer = any(gap["lo"] > 0 for gap in won) and not any(gap["hi"] < 0 for gap in won)
    default = "attention" if truer else METHODS[0]
    return {
        "users": len(usable),
        "methods": {
            name: {measure: float(means[at, m]) for at, measure in enumerate(MEASURES)}
            for m, name in enumerate(METHODS)
        },
        "default": default,
        "differences": {
            f"default - {name}": above(default, name) for name in METHODS if name != default
        },
    }
