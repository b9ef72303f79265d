"""Enough to decide: the fewest merchants, and of them payments, that alone keep a decision.

Merchants are put into the empty history, best first (a beam search over `removal.Coalitions`),
until the decision stands; then payments are taken out of those merchants as long as it still does.
What is left is folded and scored from the start before it is shown. The search is greedy: a smaller
set may exist, none that is shown fails.

Where the empty history alone is decided alike, nothing is needed for the decision, and what is
looked for is enough to reach the PD of the whole history.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lbsf_core.errors import LbsfError
from lbsf_core.explain.removal import Coalitions, refolds
from lbsf_core.explain.whatif import logit_of
from lbsf_core.fold.batch import FoldedBatch, Ints
from lbsf_core.model.bundle import Bundle
from lbsf_core.score.calibration import Calibration

Floats = npt.NDArray[np.float64]
Masks = npt.NDArray[np.bool_]
Decision = Literal["declined", "approved"]
#: (C,) logits -> (C,) whether each is enough.
Holds = Callable[[Floats], Masks]

#: Sets of merchants that are gone on from.
BEAM = 12
#: Room, in logits, for what single precision rounds off.
MARGIN = 1e-5
#: Most payments that are tried out one by one in a round.
MOST_TRIED = 512


@dataclass(frozen=True)
class Sufficient:
    """What alone keeps a decision.

    Attributes:
        decision: "declined" (PD at or above the threshold) or "approved".
        threshold: PD.
        pd: of the whole history.
        pd_alone: of what is kept alone, by a whole refold.
        goal: PD that is reached alone: the threshold, or that of the whole history where the empty
            one is decided alike.
        merchants: that are kept.
        payments: (K,) rows of the sample that are kept.
        of_merchants, of_payments: how many the sample has.
    """

    decision: Decision
    threshold: float
    pd: float
    pd_alone: float
    goal: float
    merchants: tuple[str, ...]
    payments: Ints
    of_merchants: int
    of_payments: int

    def words(self) -> str:
        """The finding in words."""
        some = (
            f"{len(self.payments)} of {self.of_payments} payments, at {len(self.merchants)} of "
            f"{self.of_merchants} merchants, alone "
        )
        if self.goal == self.threshold:
            return f"{some}are {self.decision} at {self.threshold:.1%} (PD {self.pd_alone:.1%})."
        return (
            f"The empty history is {self.decision} at {self.threshold:.1%} too. {some}have a PD of "
            f"{self.pd_alone:.1%}; the whole history has {self.pd:.1%}."
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "decision": self.decision,
            "threshold": self.threshold,
            "pd": self.pd,
            "pd_alone": self.pd_alone,
            "goal": self.goal,
            "merchants": list(self.merchants),
            "payments": [int(row) for row in self.payments],
            "of_merchants": self.of_merchants,
            "of_payments": self.of_payments,
            "words": self.words(),
        }


def sufficient(bundle: Bundle, batch: FoldedBatch, threshold: float) -> Sufficient:
    """The fewest merchants and payments of one sample that alone keep its decision.

    Raises:
        LbsfError: the threshold is no PD, or the model can't be asked for coalitions.
    """
    if not 0 < threshold < 1:
        raise LbsfError(f"a threshold is a PD between 0 and 1, not {threshold}.")
    calibration = Calibration(**bundle.calibration)
    target = float(calibration.logit(threshold))
    whole = logit_of(bundle, batch)
    # Turned so that more is better: how far on its own side of the threshold a history lies.
    side = 1.0 if whole >= target else -1.0
    coalitions = Coalitions(bundle.model, batch)
    empty = float(coalitions.logits(np.zeros((1, coalitions.merchants), dtype=bool))[0])
    aim = target if side * (empty - target) <= 0 else whole

    def holds(logits: Floats) -> Masks:
        room = MARGIN if aim == target else -MARGIN
        return np.asarray(side * (logits - aim) > room)

    merchants = _merchants(coalitions, side, holds)
    kept = np.isin(batch.segment_of_payment, merchants)
    kept = _payments(bundle, batch, kept, side, holds)
    rows = np.flatnonzero(kept)
    alone = logit_of(bundle, batch.keep(kept))
    if side * (alone - target) < 0:  # rounding: keep all of it
        kept = np.ones(len(batch.amounts), dtype=bool)
        rows, alone = np.flatnonzero(kept), whole
    names = batch.merchants.decode()
    there = np.unique(batch.segment_of_payment[rows])
    return Sufficient(
        decision="declined" if side > 0 else "approved",
        threshold=threshold,
        pd=float(calibration.pd(whole)),
        pd_alone=float(calibration.pd(alone)),
        goal=threshold if aim == target else float(calibration.pd(whole)),
        merchants=tuple(names[at] for at in there),
        payments=rows,
        of_merchants=len(names),
        of_payments=len(batch.amounts),
    )


def _merchants(coalitions: Coalitions, side: float, holds: Holds) -> Ints:
    """Segments of the smallest set that a beam search finds."""
    count = coalitions.merchants
    front = np.zeros((1, count), dtype=bool)
    for _ in range(count):
        grown = front[:, None] | np.eye(count, dtype=bool)[None]
        grown = np.unique(grown[~front], axis=0)
        logits = coalitions.logits(grown)
        best = np.argsort(-side * logits, kind="stable")
        if holds(logits)[best[0]]:
            return np.flatnonzero(grown[best[0]])
        front = grown[best[:BEAM]]
    return np.arange(count)


def _payments(
    bundle: Bundle,
    batch: FoldedBatch,
    kept: Masks,
    side: float,
    holds: Holds,
) -> Masks:
    """The same payments without those that the decision does not need."""
    logits = refolds(bundle.model, batch)
    while kept.sum() > 1:
        rows = np.flatnonzero(kept)[:MOST_TRIED]
        masks = np.repeat(kept[None], len(rows), axis=0)
        masks[np.arange(len(rows)), rows] = False
        without = logits(masks)
        order = rows[np.argsort(-side * without, kind="stable")]  # those that help least first
        # As many of them at once as may go: halves, since most of a long history may.
        sizes = np.unique(np.geomspace(1, len(order), 12).round().astype(np.int64))
        fewer = np.repeat(kept[None], len(sizes), axis=0)
        for at, size in enumerate(sizes):
            fewer[at, order[:size]] = False
        fewer = fewer[fewer.any(axis=1)]
        stands = np.flatnonzero(holds(logits(fewer)))
        if not len(stands):
            break
        kept = fewer[stands[-1]]
    return kept
