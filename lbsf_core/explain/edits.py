"""What-if edits of one sample's payments: each is a refold, never a masked slot.

An edit names payments by their row in the sample as it was folded (rows do not move while edits are
applied one after another), or a merchant with all its payments. What an edit brings past the cutoff
or before the window leaves the history, as it would in a fold. Values of extra fields stay as they
were recorded: a balance is not worked out anew when a payment before it goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from lbsf_core.errors import EditError
from lbsf_core.fold.batch import DAY, FoldedBatch, Ints, Strings

Kind = Literal["remove", "scale", "shift", "add", "window", "cutoff"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: Kinds that change payments that are there: a merchant or rows say which.
_OF_PAYMENTS = ("remove", "scale", "shift")
#: What each kind must be told beside them.
_NEEDS = {
    "scale": ("factor",),
    "shift": ("days",),
    "add": ("merchant", "when", "amount"),
    "window": ("days",),
    "cutoff": ("when",),
}

#: Carries the rows of payments through the fold, beside the extra numbers.
_ROW = " row"


@dataclass(frozen=True)
class Edit:
    """One change.

    Attributes:
        kind: "remove", "scale" (amounts times `factor`), "shift" (by `days`, later where positive),
            "add" (a payment), "window" (only the last `days` before the cutoff), "cutoff" (move it
            back to `when`).
        merchant: whose payments; of "add", who is paid.
        payments: or these rows of the sample as it was.
        since: of the merchant's payments only those at or after this instant ("stop from a date").
        factor: of "scale", 0 or more.
        days: of "shift" and "window".
        when: of "add" and "cutoff".
        amount: of "add": signed, negative = money out.
        description: of "add".

    Raises:
        EditError: something is missing, or makes no sense.
    """

    kind: Kind
    merchant: str | None = None
    payments: tuple[int, ...] = ()
    since: datetime | None = None
    factor: float | None = None
    days: float | None = None
    when: datetime | None = None
    amount: float | None = None
    description: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise EditError(f"'{self.kind}' is no edit; choose one of {', '.join(KINDS)}.")
        for name in _NEEDS.get(self.kind, ()):
            if getattr(self, name) is None:
                raise EditError(f"edit '{self.kind}' needs '{name}'.")
        if self.kind in _OF_PAYMENTS and (self.merchant is None) == (not self.payments):
            raise EditError(f"edit '{self.kind}' needs a merchant, or rows of payments, not both.")
        for name in ("factor", "days", "amount"):
            value = getattr(self, name)
            if value is not None and not isfinite(value):
                raise EditError(f"edit '{self.kind}': {name} is {value}; it must be a number.")
        if self.factor is not None and self.factor < 0:
            raise EditError(f"factor is {self.factor}: money out can't become money in.")
        if self.kind == "window" and self.days is not None and self.days <= 0:
            raise EditError(f"a window of {self.days:g} days holds nothing; give more than 0.")
        for name in ("since", "when"):
            instant = getattr(self, name)
            if instant is not None and instant.tzinfo is None:
                object.__setattr__(self, name, instant.replace(tzinfo=UTC))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, without what is not set; `from_dict` reads it back."""
        found = {}
        for name, value in asdict(self).items():
            if value not in (None, (), ""):
                found[name] = value.isoformat() if isinstance(value, datetime) else value
        return found | ({"payments": list(self.payments)} if self.payments else {})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Edit:
        """From JSON values.

        Raises:
            EditError: an unknown key, a wrong value, or an edit that makes no sense.
        """
        unknown = sorted(set(data) - {f.name for f in fields(cls)})
        if unknown:
            raise EditError(f"'{unknown[0]}' is no part of an edit.")
        given = dict(data)
        try:
            for name in ("since", "when"):
                if given.get(name) is not None:
                    given[name] = datetime.fromisoformat(given[name])
            for name in ("factor", "days", "amount"):
                if given.get(name) is not None:
                    given[name] = float(given[name])
            given["payments"] = tuple(int(row) for row in given.get("payments", ()))
            return cls(**given)
        except (TypeError, ValueError) as error:
            if isinstance(error, EditError):
                raise
            raise EditError(f"edit {dict(data)} can't be read: {error}.") from error

    def words(self) -> str:
        """What it does, as a sentence without a full stop."""
        who = f"at {self.merchant}" if self.merchant else f"({len(self.payments)} of them)"
        since = f" from {self.since:%Y-%m-%d} on" if self.since else ""
        days = self.days or 0.0
        way = "later" if days > 0 else "earlier"
        told = {
            "remove": f"no payments {who}{since}",
            "scale": f"payments {who}{since} at {self.factor or 0:.0%} of their amount",
            "shift": f"payments {who}{since} {abs(days):g} days {way}",
            "add": f"a payment of {self.amount or 0:,.2f} at {self.merchant} on {_day(self.when)}",
            "window": f"only the last {days:g} days",
            "cutoff": f"scored on {_day(self.when)}",
        }
        return told[self.kind]


@dataclass(frozen=True)
class Edited:
    """A sample after edits.

    Attributes:
        batch: refolded.
        rows: (N,) the row that each payment had in the sample as it was; -1 = added.
        left: payments that shifts, a window or a cutoff brought out of the history.
    """

    batch: FoldedBatch
    rows: Ints
    left: int


def apply(batch: FoldedBatch, edits: Sequence[Edit], *, window_days: float | None = None) -> Edited:
    """Apply edits one after another to one sample and fold it again.

    Args:
        batch: one sample.
        edits: in their order.
        window_days: observation window; what shifts bring before it leaves the history.

    Raises:
        EditError: an edit names a merchant or a row that is not there, or a time that the sample
            can't know of.
    """
    if len(batch) != 1:
        raise EditError(f"edits are of one sample; the batch holds {len(batch)}.")
    made = _Payments(batch, window_days)
    for edit in edits:
        made.apply(edit)
    return made.fold()


class _Payments:
    """The payments of a sample while they are edited, flat, in no order."""

    def __init__(self, batch: FoldedBatch, window_days: float | None) -> None:
        self.batch, self.cutoff = batch, int(batch.cutoffs[0])
        self.days = window_days
        self.rows: Ints = np.arange(len(batch.amounts), dtype=np.int64)
        names = np.asarray(batch.merchants.decode(), dtype=object)
        self.merchants = names[batch.segment_of_payment]
        self.times, self.amounts = batch.timestamps, batch.amounts
        self.texts = {k: np.asarray(v.decode(), dtype=object) for k, v in batch.texts.items()}
        self.numbers = dict(batch.numbers)
        self.left = 0

    def apply(self, edit: Edit) -> None:
        match edit.kind:
            case "remove":
                self._keep(~self._chosen(edit))
            case "scale":
                chosen = self._chosen(edit)
                self.amounts = np.where(chosen, self.amounts * (edit.factor or 0.0), self.amounts)
            case "shift":
                by = round((edit.days or 0.0) * DAY)
                self.times = np.where(self._chosen(edit), self.times + by, self.times)
                self._leave()
            case "add":
                self._add(edit)
            case "window":
                self.days = min(edit.days or 0.0, self.days or np.inf)
                self._leave()
            case "cutoff":
                to = _microseconds(edit.when)
                if to > self.cutoff:
                    raise EditError(
                        f"the cutoff can only move back: {edit.when} lies after "
                        f"{_instant(self.cutoff)}, and what is paid until then is not known."
                    )
                self.cutoff = to
                self._leave()

    def _chosen(self, edit: Edit) -> npt.NDArray[np.bool_]:
        if edit.merchant is None:
            unknown = sorted(set(edit.payments) - set(range(len(self.batch.amounts))))
            if unknown:
                raise EditError(
                    f"payment {unknown[0]} is none of the {len(self.batch.amounts)} of "
                    f"{self.batch.user_ids[0]}."
                )
            return np.isin(self.rows, edit.payments)
        chosen = np.asarray(self.merchants == edit.merchant, dtype=bool)
        if not chosen.any() and edit.merchant not in self.batch.merchants.words:
            raise EditError(f"{self.batch.user_ids[0]} has no payments at '{edit.merchant}'.")
        if edit.since is not None:
            chosen &= self.times >= _microseconds(edit.since)
        return chosen

    def _add(self, edit: Edit) -> None:
        """One more payment; other texts as at the merchant's newest one, extra numbers missing."""
        assert edit.merchant is not None and edit.amount is not None  # noqa: S101 - checked at birth
        at = _microseconds(edit.when)
        if at >= self.cutoff:
            raise EditError(
                f"a payment at {edit.when} lies at or after the cutoff {_instant(self.cutoff)}, "
                "where the model sees nothing. Give an earlier time."
            )
        own = np.flatnonzero(self.merchants == edit.merchant)
        newest = own[np.argmax(self.times[own])] if len(own) else None
        for name, texts in self.texts.items():
            like = "" if newest is None else texts[newest]
            told = edit.description or like if name == "description" else like
            self.texts[name] = np.append(texts, told)
        self.numbers = {k: np.append(v, np.nan) for k, v in self.numbers.items()}
        self.merchants = np.append(self.merchants, edit.merchant)
        self.times, self.amounts = np.append(self.times, at), np.append(self.amounts, edit.amount)
        self.rows = np.append(self.rows, -1)
        self._leave()

    def _leave(self) -> None:
        """Drop what no longer lies between the window's start and the cutoff."""
        inside = self.times < self.cutoff
        if self.days is not None:
            inside &= self.times >= self.cutoff - round(self.days * DAY)
        self.left += int((~inside).sum())
        self._keep(inside)

    def _keep(self, kept: npt.NDArray[np.bool_]) -> None:
        self.rows, self.merchants = self.rows[kept], self.merchants[kept]
        self.times, self.amounts = self.times[kept], self.amounts[kept]
        self.texts = {k: v[kept] for k, v in self.texts.items()}
        self.numbers = {k: v[kept] for k, v in self.numbers.items()}

    def fold(self) -> Edited:
        names, codes = np.unique(self.merchants.astype(str), return_inverse=True)
        # Of one instant by amount, then description, as in a fold. By extra fields, which a fold
        # looks at then, those that were not edited lie in order already.
        described = self.texts["description"].astype(str)
        order = np.lexsort((self.rows, described, self.amounts, self.times, codes))
        counts = np.bincount(codes, minlength=len(names)).astype(np.int64)
        loose = replace(
            self.batch,
            cutoffs=np.array([self.cutoff], dtype=np.int64),
            user_offsets=np.array([0, len(names)], dtype=np.int64),
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            merchants=Strings.encode([str(name) for name in names]),
            timestamps=self.times[order],
            amounts=self.amounts[order],
            texts={k: Strings.encode(v[order]) for k, v in self.texts.items()},
            numbers={k: v[order] for k, v in self.numbers.items()}
            | {_ROW: self.rows[order].astype(np.float64)},
        )
        folded = loose.keep(np.ones(len(order), dtype=bool))  # puts segments in their order
        numbers = dict(folded.numbers)
        rows = numbers.pop(_ROW).astype(np.int64)
        return Edited(replace(folded, numbers=numbers), rows, self.left)


def _day(when: datetime | None) -> str:
    return f"{when:%Y-%m-%d}" if when else ""


def _microseconds(when: datetime | None) -> int:
    assert when is not None  # noqa: S101 - an edit that needs a time has one
    return round(when.timestamp() * 1_000_000)


def _instant(microseconds: int) -> str:
    return str(np.datetime64(microseconds, "us"))[:16]
