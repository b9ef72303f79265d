"""Who is like this user, as the model sees it; the vectors lie ready (`embeddings.py`)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from lbsf_core.workspace.layout import VECTOR, VECTORS
from lbsf_core.workspace.queries import Tables
from lbsf_core.workspace.types import Case

#: Nearest samples that are looked at for each one that is shown, and how many times as many where
#: too few are left: those without payments, and second samples of a user, are left out.
MET, AGAIN = 5, 8
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
        met = count * MET
        while True:
            some = np.argpartition(-near, min(met, len(near) - 1))[:met]
            chosen = self._chosen(case, np.sort(some[np.isfinite(near[some])]), near)
            if len(chosen) >= count or met >= len(near):
                break
            met *= AGAIN
        numbers = np.array(chosen[:count], dtype=np.int64)
        rows = self._tables.rows(numbers, _OF_A_SAMPLE)
        rows.insert(3, "similarity", near[numbers].astype(np.float64))
        return rows

    def _chosen(
        self, case: Case, met: npt.NDArray[np.int64], near: npt.NDArray[np.float32]
    ) -> list[int]:
        """Of some samples those with payments, the nearest of each other user, nearest first."""
        about = self._tables.records(met.tolist(), ("user_id", "cutoff", "payments"))
        paid = [(at, one) for at, one in zip(met.tolist(), about, strict=True) if one["payments"]]
        paid.sort(key=lambda each: (-near[each[0]], each[1]["cutoff"], each[0]))
        of_user: dict[str, int] = {}
        for at, one in paid:
            of_user.setdefault(one["user_id"], at)
        of_user.pop(case.user_id, None)
        return list(of_user.values())

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
