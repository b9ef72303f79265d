"""One explanation of one score: the additive tree, and where the model looked.

Contract (design.md, "Explanation contract"): the logit is attributed, never the probability;
merchant values sum to logit - baseline logit, payments to their merchant, fields to their payment.
A broken sum is reported by `problems`, never hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from pandas import DataFrame

from lbsf_core.explain.kinds import OTHER, merchant_kinds
from lbsf_core.explain.regular import regular
from lbsf_core.fold.batch import FoldedBatch

#: Largest error allowed in any sum of the tree, in logit units.
TOLERANCE = 1e-3

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Explanation:
    """Why one sample has its score. S merchants (segments), N payments, F fields, H heads.

    Attributes:
        user: user id.
        cutoff: last instant the model may see, UTC, exclusive.
        logit: the model's raw output for the sample.
        baseline_logit: its output for the baseline.
        pd: calibrated probability of default.
        delta: completeness error: sum of all field values - (logit - baseline_logit).
        method: engine in words, e.g. "integrated gradients".
        baseline: reference input in words.
        steps: interpolation steps the engine needed.
        fields: (F,) names of the fields.
        merchants: (S,) merchant of each segment, in segment order.
        offsets: (S + 1,) payments of segment s are rows offsets[s]:offsets[s + 1].
        timestamps: (N,) datetime64[us], UTC.
        amounts: (N,) signed, major currency unit.
        descriptions: (N,).
        field_attributions: (N, F) logit units.
        payment_attributions: (N,) logit units.
        merchant_attributions: (S,) logit units.
        merchant_weights: (S,) attention over merchants, sums to 1: where the model looked.
        payment_weights: (N,) attention over payments inside their merchant, sums to 1 per
            merchant.
        relation_weights: (H, S, S) attention between merchants, rows sum to 1; row = the
            merchant that looks, column = the merchant looked at.
        extras: extra field name -> (N,) values as shown in the table.
        kinds: (S,) kind of each merchant (`explain.kinds`); empty = nobody asked.
        regular: merchants paid week by week, fortnight by fortnight or month by month.
        merchant_lo, merchant_hi: (S,) 95 % interval of sampled merchant values; None = exact.
        payment_lo, payment_hi: (N,) the same of payments.
        opened: (S,) merchants whose payments were valued; those of others are NaN. None = all.
        others: logit units of not paying where only the baseline pays.
        coalitions: that were asked for; 0 where the engine asks for none.
        unstable: whether other coalitions might put other merchants first.
        warnings: what the reader must know, as sentences.
    """

    user: str
    cutoff: datetime
    logit: float
    baseline_logit: float
    pd: float
    delta: float
    method: str
    baseline: str
    steps: int
    fields: tuple[str, ...]
    merchants: tuple[str, ...]
    offsets: npt.NDArray[np.int64]
    timestamps: npt.NDArray[np.datetime64]
    amounts: Floats
    descriptions: tuple[str, ...]
    field_attributions: Floats
    payment_attributions: Floats
    merchant_attributions: Floats
    merchant_weights: Floats
    payment_weights: Floats
    relation_weights: Floats
    extras: dict[str, npt.NDArray[Any]]
    kinds: tuple[str, ...] = ()
    regular: frozenset[str] = frozenset()
    merchant_lo: Floats | None = None
    merchant_hi: Floats | None = None
    payment_lo: Floats | None = None
    payment_hi: Floats | None = None
    opened: npt.NDArray[np.bool_] | None = None
    others: float = 0.0
    coalitions: int = 0
    unstable: bool = False
    warnings: tuple[str, ...] = ()

    def problems(self, tolerance: float = TOLERANCE) -> list[str]:
        """Sums of the tree that do not add up, as plain sentences; empty when all do."""
        found = []
        total = float(self.merchant_attributions.sum()) + self.others
        gap = total - (self.logit - self.baseline_logit)
        if not abs(gap) <= tolerance:
            found.append(f"Merchants miss the score's distance to the baseline by {gap:+.4f}.")
        sums = (
            np.add.reduceat(
                np.append(self.payment_attributions, 0.0),
                np.minimum(self.offsets[:-1], len(self.amounts)),
            )
            if len(self.merchants)
            else np.zeros(0)
        )
        opened = slice(None) if self.opened is None else self.opened
        errors = np.abs(sums - self.merchant_attributions)[opened]
        worst = float(np.max(errors, initial=0.0))
        if not worst <= tolerance:
            found.append(f"The payments of a merchant miss its value by up to {worst:.4f}.")
        if not self.fields:  # the engine goes down to payments
            return found
        rows = self.field_attributions.sum(axis=1)
        worst = float(np.max(np.abs(rows - self.payment_attributions), initial=0.0))
        if not worst <= tolerance:
            found.append(f"The fields of a payment miss its value by up to {worst:.4f}.")
        return found

    @property
    def relations(self) -> Floats:
        """(S, S) relation weights, mean over heads."""
        mean: Floats = self.relation_weights.mean(axis=0)
        return mean

    def merchants_frame(self) -> DataFrame:
        """One row a merchant, in segment order.

        Columns: segment, merchant, kind, regular (bool), payments, total (signed), money_in,
        money_out, first, last, attribution, lo, hi (its 95 % interval), weight.
        """
        return self._merchants_frame.copy(deep=False)

    @cached_property
    def _merchants_frame(self) -> DataFrame:
        rows = []
        for s, merchant in enumerate(self.merchants):
            at = slice(int(self.offsets[s]), int(self.offsets[s + 1]))
            amounts, times = self.amounts[at], self.timestamps[at]
            rows.append(
                {
                    "segment": s,
                    "merchant": merchant,
                    "kind": self.kinds[s] if self.kinds else OTHER,
                    "regular": merchant in self.regular,
                    "payments": len(amounts),
                    "total": float(amounts.sum()),
                    "money_in": float(amounts[amounts > 0].sum()),
                    "money_out": float(-amounts[amounts < 0].sum()),
                    "first": times.min(),
                    "last": times.max(),
                    **self._merchant(s),
                    "weight": float(self.merchant_weights[s]),
                }
            )
        columns = ["segment", "merchant", "kind", "regular", "payments", "total", "money_in"]
        columns += ["money_out", "first", "last", "attribution", "lo", "hi", "weight"]
        return DataFrame(rows, columns=columns)

    def _merchant(self, s: int) -> dict[str, float]:
        """A merchant's value and its interval."""
        value = float(self.merchant_attributions[s])
        lo = value if self.merchant_lo is None else float(self.merchant_lo[s])
        hi = value if self.merchant_hi is None else float(self.merchant_hi[s])
        return {"attribution": value, "lo": lo, "hi": hi}

    def _payment(self, n: int) -> dict[str, float]:
        """A payment's value and its interval."""
        value = float(self.payment_attributions[n])
        lo = value if self.payment_lo is None else float(self.payment_lo[n])
        hi = value if self.payment_hi is None else float(self.payment_hi[n])
        return {"attribution": value, "lo": lo, "hi": hi}

    def payments_frame(self) -> DataFrame:
        """One row a payment, segment by segment, oldest first inside a segment.

        Columns: payment (row number), segment, merchant, timestamp, amount, description, the
        extra fields, attribution, lo, hi, weight, and one `field:<name>` column a field.
        """
        return self._payments_frame.copy(deep=False)

    @cached_property
    def _payments_frame(self) -> DataFrame:
        segment = np.repeat(np.arange(len(self.merchants)), np.diff(self.offsets))
        return DataFrame(
            {
                "payment": np.arange(len(self.amounts)),
                "segment": segment,
                "merchant": np.asarray(self.merchants, dtype=object)[segment],
                "timestamp": self.timestamps,
                "amount": self.amounts,
                "description": np.asarray(self.descriptions, dtype=object),
                **self.extras,
                "attribution": self.payment_attributions,
                "lo": self.payment_attributions if self.payment_lo is None else self.payment_lo,
                "hi": self.payment_attributions if self.payment_hi is None else self.payment_hi,
                "weight": self.payment_weights,
                **{f"field:{n}": self.field_attributions[:, f] for f, n in enumerate(self.fields)},
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON that `lbsf explain --json` prints (issue 2, acceptance 5).

        The payments of a merchant that was not opened are null.
        """
        merchants = []
        for s, merchant in enumerate(self.merchants):
            payments = [
                {
                    "timestamp": f"{np.datetime_as_string(self.timestamps[n], unit='s')}Z",
                    "amount": float(self.amounts[n]),
                    "description": self.descriptions[n],
                    **self._payment(n),
                    "weight": float(self.payment_weights[n]),
                    "fields": {
                        name: float(self.field_attributions[n, f])
                        for f, name in enumerate(self.fields)
                    },
                }
                for n in range(int(self.offsets[s]), int(self.offsets[s + 1]))
            ]
            merchants.append(
                {
                    "merchant": merchant,
                    **self._merchant(s),
                    "weight": float(self.merchant_weights[s]),
                    "payments": payments if self.opened is None or self.opened[s] else None,
                }
            )
        return {
            "user": self.user,
            "cutoff": self.cutoff.isoformat(),
            "logit": self.logit,
            "baseline_logit": self.baseline_logit,
            "pd": self.pd,
            "delta": self.delta,
            "method": self.method,
            "baseline": self.baseline,
            "steps": self.steps,
            "coalitions": self.coalitions,
            "unstable": self.unstable,
            "others": self.others,
            "problems": self.problems(),
            "warnings": list(self.warnings),
            "merchants": merchants,
            "relations": {
                "merchants": list(self.merchants),
                "weights": self.relations.tolist(),
            },
        }


def assemble(
    batch: FoldedBatch,
    *,
    pd: float,
    merchant_weights: Floats,
    payment_weights: Floats,
    relation_weights: Floats,
    **found: Any,  # noqa: ANN401 - what an engine says: fields of Explanation
) -> Explanation:
    """An explanation of one sample from what an engine found and where the model looked."""
    texts = {name: np.asarray(text.decode(), dtype=object) for name, text in batch.texts.items()}
    descriptions = tuple(texts.pop("description"))
    return Explanation(
        user=batch.user_ids[0],
        cutoff=datetime.fromtimestamp(int(batch.cutoffs[0]) / 1e6, tz=UTC),
        pd=pd,
        merchants=tuple(batch.merchants.decode()),
        offsets=batch.offsets,
        timestamps=batch.timestamps.view("datetime64[us]"),
        amounts=batch.amounts,
        descriptions=descriptions,
        merchant_weights=merchant_weights,
        payment_weights=payment_weights,
        relation_weights=relation_weights,
        extras={**texts, **batch.numbers},
        kinds=tuple(merchant_kinds(batch)),
        regular=frozenset(regular(batch)),
        **found,
    )
