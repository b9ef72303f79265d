"""What would have to change: the smallest realistic edits that bring a score under a threshold.

For every merchant a few changes are tried out: none of its payments, none from some date on, all at
a part of their amount. Each is that merchant's segment folded anew, so a combination of changes
costs only the relation stage (`removal.Coalitions`). A beam search puts changes together, what is
not needed is dropped or weakened again, and every answer is verified by applying its edits and
scoring the refolded history from the start. Nothing is ever added, so no income is invented; what
is paid regularly (a salary, a rent) is left alone unless that is allowed: nobody stops it at will.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lbsf_core.errors import LbsfError
from lbsf_core.explain.edits import Edit
from lbsf_core.explain.regular import regular
from lbsf_core.explain.removal import Coalitions, segment_logits
from lbsf_core.explain.whatif import WhatIf, what_if
from lbsf_core.fold.batch import DAY, FoldedBatch
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.lbsf import States
from lbsf_core.score.calibration import Calibration

Floats = npt.NDArray[np.float64]

#: Days before the cutoff from which a merchant's payments may stop.
STOPS = (30, 60, 90, 180)
#: Parts of their amount that payments out may be brought to.
SCALES = (0.75, 0.5, 0.25)
#: Merchants that one answer may change, and answers that are given.
MOST_CHANGES, ANSWERS = 5, 3
#: Combinations that are gone on from, and changes that are tried on each.
BEAM, TRIED = 16, 80
#: Answers may share at most this part of their merchants.
MOST_SHARED = 0.5
#: Room, in logits, for what single precision rounds off.
MARGIN = 1e-5


@dataclass(frozen=True)
class Change:
    """One way to change one merchant's payments.

    Attributes:
        segment: of the merchant.
        edit: the same, as an edit.
        size: how much of the history it touches: mean of the share of payments that it changes and
            of the share of all money moved that it moves.
    """

    segment: int
    edit: Edit
    size: float


@dataclass(frozen=True)
class Answer:
    """Edits that bring the score under the threshold, verified by a whole refold.

    Attributes:
        changes: at most one a merchant, the largest first.
        result: the score before and after, by `what_if`.
    """

    changes: tuple[Change, ...]
    result: WhatIf

    @property
    def size(self) -> float:
        """How much of the history it touches, 0 to 1."""
        return sum(change.size for change in self.changes)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return self.result.to_dict() | {"size": self.size, "verified": True}


@dataclass(frozen=True)
class Counterfactuals:
    """What was found.

    Attributes:
        threshold: PD that the score is to come under.
        pd: of the sample as it is.
        answers: the smallest first; empty where none was found.
        told: why there are none, in words; "" where there are.
        tried: combinations that were scored.
    """

    threshold: float
    pd: float
    answers: tuple[Answer, ...]
    told: str
    tried: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "threshold": self.threshold,
            "pd": self.pd,
            "answers": [answer.to_dict() for answer in self.answers],
            "told": self.told,
            "tried": self.tried,
        }


def counterfactuals(
    bundle: Bundle,
    batch: FoldedBatch,
    threshold: float,
    *,
    answers: int = ANSWERS,
    leave: Collection[str] = (),
    touch_regular: bool = False,
) -> Counterfactuals:
    """Look for the smallest changes that bring the PD of one sample under a threshold.

    Args:
        bundle: the model and its calibration.
        batch: one sample.
        threshold: a PD; a sample is approved below it.
        answers: at most; they differ in at least half of their merchants.
        leave: merchants that must not be changed.
        touch_regular: whether regular payments, in and out, may go too.

    Raises:
        LbsfError: the threshold is no PD, or the model can't be asked for coalitions.
    """
    if not 0 < threshold < 1:
        raise LbsfError(f"a threshold is a PD between 0 and 1, not {threshold}.")
    calibration = Calibration(**bundle.calibration)
    search = _Search(bundle, batch, float(calibration.logit(threshold)))
    pd = float(calibration.pd(search.logit))
    if pd < threshold:
        told = f"The PD is {pd:.1%}, already under {threshold:.1%}."
        return Counterfactuals(threshold, pd, (), told, 0)
    search.changes = _changes(batch, leave, touch_regular)
    search.fold()
    found: list[Answer] = []
    banned: list[frozenset[int]] = [frozenset()]
    while banned and len(found) < answers:
        # Look again without one merchant of what was found: other answers use others.
        without = banned.pop(0)
        best = search.best(without)
        if best is None:
            continue
        answer = search.verified(best)
        if answer is None:
            continue
        merchants = {change.segment for change in answer.changes}
        if all(_shared(merchants, one) <= MOST_SHARED for one in found):
            found.append(answer)
        banned += [without | {m} for m in sorted(merchants) if without | {m} not in banned]
        banned = [one for one in banned if len(one) <= MOST_CHANGES][: 4 * answers]
    found.sort(key=lambda answer: (len(answer.changes), answer.size))
    told = "" if found else search.why_none(calibration)
    return Counterfactuals(threshold, pd, tuple(found), told, search.tried)


def _shared(merchants: set[int], answer: Answer) -> float:
    others = {change.segment for change in answer.changes}
    return len(merchants & others) / len(merchants | others)


def _changes(batch: FoldedBatch, leave: Collection[str], touch_regular: bool) -> list[Change]:
    """Every change of a single merchant that may be tried."""
    left = {*leave, *(() if touch_regular else regular(batch))}
    cutoff, payments = int(batch.cutoffs[0]), max(len(batch.amounts), 1)
    money = max(float(np.abs(batch.amounts).sum()), 1e-9)
    found = []
    for at, name in enumerate(batch.merchants.decode()):
        if name in left:
            continue
        own = slice(int(batch.offsets[at]), int(batch.offsets[at + 1]))
        amounts, times = batch.amounts[own], batch.timestamps[own]

        def size(gone: Floats, touched: int) -> float:
            return (touched / payments + float(np.abs(gone).sum()) / money) / 2

        found.append(Change(at, Edit("remove", name), size(amounts, len(amounts))))
        for days in STOPS:
            since = cutoff - days * DAY
            late = times >= since
            if 0 < late.sum() < len(late):
                when = datetime.fromtimestamp(since / 1e6, tz=UTC)
                edit = Edit("remove", name, since=when)
                found.append(Change(at, edit, size(amounts[late], int(late.sum()))))
        if (amounts < 0).all():
            for factor in SCALES:
                edit = Edit("scale", name, factor=factor)
                found.append(Change(at, edit, size(amounts * (1 - factor), len(amounts))))
    return found


class _Search:
    """Looks for sets of changes, at most one a merchant, that bring the logit below `target`.

    A set is a tuple of row numbers of `changes`, rising.
    """

    def __init__(self, bundle: Bundle, batch: FoldedBatch, target: float) -> None:
        self.bundle, self.batch, self.target = bundle, batch, target - MARGIN
        self.coalitions = Coalitions(bundle.model, batch)
        self.changes: list[Change] = []
        self.known: dict[tuple[int, ...], float] = {}
        ones = np.ones((1, self.coalitions.merchants), dtype=bool)
        self.logit = float(self.coalitions.logits(ones)[0])

    @property
    def tried(self) -> int:
        return len(self.known)

    def fold(self) -> None:
        """Fold each change's segment anew: their states stand behind those of the sample."""
        base, parts = self.coalitions, []
        self.state = np.full(len(self.changes), -1)  # -1: the merchant is gone
        for row, change in enumerate(self.changes):
            own = self.batch.keep(self.batch.segment_of_payment == change.segment)
            edit = change.edit
            if edit.kind == "scale":
                amounts = own.amounts * (edit.factor or 0.0)
                parts.append(replace(own, amounts=amounts))
            elif edit.since is not None:
                since = round(edit.since.timestamp() * 1e6)
                parts.append(own.keep(own.timestamps < since))
            else:
                continue
            self.state[row] = base.merchants + len(parts) - 1
        self.states = base.states
        if parts:
            with torch.inference_mode():
                more = base.model.segment_states(FoldedBatch.concat(parts))
            self.states = States.concat([self.states, more])
        self.segment = np.array([change.segment for change in self.changes], dtype=np.int64)
        self.size = np.array([change.size for change in self.changes])

    def logits(self, sets: Sequence[tuple[int, ...]]) -> Floats:
        """The logit with each set of changes made."""
        new = [one for one in dict.fromkeys(sets) if one not in self.known]
        if new:
            masks = np.zeros((len(new), len(self.states)), dtype=bool)
            masks[:, : self.coalitions.merchants] = True
            for row, one in enumerate(new):
                rows = list(one)
                masks[row, self.segment[rows]] = False
                states = self.state[rows]
                masks[row, states[states >= 0]] = True
            logits = segment_logits(self.coalitions.model, self.states, masks)
            self.known |= dict(zip(new, logits.tolist(), strict=True))
        return np.array([self.known[one] for one in sets])

    def best(self, banned: frozenset[int]) -> tuple[int, ...] | None:
        """The set of fewest merchants, then least size, that reaches the target; None = none."""
        allowed = [r for r in range(len(self.changes)) if self.changes[r].segment not in banned]
        if not allowed:
            return None
        alone = self.logits([(row,) for row in allowed])
        order = np.argsort(alone, kind="stable")
        tried = [allowed[at] for at in order[:TRIED]]
        sets = [(row,) for row in allowed]
        for _ in range(MOST_CHANGES):
            logits = self.logits(sets)
            reached = [one for one, logit in zip(sets, logits, strict=True) if logit <= self.target]
            if reached:
                smallest = min(reached, key=self._size)
                return self._weakened(smallest)
            front = [sets[at] for at in np.argsort(logits, kind="stable")[:BEAM]]
            sets = list(
                dict.fromkeys(
                    tuple(sorted((*one, row)))
                    for one in front
                    for row in tried
                    if self.changes[row].segment not in self.segment[list(one)]
                )
            )
            if not sets:
                return None
        return None

    def _size(self, one: tuple[int, ...]) -> float:
        return float(self.size[list(one)].sum())

    def _weakened(self, one: tuple[int, ...]) -> tuple[int, ...]:
        """The same with each change dropped or made smaller while the target is kept."""
        while True:
            ways: list[tuple[int, ...]] = []
            for row in one:
                rest = tuple(r for r in one if r != row)
                ways.append(rest)
                others = np.flatnonzero(
                    (self.segment == self.segment[row]) & (self.size < self.size[row])
                )
                ways += [tuple(sorted((*rest, int(other)))) for other in others]
            ways = [way for way in ways if way]
            if not ways:
                return one
            kept = [
                way
                for way, logit in zip(ways, self.logits(ways), strict=True)
                if logit <= self.target
            ]
            if not kept:
                return one
            one = min(kept, key=lambda way: (len(way), self._size(way)))

    def verified(self, one: tuple[int, ...]) -> Answer | None:
        """The set as edits, applied and scored from the start; None if that is not under."""
        rows = sorted(one, key=lambda row: -self.size[row])
        changes = tuple(self.changes[row] for row in rows)
        result = what_if(self.bundle, self.batch, [change.edit for change in changes])
        threshold = self.target + MARGIN
        return Answer(changes, result) if result.after < threshold else None

    def why_none(self, calibration: Calibration) -> str:
        """Why nothing was found, with the best that was."""
        if not self.known:
            return (
                "Nothing may be changed: there is no payment, or all are regular or to be "
                "left alone."
            )
        best = min(self.known, key=lambda one: self.known[one])
        pd = float(calibration.pd(self.known[best]))
        words = "; ".join(self.changes[row].edit.words() for row in best)
        return (
            f"None found: no change of up to {MOST_CHANGES} merchants brings the PD under "
            f"{float(calibration.pd(self.target)):.1%}. The lowest that was reached is {pd:.1%}: "
            f"{words}."
        )
