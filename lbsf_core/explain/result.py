"""One explanation of one score: the additive tree, and where the model looked.

Contract (design.md, "Explanation contract"): the logit is attributed, never the probability;
merchant values sum to logit - baseline logit, payments to their merchant, fields to their payment.
A broken sum is reported by `problems`, never hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from pandas import DataFrame

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

    def problems(self, tolerance: float = TOLERANCE) -> list[str]:
        """Sums of the tree that do not add up, as plain sentences; empty when all do."""
        found = []
        gap = float(self.merchant_attributions.sum()) - (self.logit - self.baseline_logit)
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
        worst = float(np.max(np.abs(sums - self.merchant_attributions), initial=0.0))
        if not worst <= tolerance:
            found.append(f"The payments of a merchant miss its value by up to {worst:.4f}.")
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

        Columns: segment, merchant, payments, total (signed), money_in, money_out, first, last,
        attribution, weight.
        """
        rows = []
        for s, merchant in enumerate(self.merchants):
            at = slice(int(self.offsets[s]), int(self.offsets[s + 1]))
            amounts, times = self.amounts[at], self.timestamps[at]
            rows.append(
                {
                    "segment": s,
                    "merchant": merchant,
                    "payments": len(amounts),
                    "total": float(amounts.sum()),
                    "money_in": float(amounts[amounts > 0].sum()),
                    "money_out": float(-amounts[amounts < 0].sum()),
                    "first": times.min(),
                    "last": times.max(),
                    "attribution": float(self.merchant_attributions[s]),
                    "weight": float(self.merchant_weights[s]),
                }
            )
        columns = ["segment", "merchant", "payments", "total", "money_in", "money_out"]
        return DataFrame(rows, columns=[*columns, "first", "last", "attribution", "weight"])

    def payments_frame(self) -> DataFrame:
        """One row a payment, segment by segment, oldest first inside a segment.

        Columns: payment (row number), segment, merchant, timestamp, amount, description, the
        extra fields, attribution, weight, and one `field:<name>` column a field.
        """
        segment = np.repeat(np.arange(len(self.merchants)), np.diff(self.offsets))
        frame = DataFrame(
            {
                "payment": np.arange(len(self.amounts)),
                "segment": segment,
                "merchant": np.asarray(self.merchants, dtype=object)[segment],
                "timestamp": self.timestamps,
                "amount": self.amounts,
                "description": np.asarray(self.descriptions, dtype=object),
                **self.extras,
                "attribution": self.payment_attributions,
                "weight": self.payment_weights,
            }
        )
        for f, name in enumerate(self.fields):
            frame[f"field:{name}"] = self.field_attributions[:, f]
        return frame

    def to_dict(self) -> dict[str, Any]:
        """The JSON that `lbsf explain --json` prints (issue 2, acceptance 5)."""
        merchants = []
        for s, merchant in enumerate(self.merchants):
            payments = [
                {
                    "timestamp": f"{np.datetime_as_string(self.timestamps[n], unit='s')}Z",
                    "amount": float(self.amounts[n]),
                    "description": self.descriptions[n],
                    "attribution": float(self.payment_attributions[n]),
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
                    "attribution": float(self.merchant_attributions[s]),
                    "weight": float(self.merchant_weights[s]),
                    "payments": payments,
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
            "problems": self.problems(),
            "merchants": merchants,
            "relations": {
                "merchants": list(self.merchants),
                "weights": self.relations.tolist(),
            },
        }
