"""Sequence what-if: the score after edits, and the score as it stood at earlier cutoffs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from lbsf_core.errors import EditError
from lbsf_core.explain.attention import whole_logits
from lbsf_core.explain.edits import Edit, Edited, apply
from lbsf_core.fold.batch import DAY, FoldedBatch
from lbsf_core.model.bundle import Bundle
from lbsf_core.score.calibration import Calibration

#: Earlier cutoffs of a score history.
MONTHS = 12


@dataclass(frozen=True)
class WhatIf:
    """A score before and after edits.

    Attributes:
        edits: what was changed.
        before, after: logits.
        pd_before, pd_after: calibrated.
        edited: the refolded sample, and which payments are which.
    """

    edits: tuple[Edit, ...]
    before: float
    after: float
    pd_before: float
    pd_after: float
    edited: Edited

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        batch = self.edited.batch
        return {
            "edits": [edit.to_dict() | {"words": edit.words()} for edit in self.edits],
            "logit": {"before": self.before, "after": self.after},
            "pd": {"before": self.pd_before, "after": self.pd_after},
            "difference": {
                "logit": self.after - self.before,
                "pd": self.pd_after - self.pd_before,
            },
            "payments": len(batch.amounts),
            "merchants": len(batch.merchants),
            "left": self.edited.left,
        }


def logit_of(bundle: Bundle, batch: FoldedBatch) -> float:
    """The logit of one sample, by a whole forward pass."""
    return float(whole_logits(bundle.model, batch)[0])


def what_if(
    bundle: Bundle, batch: FoldedBatch, edits: Sequence[Edit], *, window_days: float | None = None
) -> WhatIf:
    """Score one sample before and after edits; every edit is a refold.

    Args:
        bundle: the model and its calibration.
        batch: one sample.
        edits: applied one after another.
        window_days: observation window of the store.

    Raises:
        EditError: an edit does not fit the sample.
    """
    edited = apply(batch, edits, window_days=window_days)
    before, after = logit_of(bundle, batch), logit_of(bundle, edited.batch)
    old, new = Calibration(**bundle.calibration).pd([before, after])
    return WhatIf(tuple(edits), before, after, float(old), float(new), edited)


@dataclass(frozen=True)
class Standing:
    """A score at an earlier cutoff.

    Attributes:
        cutoff: exclusive, UTC.
        logit, pd: the score of what was paid before it.
        payments: that it rests on.
        whole: whether the whole window before this cutoff is known; where it reaches back behind
            the first payment that was folded, what lay there is missing.
    """

    cutoff: datetime
    logit: float
    pd: float
    payments: int
    whole: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"cutoff": self.cutoff.isoformat()}


def score_history(
    bundle: Bundle, batch: FoldedBatch, *, window_days: float | None = None, months: int = MONTHS
) -> list[Standing]:
    """The score month by month, the cutoff moved back, oldest first; the last is today's.

    Args:
        bundle: the model and its calibration.
        batch: one sample.
        window_days: observation window; None = all history.
        months: how far to go back; cutoffs before the first payment are left out.

    Raises:
        EditError: the batch holds more or fewer samples than one.
    """
    if len(batch) != 1:
        raise EditError(f"a history is of one sample; the batch holds {len(batch)}.")
    today = int(batch.cutoffs[0])
    stamp = pd.Timestamp(today, unit="us", tz="UTC").as_unit("us")
    first = int(batch.timestamps.min()) if len(batch.timestamps) else today
    earlier: list[int] = []
    for back in range(1, months + 1):
        when = stamp - pd.DateOffset(months=back)
        if (cutoff := int(when.as_unit("us").asm8.astype(np.int64))) <= first:
            break
        earlier.insert(0, cutoff)
    cutoffs = np.array([*earlier, today], dtype=np.int64)
    copies = batch.select(np.zeros(len(cutoffs), dtype=np.int64))
    limit = np.repeat(cutoffs, copies.payment_counts)
    start = np.iinfo(np.int64).min if window_days is None else limit - round(window_days * DAY)
    kept = copies.keep((copies.timestamps < limit) & (copies.timestamps >= start))
    kept = replace(kept, cutoffs=cutoffs)
    logits = whole_logits(bundle.model, kept)
    pds = Calibration(**bundle.calibration).pd(logits)
    return [
        Standing(
            cutoff=datetime.fromtimestamp(int(cutoffs[at]) / 1e6, tz=UTC),
            logit=float(logits[at]),
            pd=float(pds[at]),
            payments=int(kept.payment_counts[at]),
            whole=window_days is None or at == len(cutoffs) - 1,
        )
        for at in range(len(cutoffs))
    ]


__all__ = ["MONTHS", "Edit", "Standing", "WhatIf", "logit_of", "score_history", "what_if"]
