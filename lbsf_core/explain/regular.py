"""Which merchants are paid, or pay in, regularly: a salary, a rent, an instalment."""

from __future__ import annotations

import numpy as np

from lbsf_core.fold.batch import DAY, FoldedBatch

#: Regular: at least so many payments, in the middle so many days apart, of like amounts (spread
#: over mean).
REGULAR_PAYMENTS, REGULAR_GAPS = 3, ((6.0, 8.0), (13.0, 16.0), (26.0, 36.0))
REGULAR_SPREAD = 0.35


def regular(batch: FoldedBatch) -> list[str]:
    """Merchants paid, or paying in, week by week, fortnight by fortnight or month by month."""
    found = []
    for at, name in enumerate(batch.merchants.decode()):
        own = slice(int(batch.offsets[at]), int(batch.offsets[at + 1]))
        amounts, times = batch.amounts[own], batch.timestamps[own]
        if len(times) < REGULAR_PAYMENTS or abs(amounts.mean()) < 1e-9:
            continue
        gap = float(np.median(np.diff(times))) / DAY
        alike = float(amounts.std() / abs(amounts.mean())) <= REGULAR_SPREAD
        if alike and any(low <= gap <= high for low, high in REGULAR_GAPS):
            found.append(name)
    return found
