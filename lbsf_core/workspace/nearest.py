"""Who is like this user, as the model sees it; the vectors lie ready (`embeddings.py`)."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from lbsf_core.workspace.layout import VECTOR, VECTORS
from lbsf_core.workspace.queries import Tables
from lbsf_core.workspace.types import Case

Ints = npt.NDArray[np.int64]
Cosines = npt.NDArray[np.float32]

#: Nearest samples that are looked at for each one that is shown, and how many times as many where
#: too few are left: those without payments, and second samples of a user, are left out.
MET, AGAIN = 5, 8
#: Vectors that are looked at together: 1 MB, which stays in the cache.
PIECE = 16_384
#: Samples that are held while the nearest are looked for, as many times as are wanted.
HELD = 4

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
        met = count * MET
        while True:
            some, near = self._nearest(case.sample, met)
            chosen = self._chosen(case, some, near)
            if len(chosen) >= count or len(some) < met:
                break
            met *= AGAIN
        here = np.array(chosen[:count], dtype=np.int64)
        rows = self._tables.rows(some[here], _OF_A_SAMPLE)
        rows.insert(3, "similarity", near[here].astype(np.float64))
        return rows

    def _chosen(self, case: Case, some: Ints, near: Cosines) -> list[int]:
        """Places of those with payments, the nearest of each other user, nearest first."""
        about = self._tables.records(some.tolist(), ("user_id", "cutoff", "payments"))
        paid = [(at, one) for at, one in enumerate(about) if one["payments"]]
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
               FROM read_parquet($embeddings) e JOIN samples s USING (sample)
               WHERE payments > 0 ORDER BY hash(sample), sample LIMIT $most""",
            most=most,
        )

    def _nearest(self, sample: int, most: int) -> tuple[Ints, Cosines]:
        """The other samples nearest to one, ascending, and the cosine of each with it.

        As many as are asked for, or as there are: a vector without a direction is near nobody.
        What can't be among them any more is dropped as the vectors go by.
        """
        with self._tables.checked.path(VECTORS).open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        vectors = np.frombuffer(mapped, "<f4").reshape(-1, VECTOR)
        mine, least = vectors[sample].copy(), np.float32(-np.inf)
        some, near = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        for first, piece in _pieces(mapped, vectors):
            cosines = piece @ mine
            if first <= sample < first + len(piece):
                cosines[sample - first] = np.nan
            nearer = np.flatnonzero(cosines > least)
            some = np.concatenate([some, first + nearer])
            near = np.concatenate([near, cosines[nearer]])
            if len(some) > HELD * most:
                some, near = _largest(some, near, most)
                least = near.min()
        return _largest(some, near, most)


def _pieces(mapped: mmap.mmap, vectors: Cosines) -> Iterator[tuple[int, Cosines]]:
    """Number of the first, and some vectors after another.

    Each piece is given back to the system after it was looked at: those of a million samples are
    64 MB, and mapped they take half as long as read.
    """
    size = VECTOR * vectors.itemsize
    for first in range(0, len(vectors), PIECE):
        piece = vectors[first : first + PIECE]
        yield first, piece
        if hasattr(mmap, "MADV_DONTNEED"):
            begin = first * size // mmap.PAGESIZE * mmap.PAGESIZE
            mapped.madvise(mmap.MADV_DONTNEED, begin, (first + len(piece)) * size - begin)


def _largest(some: Ints, near: Cosines, most: int) -> tuple[Ints, Cosines]:
    """Those of the largest cosines, at most so many, in the order they came in."""
    if len(some) <= most:
        return some, near
    kept = np.sort(np.argpartition(-near, most - 1)[:most])
    return some[kept], near[kept]
