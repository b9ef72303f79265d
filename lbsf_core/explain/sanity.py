"""Captum's two checks of an explanation, with the fold fixed: infidelity and sensitivity.

    infidelity    some merchants are taken away: how badly do their values, added up, say how far
                  the logit falls (Yeh et al., arXiv 1901.09392)? 0 = exactly, 1 = not at all
    sensitivity   all vectors are moved a little: how far does the explanation move, at worst, as a
                  share of itself? 0 = not at all

Values are scaled freely for each user (`normalize`), and the error is given as a share of what is
there to be said, so that users and models compare. What moves are the vectors that integrated
gradients read (fused payments and statistics), never ids. A merchant is taken away twice: its
vectors become those of the typical payment ("vectors", what gradients are about), or the history is
folded without it ("refolding", what removal is about).

Low sensitivity alone is no virtue: a method that always says the same has 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import IntegratedGradients
from captum.metrics import infidelity, sensitivity_max
from torch import Tensor

from lbsf_core.explain.gradient import PASS_PAYMENTS, integrated_gradients
from lbsf_core.explain.removal import Coalitions
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.lbsf import LBSF, Layout

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Masks = npt.NDArray[np.bool_]
Progress = Callable[[int, int], None]

#: What is checked; "random" says what chance would get.
METHODS = ("removal", "gradient", "attention", "random")
#: Sets of merchants that are taken away of each user.
SETS = 50
#: By how much a vector is moved, at most, as a share of its mean distance from the typical one.
RADIUS = 0.1
#: Moves that are tried, and steps of each integral.
MOVES, STEPS = 10, 16
#: Least mean square change, in logits, for a user to count.
LEAST_CHANGE = 1e-8


class Vectors:
    """One sample as the vectors that integrated gradients read, beside the typical ones."""

    def __init__(self, model: LBSF, batch: FoldedBatch) -> None:
        self.model, self.layout = model.eval(), model.layout(batch)
        self.segment = self.layout.segment
        self.merchants = len(batch.merchants)
        self._layouts: dict[int, Layout] = {}
        with torch.no_grad():
            self.whole = (model.fused(batch)[None], model.statistics(batch)[None])
            start = model.fuse(model.typical).expand_as(self.whole[0])
            self.start = (start, torch.zeros_like(self.whole[1]))

    def _repeated(self, times: int) -> Layout:
        if times not in self._layouts:
            self._layouts[times] = self.layout.repeat(times)
        return self._layouts[times]

    def logits(self, payments: Tensor, statistics: Tensor) -> Tensor:
        """(P, N, D) and (P, S, K) -> (P,)."""
        layout = self._repeated(len(payments))
        return self.model.forward_from(payments.flatten(0, 1), statistics.flatten(0, 1), layout)

    def without(self, there: Masks) -> Floats:
        """(C, S) whose vectors stay -> (C,) logits with the typical vectors in place of others."""
        step, found = max(1, PASS_PAYMENTS // max(1, len(self.segment))), []
        for begin in range(0, len(there), step):
            kept = torch.from_numpy(there[begin : begin + step]).to(self.segment.device)
            places = (kept[:, self.segment, None], kept[:, :, None])
            ends = zip(places, self.whole, self.start, strict=True)
            with torch.no_grad():
                found.append(self.logits(*(torch.where(p, here, gone) for p, here, gone in ends)))
        return torch.cat(found).double().cpu().numpy()

    def gradient(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """(P, S) merchants' integrated gradients at other vectors."""
        engine = IntegratedGradients(self.logits)
        payments, statistics = engine.attribute(
            inputs,
            baselines=self.start,
            n_steps=STEPS,
            method="gausslegendre",
            internal_batch_size=max(len(inputs[0]), PASS_PAYMENTS // max(1, len(self.segment))),
        )
        own: Tensor = statistics.sum(dim=2)
        return own.index_add(1, self.segment, payments.sum(dim=2))

    def attention(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """(P, S) attention over merchants at other vectors."""
        found: dict[str, Any] = {}
        payments, statistics = (part.flatten(0, 1) for part in inputs)
        self.model.represent(payments, statistics, self._repeated(len(inputs[0])), found)
        weights: Tensor = found["merchants"]
        return weights.view(len(inputs[0]), -1)


def unexplained(
    worth: Callable[[Masks], Floats], values: Floats, *, sets: int = SETS, seed: int = 0
) -> Floats:
    """(M,) share of what happens without some merchants that M methods' values don't explain.

    Captum's normalised infidelity over random sets, all sizes alike, as a share of the mean square
    change of the logit.

    Args:
        worth: (C, S) who is there -> (C,) logits.
        values: (M, S) what each method says of the S merchants.
        sets: how many are drawn; the same for every method.
        seed: of the sets.

    Returns:
        NaN where no set moves the logit.
    """
    players = values.shape[1]
    rng = np.random.default_rng(seed)
    gone = rng.random((sets, players)) < rng.random((sets, 1))
    # One more method that says nothing: its infidelity is all there is to be said.
    rows = torch.from_numpy(np.concatenate([values, np.zeros((1, players))]))

    def logits(there: Tensor) -> Tensor:
        distinct, at = np.unique(there.numpy() > 0.5, axis=0, return_inverse=True)
        return torch.from_numpy(worth(distinct)[at])

    def perturb(inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The same sets for every method: captum repeats each row `sets` times."""
        taken = torch.from_numpy(gone).to(inputs).repeat(len(rows), 1)
        return taken, inputs - taken

    found = infidelity(
        *(logits, perturb, torch.ones_like(rows), rows), n_perturb_samples=sets, normalize=True
    ).numpy()
    if found[-1] < LEAST_CHANGE:
        return np.full(len(values), np.nan)
    shares: Floats = np.clip(found[:-1] / found[-1], 0.0, 1.0)
    return shares


def infidelities(model: LBSF, batch: FoldedBatch, *, budget: int = 1000, seed: int = 0) -> Floats:
    """(2, M) `unexplained` of one sample for every method: by vectors, and by refolding."""
    coalitions, vectors = Coalitions(model, batch), Vectors(model, batch)
    count = len(batch.merchants)
    fields = integrated_gradients(model, batch).fields.sum(axis=1)
    with torch.inference_mode():
        looked = vectors.attention(vectors.whole)[0].double().cpu().numpy()
        values = np.stack(
            [
                coalitions.shapley(budget=budget, seed=seed).values,
                np.bincount(batch.segment_of_payment, fields, minlength=count),
                looked,
                np.random.default_rng(seed).random(count),
            ]
        )
        ways = (vectors.without, coalitions.logits)
        return np.stack([unexplained(way, values, seed=seed) for way in ways])


def sensitivities(model: LBSF, batch: FoldedBatch, *, seed: int = 0) -> Floats:
    """(3,) sensitivity of one sample's gradient, attention and random explanation."""
    vectors = Vectors(model, batch)
    generator = torch.Generator().manual_seed(seed)

    def moved(inputs: tuple[Tensor, ...], radius: float) -> tuple[Tensor, ...]:
        """Every figure moved by chance, up to `radius` of the mean distance of its kind."""
        found = []
        for part, whole, start in zip(inputs, vectors.whole, vectors.start, strict=True):
            noise = torch.rand(part.shape, generator=generator).to(part) * 2.0 - 1.0
            found.append(part + radius * (whole - start).abs().mean() * noise)
        return tuple(found)

    def random(inputs: tuple[Tensor, ...]) -> Tensor:
        return torch.rand((len(inputs[0]), vectors.merchants), generator=generator)

    def tupled(explain: Callable[..., Tensor]) -> Callable[..., tuple[Tensor]]:
        return lambda inputs: (explain(inputs),)  # captum reads a bare tensor row by row

    step = min(MOVES, max(1, PASS_PAYMENTS // max(1, len(batch.amounts))))
    found = [
        sensitivity_max(
            *(tupled(explain), vectors.whole, moved),
            perturb_radius=RADIUS,
            n_perturb_samples=MOVES,
            max_examples_per_batch=step,
        )
        for explain in (vectors.gradient, vectors.attention, random)
    ]
    return torch.cat([part.cpu() for part in found]).double().numpy()


def mean_interval(values: npt.ArrayLike, *, draws: int = 2000, seed: int = 0) -> dict[str, float]:
    """A mean over users with its 95 % bootstrap interval.

    Args:
        values: (U,) one a user; at least one.
        draws: how often users are drawn.
        seed: of the draws.
    """
    known = np.asarray(values, dtype=np.float64)
    drawn = np.random.default_rng(seed).integers(0, len(known), (draws, len(known)))
    lo, hi = np.quantile(known[drawn].mean(axis=1), [0.025, 0.975])
    return {"mean": float(known.mean()), "lo": float(lo), "hi": float(hi)}


def sanity(
    store: FoldedStore,
    bundle: Bundle,
    rows: Ints,
    *,
    budget: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Infidelity and sensitivity over users.

    Args:
        store: the samples.
        bundle: the model.
        rows: numbers of samples with two merchants at least, one a user.
        budget: coalitions of a removal.
        seed: of sets, moves and removal.
        progress: called with (samples done, samples in all).

    Returns:
        {"infidelity": {"users", "vectors": {method: {"mean", "lo", "hi"}}, "refolding": the same},
        "sensitivity": {"users", "radius", "methods": {method: {"mean", "lo", "hi"}}}}.
    """
    wrong, moved = [], []
    for done, row in enumerate(rows):
        batch = store.read([int(row)])
        wrong.append(infidelities(bundle.model, batch, budget=budget, seed=seed + int(row)))
        moved.append(sensitivities(bundle.model, batch, seed=seed + int(row)))
        if progress:
            progress(done + 1, len(rows))
    found = np.stack(wrong) if wrong else np.zeros((0, 2, len(METHODS)))
    found = found[np.isfinite(found).all(axis=(1, 2))]
    told: dict[str, Any] = {"users": len(found)}
    for at, way in enumerate(("vectors", "refolding")):
        columns = zip(METHODS, found[:, at].T, strict=True)
        told[way] = {name: mean_interval(v, seed=seed) for name, v in columns if len(v)}
    columns = zip(METHODS[1:], np.array(moved).reshape(-1, 3).T, strict=True)
    return {
        "infidelity": told,
        "sensitivity": {
            "users": len(moved),
            "radius": RADIUS,
            "methods": {name: mean_interval(v, seed=seed) for name, v in columns if len(v)},
        },
    }
