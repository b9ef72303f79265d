"""A sample whose score follows its payments: one more payment encodes one merchant anew.

Nothing of a merchant's vector depends on the user's other merchants, so the vectors of all are kept
and only the merchant that was paid is encoded again; relations and the head then see them all. The
logit is that of the same payments folded and scored from the start (tested to 1e-5), late and
repeated payments included, and what it costs does not grow with the history.

The cutoff stays: how long ago a payment was is counted back from it. At another cutoff every
payment has another age, and the sample is encoded as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import isfinite, nan
from typing import TYPE_CHECKING

import numpy as np
import torch

from lbsf_core.errors import LbsfError
from lbsf_core.fold.batch import DAY, FoldedBatch, Strings
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.lbsf import LBSF, States
from lbsf_core.score.calibration import Calibration

if TYPE_CHECKING:  # it loads a compiler
    from lbsf_core.score.lean import Lean

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def check_by_merchant(model: LBSF) -> None:
    """Raise where a merchant's vector depends on the user's other merchants.

    Raises:
        LbsfError: the model reads the gap to payments at other merchants.
    """
    if model.config.user_gap:
        raise LbsfError(
            "this model reads how long before a payment the user paid at any merchant, so that one "
            "payment changes the vectors of several. Train it again with user_gap = false."
        )


class LiveSample:
    """One sample that payments come to.

    Args:
        bundle: the model and its calibration.
        batch: one sample, folded without caps.
        window_days: of the fold; payments before it are not seen.
        lean: the bundle's model in compiled loops, one for all samples: a payment then takes half
            the time (`lbsf bench update`). By default the model itself, which needs no compiler.

    Raises:
        LbsfError: the batch holds more or fewer samples than one, the model reads the gap to
            payments at other merchants (`ModelConfig.user_gap`), or the loops are another model's.
    """

    def __init__(
        self,
        bundle: Bundle,
        batch: FoldedBatch,
        *,
        window_days: int | None = None,
        lean: Lean | None = None,
    ) -> None:
        if len(batch) != 1:
            raise LbsfError(f"a live sample is one; the batch holds {len(batch)}.")
        check_by_merchant(bundle.model)
        if lean is not None and lean.model is not bundle.model:
            raise LbsfError("these compiled loops are of another model; give `Lean(bundle.model)`.")
        self._model: LBSF = bundle.model.eval()
        self._lean = lean
        self._encode = self._model.segment_states if lean is None else lean.states
        self._calibration = Calibration(**bundle.calibration)
        cutoff = int(batch.cutoffs[0])
        self._since = cutoff - window_days * DAY if window_days else np.iinfo(np.int64).min
        self._nothing = batch.keep(np.zeros(len(batch.amounts), dtype=bool))
        segment = batch.segment_of_payment
        names = batch.merchants.decode()
        self._place = {name: at for at, name in enumerate(names)}
        self._segments = [batch.keep(segment == at) for at in range(len(names))]
        with torch.inference_mode():
            self._states = self._encode(batch)
            self.logit = self._score()

    @property
    def pd(self) -> float:
        """Calibrated probability of default."""
        return float(self._calibration.pd(self.logit))

    @property
    def payments(self) -> int:
        """How many the score sees."""
        return sum(len(segment.amounts) for segment in self._segments)

    def pay(
        self,
        merchant: str,
        when: datetime,
        amount: float,
        description: str = "",
        extra: Mapping[str, str | float] | None = None,
    ) -> float:
        """Add one payment; gives the logit with it.

        Args:
            merchant: who was paid, as the fold names them.
            when: an instant with its zone; at or after the cutoff, or before the window, the
                payment is not seen and nothing changes.
            amount: signed, negative = money out.
            description: its text.
            extra: extra field -> value; one that is missing reads as unknown.

        Raises:
            LbsfError: the instant has no zone, or the amount is no number.
        """
        if when.tzinfo is None:
            raise LbsfError(f"{when} has no time zone; give the instant with one.")
        if not isfinite(amount):
            raise LbsfError(f"an amount of {amount} is no number.")
        time = (when.astimezone(UTC) - _EPOCH) // _MICROSECOND
        if not self._since <= time < self._nothing.cutoffs[0]:
            return self.logit
        at = self._place.get(merchant)
        before = self._nothing if at is None else self._segments[at]
        given = {"description": description, **(extra or {})}
        segment = _with_payment(before, merchant, time, float(amount), given)
        with torch.inference_mode():
            fresh = self._encode(segment)
            if at is None:
                self._place[merchant] = len(self._segments)
                self._segments.append(segment)
                self._states = States.concat([self._states, fresh])
            else:
                self._segments[at] = segment
                for kept, new in ((getattr(each, name) for each in (self._states, fresh))
                                  for name in ("vectors", "sums", "days")):  # fmt: skip
                    kept[at] = new[0]
            self.logit = self._score()
        return self.logit

    def _score(self) -> float:
        if self._lean is not None:
            return float(self._lean.logits_of(self._states, np.array([0, len(self._states)]))[0])
        offsets = torch.tensor([0, len(self._states)], device=self._states.vectors.device)
        totals = self._states.sums.sum(dim=0, keepdim=True)
        logits = self._model.logits_of_segments(
            self._states.vectors, self._states.days, offsets, totals
        )
        return float(logits[0])


def _with_payment(
    segment: FoldedBatch,
    merchant: str,
    time: int,
    amount: float,
    given: Mapping[str, str | float],
) -> FoldedBatch:
    """One segment, or none yet, and one payment more: where the fold would put it."""
    texts = {name: column.decode() for name, column in segment.texts.items()}
    numbers = {name: column.tolist() for name, column in segment.numbers.items()}
    fields = [*(n for n in texts if n != "description"), *numbers]
    new = (amount, given["description"], *(given.get(n, "" if n in texts else nan) for n in fields))
    at = int(np.searchsorted(segment.timestamps, time, side="right"))
    while at and segment.timestamps[at - 1] == time:
        rest = ((texts | numbers)[n][at - 1] for n in ("description", *fields))
        if (float(segment.amounts[at - 1]), *rest) <= new:
            break
        at -= 1
    for name, column in (*texts.items(), *numbers.items()):
        column.insert(at, given.get(name, "" if name in texts else nan))
    return replace(
        segment,
        user_offsets=np.array([0, 1]),
        offsets=np.array([0, len(segment.amounts) + 1]),
        merchants=Strings(np.zeros(1, dtype=np.int64), (merchant,)),
        timestamps=np.insert(segment.timestamps, at, time),
        amounts=np.insert(segment.amounts, at, amount),
        texts={name: Strings.encode(column) for name, column in texts.items()},
        numbers={name: np.array(column, dtype=np.float64) for name, column in numbers.items()},
    )
