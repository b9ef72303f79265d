"""Vectors of texts, each distinct text read once: what `model.text` does, for scoring alone."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lbsf_core.fold.batch import Ints
from lbsf_core.score import kernels

#: Stands between two texts: the marks that end one and begin the next.
_BETWEEN = "\x03\x02"

Vectors = npt.NDArray[np.float32]


class Texts:
    """Remembers the vectors of texts. Safe to use from several threads.

    Args:
        weight: (buckets, W) n-gram vectors.
        limit: texts that are remembered; beyond it everything is forgotten at once.
    """

    def __init__(self, weight: Vectors, limit: int) -> None:
        self.weight, self.limit = weight, limit
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Forget every text."""
        self._row: dict[str, int] = {}
        self._known: Vectors = np.empty((1_024, self.weight.shape[1]), dtype=np.float32)

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """(U, W) mean n-gram vectors of these (distinct) texts."""
        with self._lock:
            at = np.fromiter((self._row.get(text, -1) for text in texts), np.int64, len(texts))
            found: Vectors = self._known[at]
        missing = np.flatnonzero(at < 0)
        if len(missing):
            # Not under the lock: two threads that meet a new text at once both read it.
            new = [texts[i] for i in missing.tolist()]
            read = np.empty((len(new), self.weight.shape[1]), dtype=np.float32)
            kernels.text_vectors(*as_bytes(new), self.weight, read)
            found[missing] = read
            with self._lock:
                self._remember(new, read)
        return found

    def _remember(self, new: Sequence[str], read: Vectors) -> None:
        """Call with the lock held. What another thread remembered meanwhile has its row."""
        unknown = [i for i, text in enumerate(new) if text not in self._row]
        new, read = [new[i] for i in unknown], read[unknown]
        if len(self._row) + len(new) > self.limit:
            self.clear()
            new, read = new[: self.limit], read[: self.limit]
        used = len(self._row)
        end = used + len(new)
        if end > len(self._known):
            room = np.empty((max(end, 2 * len(self._known)), self.weight.shape[1]), np.float32)
            room[:used] = self._known[:used]
            self._known = room
        self._known[used:end] = read
        self._row.update(zip(new, range(used, end), strict=True))


def as_bytes(texts: Sequence[str]) -> tuple[npt.NDArray[np.uint8], Ints, Ints]:
    """Texts in lower case as bytes one after another, and where each begins and ends.

    >>> data, starts, ends = as_bytes(["Baker", "Ünit"])
    >>> [bytes(data[a:b]).decode() for a, b in zip(starts, ends)]
    ['baker', 'ünit']
    """
    joined = _BETWEEN.join(texts)
    if joined.count(_BETWEEN) == len(texts) - 1:
        data = np.frombuffer(joined.lower().encode("utf-8"), dtype=np.uint8)
        # No byte of another character is below 128, so these two are the marks.
        marks = np.flatnonzero((data[:-1] == 3) & (data[1:] == 2)) if len(data) else data[:0]
        starts = np.concatenate([[0], marks + 2]).astype(np.int64)
        return data, starts, np.concatenate([marks, [len(data)]]).astype(np.int64)
    raw = [text.lower().encode("utf-8") for text in texts]  # a text holds the marks itself
    ends = np.cumsum(np.fromiter(map(len, raw), np.int64, len(raw)))
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    return np.frombuffer(b"".join(raw), dtype=np.uint8), starts, ends
