"""What a history is held against: nothing at all, a real typical user, or a cohort.

A value only says what something does *compared with* a baseline, and another baseline may put other
merchants first. `agreement` counts how many of the first five stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from lbsf_core.errors import LbsfError
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.lbsf import LBSF
from lbsf_core.score.calibration import Calibration

Floats = npt.NDArray[np.float64]
BaselineName = Literal["typical payment", "empty history", "typical user", "cohort mean"]
BASELINES: tuple[BaselineName, ...] = get_args(BaselineName)

#: Those that are made of real samples: a workspace keeps which.
OF_SAMPLES: tuple[BaselineName, ...] = ("typical user", "cohort mean")
#: The one of them that every explanation is compared with, and the other.
CHECK, COHORT = OF_SAMPLES
#: Samples among which a medoid is looked for: it costs their square.
MOST_CANDIDATES = 2_000
#: Real samples that a cohort's mean is taken over.
REFERENCES = 8
#: Merchants that are compared between baselines, and the least share that must be the same.
FIRST, LEAST_AGREEMENT = 5, 0.6


@dataclass(frozen=True)
class Baseline:
    """A reference.

    Attributes:
        name: one of `BASELINES`.
        words: what it is, for the reader.
        batch: the real samples that it is made of; None where there is none.
        check_steps: of integrated gradients, that a comparison with it begins with; see
            `gradient.steps_to_check`. None = as many as an explanation.
    """

    name: BaselineName
    words: str
    batch: FoldedBatch | None = None
    check_steps: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Its samples' numbers, its words and its steps, as plain JSON values."""
        samples = [] if self.batch is None else self.batch.samples.tolist()
        return {"samples": samples, "words": self.words, "check_steps": self.check_steps}

    @classmethod
    def from_dict(cls, name: BaselineName, kept: Mapping[str, Any], store: FoldedStore) -> Baseline:
        """What `to_dict` told of a baseline of real samples, read from their store again."""
        # What was kept before steps were has none.
        return cls(name, kept["words"], store.read(kept["samples"]), kept.get("check_steps"))


EMPTY = Baseline("empty history", "empty history")
#: Of integrated gradients alone: the mean vector of every field over the training part.
TYPICAL_PAYMENT = Baseline("typical payment", "typical payment in every slot")


def find_baseline(
    store: FoldedStore,
    bundle: Bundle,
    name: str,
    *,
    threshold: float | None = None,
    cohort: Sequence[int] | None = None,
    seed: int = 0,
) -> Baseline:
    """Make a baseline from the samples of a store.

    Args:
        store: where typical users and cohorts come from.
        bundle: the model, by whose user vectors "typical" is meant.
        name: one of `BASELINES`.
        threshold: PD below which a sample is approved; by default the median PD of those drawn.
        cohort: numbers of the samples of the cohort; by default all approved ones.
        seed: of the samples that are drawn where there are many.

    Raises:
        LbsfError: there is no such baseline, or nobody is approved.
    """
    if name not in BASELINES:
        raise LbsfError(f"'{name}' is no baseline; choose one of {', '.join(BASELINES)}.")
    if name == "empty history":
        return EMPTY
    if name == "typical payment":
        return TYPICAL_PAYMENT
    rng = np.random.default_rng(seed)
    counts = store.samples["payments"].to_numpy()
    pool = np.flatnonzero(counts > 0) if cohort is None else np.asarray(cohort, dtype=np.int64)
    drawn = np.sort(rng.permutation(pool)[:MOST_CANDIDATES])
    vectors, logits = _represented(bundle.model, store, drawn)
    chosen = np.ones(len(drawn), dtype=bool)
    told = "of the cohort"
    if cohort is None:
        pds = Calibration(**bundle.calibration).pd(logits)
        limit = float(np.median(pds)) if threshold is None else threshold
        chosen = np.asarray(pds < limit)
        told = f"with a PD below {limit:.1%}"
    if not chosen.any():
        raise LbsfError(
            f"{store.path}: no sample {told}, so nobody can stand for it. Choose another "
            "threshold or baseline."
        )
    rows, vectors = drawn[chosen], vectors[chosen]
    if name == "typical user":
        from scipy.spatial.distance import cdist  # late: a page is given its baselines

        spread = np.maximum(vectors.std(axis=0), 1e-6)
        medoid = int(cdist(vectors / spread, vectors / spread).sum(axis=1).argmin())
        batch = store.read([int(rows[medoid])])
        when = f"{np.datetime64(int(batch.cutoffs[0]), 'us')}"[:10]
        return Baseline("typical user", f"user {batch.user_ids[0]} at {when}, {told}", batch)
    some = np.sort(rng.permutation(rows)[:REFERENCES])
    words = f"mean over {len(some)} of {len(rows):,} samples {told}"
    return Baseline("cohort mean", words, store.read(some))


def _represented(
    model: LBSF, store: FoldedStore, rows: npt.NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """(n, U) user vectors and (n,) logits of some samples."""
    vectors, logits = [], []
    for part in np.array_split(rows, max(1, len(rows) // 256)):
        batch = store.read(part)
        with torch.inference_mode():
            layout = model.layout(batch)
            users, _ = model.eval().represent(model.fused(batch), model.statistics(batch), layout)
            vectors.append(users.double().cpu().numpy())
            logits.append(model.head(model.forecast(users))[:, 0].double().cpu().numpy())
    return np.concatenate(vectors), np.concatenate(logits)


def agreement(one: Floats, other: Floats, first: int = FIRST) -> float:
    """Jaccard index of the merchants of largest size under two baselines, 0 to 1.

    Args:
        one, other: (S,) values of the same merchants.
        first: how many of each are compared.
    """
    tops = [set(np.argsort(-np.abs(v), kind="stable")[:first].tolist()) for v in (one, other)]
    union = tops[0] | tops[1]
    return len(tops[0] & tops[1]) / len(union) if union else 1.0


def disagreement(values: Floats, others: dict[str, Floats]) -> list[str]:
    """Sentences for the baselines under which other merchants come first; [] where none does."""
    return [
        f"Held against {name}, other merchants come first: {share:.0%} of the first {FIRST} are "
        "the same."
        for name, share in ((n, agreement(values, v)) for n, v in others.items())
        if share < LEAST_AGREEMENT
    ]
