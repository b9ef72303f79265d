"""Who is like this user, as the model sees it; the vectors lie ready (`embeddings.py`)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from lbsf_core.workspace.layout import VECTOR, VECTORS
from lbsf_core.workspace.queries import Tables
from lbsf_core.workspace.types import Case

#: Nearest samples that are looked at: far more than are shown.
MET = 500
#: Vectors that are read at a time: 2 MB.
PIECE = 32_768

#: What is said of a similar sample.
_OF_A_SAMPLE = (
    *("sample", "user_id", "cutoff", "pd", "label", "part", "payments", "top_merchant"),
)


class Nearest:
    """The part of a workspace that compares samples with each other; no model is needed."""

    _tables: Tables

    def similar(self, case: Case, count: int = 10) -> pd.DataFrame:
        """Samples of other users whose representation is nearest, the nearest first.

        Samples without payments are left out, and so is each user's second sample.

        Columns: sample, user_id, cutoff, similarity (cosine, -1 to 1), pd, label, part, payments,
        top_merchant.
        """
        near = self._likeness(case.sample)
        near[case.sample] = -np.inf
        # Those without payments, and second samples of a user, are met and left out on the way.
        some = np.argpartition(-near, min(MET, len(near) - 1))[:MET]
        rows = self._tables.rows(np.sort(some[np.isfinite(near[some])]), _OF_A_SAMPLE)
        rows = rows[(rows["user_id"] != case.user_id) & (rows["payments"] > 0)]
        rows.insert(3, "similarity", near[rows["sample"].to_numpy()].astype(np.float64))
        order = ["similarity", "cutoff", "sample"]
        rows = rows.sort_values(order, ascending=[False, False, True], kind="stable")
        rows = rows.drop_duplicates("user_id").head(count)
        return rows.reset_index(drop=True)

    def map(self, most: int = 2_000) -> pd.DataFrame:
        """Samples on the first two principal components of what the model makes of them.

        Args:
            most: samples; of more, the same ones are taken every time.

        Returns:
            sample, user_id, cutoff, x, y, pd, label.
        """
        return self._tables.ask(
            """SELECT sample, user_id, cutoff, x, y, pd, label
               FROM read_parquet($embeddings) e JOIN read_parquet($samples) s USING (sample)
               WHERE payments > 0 ORDER BY hash(sample), sample LIMIT $most""",
            most=most,
        )

    def _likeness(self, sample: int) -> npt.NDArray[np.float32]:
        """(samples,) cosine of each representation with one; NaN where one has no direction.

        The vectors are read in pieces and not kept: of a million samples they are 64 MB, which
        take as long to read as to multiply.
        """
        with self._tables.checked.path(VECTORS).open("rb") as file:
            file.seek(sample * VECTOR * 4)
            mine = np.fromfile(file, "<f4", VECTOR)
            file.seek(0)
            parts = []
            while len(some := np.fromfile(file, "<f4", PIECE * VECTOR)):
                parts.append(some.reshape(-1, VECTOR) @ mine)
        near: npt.NDArray[np.float32] = np.concatenate(parts)
        return near
