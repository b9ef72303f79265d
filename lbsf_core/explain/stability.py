"""Does an explanation hang on what the model learned, and not on the seed of its sampling?

Cascading randomisation (Adebayo et al., arXiv 1810.03292): from the head down, the parts of a model
are put back to a random start, one after another. An explanation of what was learned does not
survive that; attention, which never asked the head, does. Every user gets random models of its own,
so that the chance of models is averaged like that of users.

A random head turns a sign by chance, so that values which follow the model agree with the learned
ones half the time and disagree half the time: their mean correlation is near 0, while that of a
single random model is not small. Merchants who move one model much move any model, up or down, and
among few merchants chance is large. Both are told: the mean, and the size of single ones beside
what chance gives.

Stability: the same removal with other orders. What may change is flagged by `shapley.unstable` from
one run alone; here it is counted how often the flag is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import rankdata

from lbsf_core.evaluate.intervals import wilson
from lbsf_core.explain.gradient import integrated_gradients
from lbsf_core.explain.removal import Coalitions
from lbsf_core.explain.sanity import Ints, Progress, mean_interval
from lbsf_core.explain.shapley import TOP, unstable
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.lbsf import LBSF

Floats = npt.NDArray[np.float64]

#: Explanations whose values are compared.
METHODS = ("removal", "gradient", "attention")
#: Fewest merchants for a rank correlation to say something.
LEAST_MERCHANTS = 5
#: Coalitions of a removal whose order alone matters.
RANK_BUDGET = 300
#: Orders by chance that say how large a rank correlation is by itself.
SHUFFLES = 200


def stages(model: LBSF) -> dict[str, tuple[str, ...]]:
    """Parts of a model from the top down: name -> beginnings of its parameters' names."""
    relations = {
        f"relations {at + 1}": (f"relations.{at}.",) for at in reversed(range(len(model.relations)))
    }
    meetings = {"meetings": ("meetings.",)} if model.config.meetings else {}
    forecast = {"forecast": ("forecast.",)} if model.config.forecasts else {}
    return {
        "head": ("head.",),
        **forecast,
        "pooling": ("users.", "rhythm.", "levels."),
        **relations,
        **meetings,
        "merchants": ("merchants.", "payment_norm.", "payment_block."),
        "encoders": ("encoders.", "gates"),
    }


def randomised(model: LBSF, typical: FoldedBatch, seed: int) -> Iterator[tuple[str, LBSF]]:
    """The model with more and more of it as it was before training, from the top; it stays itself.

    Scales and vocabularies are kept: they describe the data, not what was learned of it.

    Args:
        model: trained.
        typical: payments whose mean is the baseline of integrated gradients once the encoders
            are random.
        seed: of the random start.

    Yields:
        Name of the stage, and the same copy each time: use it before going on.
    """
    copy = deepcopy(model).eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        start = dict(LBSF(model.config, model.fields, model.fitted).named_parameters())
    for name, beginnings in stages(model).items():
        with torch.no_grad():
            for key, parameter in copy.named_parameters():
                if key.startswith(beginnings):
                    parameter.copy_(start[key])
        if name == "encoders":
            copy.fit_typical(typical)
        yield name, copy


def merchant_values(model: LBSF, batch: FoldedBatch, *, budget: int, seed: int) -> Floats:
    """(3, S) what each method says of the merchants of one sample."""
    removal = Coalitions(model, batch).shapley(budget=budget, seed=seed).values
    found = integrated_gradients(model, batch, tolerance=np.inf)
    values, count = found.fields.sum(axis=1), len(batch.merchants)
    gradient = np.bincount(batch.segment_of_payment, values, minlength=count)
    return np.stack([removal, gradient, found.attention.merchants.double().cpu().numpy()])


def spearman(one: Floats, other: Floats) -> float:
    """Rank correlation of two rows of values, ties at their mean rank; 0 where one is constant."""
    a, b = rankdata(one), rankdata(other)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0


def size_by_chance(merchants: int, rng: np.random.Generator) -> float:
    """Mean size of the rank correlation between two orders of some merchants by chance."""
    place = np.arange(merchants, dtype=np.float64)
    return float(np.mean([abs(spearman(place, rng.permutation(place))) for _ in range(SHUFFLES)]))


def randomisation(
    store: FoldedStore,
    bundle: Bundle,
    rows: Ints,
    *,
    seeds: int = 3,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Rank correlation of merchants' values between the model and its random copies.

    Args:
        store: the samples.
        bundle: the model.
        rows: numbers of samples with `LEAST_MERCHANTS` at least, one a user.
        seeds: random models for each user.
        seed: of them all.
        progress: called with (samples done, samples in all).

    Returns:
        {"users", "seeds", "least_merchants", "chance", "stages": {stage: {method: {"mean", "lo",
        "hi", "size"}}}}. The mean is over users, of the mean over each one's random models, with a
        95 % interval by user: 0 = what was learned decides. "size" is the mean of |correlation| of
        single models, and "chance" what that is for values in an order by chance: with few
        merchants a single correlation is never small.
    """
    names = list(stages(bundle.model))
    found = np.zeros((len(rows), seeds, len(names), len(METHODS)))
    rng = np.random.default_rng(seed)
    chance = []
    for done, row in enumerate(rows):
        batch = store.read([int(row)])
        own = {"budget": RANK_BUDGET, "seed": seed + int(row)}
        learned = merchant_values(bundle.model, batch, **own)
        for number in range(seeds):
            copies = randomised(bundle.model, batch, seed + int(row) * seeds + number)
            for stage, (_, copy) in enumerate(copies):
                values = merchant_values(copy, batch, **own)
                found[done, number, stage] = [
                    spearman(*pair) for pair in zip(learned, values, strict=True)
                ]
        chance.append(size_by_chance(len(batch.merchants), rng))
        if progress:
            progress(done + 1, len(rows))
    told: dict[str, Any] = {"users": len(rows), "seeds": seeds, "least_merchants": LEAST_MERCHANTS}
    if not len(rows):
        return told | {"chance": None, "stages": {}}
    of_users = found.mean(axis=1)  # (U, stages, methods)
    return told | {
        "chance": float(np.mean(chance)),
        "stages": {
            name: {
                method: mean_interval(of_users[:, at, m], seed=seed)
                | {"size": float(np.abs(found[:, :, at, m]).mean())}
                for m, method in enumerate(METHODS)
            }
            for at, name in enumerate(names)
        },
    }


def stability(
    store: FoldedStore,
    bundle: Bundle,
    rows: Ints,
    *,
    seeds: int = 5,
    budget: int = 2000,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """How often other orders name other merchants first, and whether the flag says so.

    Args:
        store: the samples.
        bundle: the model.
        rows: numbers of samples, one a user.
        seeds: runs of the removal of each.
        budget: coalitions of each run.
        progress: called with (samples done, samples in all).

    Returns:
        {"users", "sampled": users whose values are drawn and not exact, "seeds", "budget", "top",
        "identical", "flagged", "identical_unflagged", each {"share", "lo", "hi"} with Wilson's
        interval}: all runs name the same merchants; the first run is flagged; all runs name the
        same among users whose first run is not flagged. A share of nobody is None.
    """
    same, flagged, sampled = (np.zeros(len(rows), dtype=bool) for _ in range(3))
    for done, row in enumerate(rows):
        coalitions = Coalitions(bundle.model, store.read([int(row)]))
        runs = [coalitions.shapley(budget=budget, seed=s) for s in range(seeds)]
        firsts = {
            frozenset(np.argsort(-np.abs(run.values), kind="stable")[:TOP].tolist()) for run in runs
        }
        same[done], flagged[done] = len(firsts) == 1, unstable(runs[0])
        sampled[done] = not runs[0].exact
        if progress:
            progress(done + 1, len(rows))
    return {
        "users": len(rows),
        "sampled": int(sampled.sum()),
        "seeds": seeds,
        "budget": budget,
        "top": TOP,
        "identical": _share(same),
        "flagged": _share(flagged),
        "identical_unflagged": _share(same[~flagged]),
    }


def _share(which: npt.NDArray[np.bool_]) -> dict[str, float | None]:
    """A share and its interval; None where there is nothing to count."""
    if not len(which):
        return {"share": None, "lo": None, "hi": None}
    share, lo, hi = wilson(int(which.sum()), len(which))
    return {"share": share, "lo": lo, "hi": hi}
