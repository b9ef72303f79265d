"""The table of scores, from the logits of a store's samples."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.score.calibration import Calibration
from lbsf_core.score.scorer import base_rate


def score_table(
    store: FoldedStore,
    bundle: Bundle,
    logits: npt.NDArray[np.float64],
    *,
    prior: float | None = None,
) -> pa.Table:
    """Scores of every sample of a store, in store order.

    Args:
        store: the samples.
        bundle: whose logits these are, and whose calibration makes them PDs.
        logits: (samples,).
        prior: default rate of these samples, where it differs from that of training.

    Returns:
        Columns: sample, user_id, cutoff, label, logit, pd.
    """
    calibration = Calibration(**bundle.calibration)
    if prior is not None:
        calibration = calibration.with_prior(base_rate(bundle), prior)
    names = ["sample", "user_id", "cutoff", "label"]
    table = pa.Table.from_pandas(store.samples[names], preserve_index=False)
    for name, values in (("logit", logits), ("pd", calibration.pd(logits))):
        table = table.append_column(name, pa.array(values))
    return table
