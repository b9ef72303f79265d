"""From logits to probabilities of default (PD): Platt scaling, never exactly 0 or 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lbsf_core.errors import LbsfError

Floats = npt.NDArray[np.float64]

#: A PD is kept inside [FLOOR, 1 - FLOOR]: no finite history proves a certainty.
FLOOR = 1e-5


@dataclass(frozen=True)
class Calibration:
    """PD = sigmoid(slope * logit + intercept). The slope is positive: the order never changes."""

    slope: float = 1.0
    intercept: float = 0.0

    def pd(self, logits: npt.ArrayLike) -> Floats:
        """Probabilities of default of raw logits, any shape."""
        z = self.slope * np.asarray(logits, dtype=np.float64) + self.intercept
        p = 0.5 * (1.0 + np.tanh(0.5 * z))  # the logistic function without overflow
        return np.clip(p, FLOOR, 1.0 - FLOOR)

    def logit(self, pd: npt.ArrayLike) -> Floats:
        """The raw logit of a PD: inverse of `pd` inside its bounds."""
        p = np.clip(np.asarray(pd, dtype=np.float64), FLOOR, 1.0 - FLOOR)
        return (np.log(p / (1.0 - p)) - self.intercept) / self.slope

    def with_prior(self, trained: float, prior: float) -> Calibration:
        """The same score where the default rate is another one (Elkan 2001: odds times a factor).

        Args:
            trained: default rate of the samples that the calibration was fitted on.
            prior: default rate of the samples to be scored.

        Raises:
            LbsfError: a rate lies outside (0, 1).
        """
        for name, rate in (("default rate of training", trained), ("--prior", prior)):
            if not 0 < rate < 1:
                raise LbsfError(f"{name} is {rate}; it must lie between 0 and 1.")
        shift = np.log(prior / (1 - prior)) - np.log(trained / (1 - trained))
        return Calibration(self.slope, self.intercept + float(shift))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"slope": self.slope, "intercept": self.intercept}


def fit_calibration(logits: Floats, labels: Floats) -> Calibration:
    """Platt scaling fitted on samples that training did not fit to (validation).

    With one class only, or with ranking turned round, only the mean can be learned honestly: the
    slope stays 1 and the intercept meets the (add-one smoothed) default rate.

    Args:
        logits: (n,) raw logits.
        labels: (n,) 1 = bad, 0 = good.
    """
    from sklearn.linear_model import LogisticRegression  # late: a page asks for PDs alone

    if 0 < labels.sum() < len(labels):
        fit = LogisticRegression(C=100.0).fit(logits[:, None], labels)
        slope = float(fit.coef_[0, 0])
        if slope > 0.05:
            return Calibration(slope, float(fit.intercept_[0]))
    rate = (labels.sum() + 1.0) / (len(labels) + 2.0)
    centre = float(np.mean(logits)) if len(logits) else 0.0
    return Calibration(1.0, float(np.log(rate / (1.0 - rate)) - centre))
