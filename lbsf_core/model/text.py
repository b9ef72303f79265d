"""Hash texts to n-gram buckets, all texts of a batch at once, in NumPy.

A text unseen in training still shares n-grams with known ones, so that a new merchant means
something. The hash of the byte range [i, j) is the polynomial (C[j] - C[i]) * p**i mod 2**64 with
C the running sum of byte[k] * p**-k: any range costs two look-ups, so words and n-grams of every
length come from one pass.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lbsf_core.fold.batch import expand

_PRIME = np.uint64(0x100000001B3)
_INVERSE = np.uint64(pow(0x100000001B3, -1, 2**64))
#: Lengths of the byte n-grams (UTF-8, with a mark at both ends of the text).
NGRAMS = (3, 4, 5)
#: Bytes of a text that are read: more would only slow an encoder that pools anyway.
MAX_BYTES = 96

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


def hash_texts(texts: Sequence[str], buckets: int) -> tuple[Ints, Ints]:
    """Bucket numbers of every text's words and n-grams.

    Args:
        texts: U texts.
        buckets: rows of the hashed table.

    Returns:
        (K,) bucket numbers and (U,) offsets: text u owns buckets[offsets[u]:offsets[u + 1]].
        A text always owns at least one bucket.
    """
    raw = [b"\x02" + text.lower().encode("utf-8")[:MAX_BYTES] + b"\x03" for text in texts]
    data = np.frombuffer(b"".join(raw), dtype=np.uint8)
    lengths = np.fromiter(map(len, raw), dtype=np.int64, count=len(raw))
    ends = np.cumsum(lengths)

    with np.errstate(over="ignore"):
        powers = np.cumprod(np.concatenate([[np.uint64(1)], np.full(len(data), _PRIME)]))
        inverse = np.cumprod(np.concatenate([[np.uint64(1)], np.full(len(data), _INVERSE)]))
        terms = (data.astype(np.uint64) + np.uint64(1)) * inverse[:-1]
        running = np.concatenate([[np.uint64(0)], np.cumsum(terms, dtype=np.uint64)])

    def ranges(starts: Ints, stops: Ints, kind: int) -> npt.NDArray[np.uint64]:
        with np.errstate(over="ignore"):
            value = (running[stops] - running[starts]) * powers[starts]
            return _mix(value + np.uint64(kind))

    # Words: maximal runs between separators (space and the two end marks).
    inside = (data != 2) & (data != 3) & (data != 32)
    edges = np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8))
    first, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    word_text = np.searchsorted(ends, first, side="right")
    words = np.bincount(word_text, minlength=len(raw))
    # An empty text is a text too: the pair of end marks gets a bucket of its own.
    empty = np.flatnonzero(lengths == 2)
    # A text's buckets stand in one run: its 3-, 4- and 5-grams, then its words.
    grams = [np.maximum(lengths - n + 1, 0) for n in NGRAMS]
    counts = sum(grams) + words + (lengths == 2)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    hashes = np.empty(offsets[-1], dtype=np.uint64)
    at = offsets[:-1].copy()
    for n, count in zip(NGRAMS, grams, strict=True):
        # Of every position, by slices; those that run over a text's end are then left out.
        with np.errstate(over="ignore"):
            every = _mix((running[n:] - running[:-n]) * powers[:-n] + np.uint64(n))
        hashes[expand(at, count)] = every[expand(ends - lengths, count)]
        at += count
    hashes[expand(at, words)] = ranges(first, stops, 100)
    hashes[at[empty]] = _mix(np.array([7], dtype=np.uint64))[0]
    if buckets & (buckets - 1):
        hashes %= np.uint64(buckets)
    else:  # a power of two needs no division
        hashes &= np.uint64(buckets - 1)
    return hashes.astype(np.int64), offsets


class _Column:
    """Rows that grow at the end: room doubles, so that adding costs what is added."""

    def __init__(self, first: npt.NDArray[Any]) -> None:
        self._room, self._used = first, len(first)

    def __len__(self) -> int:
        return self._used

    @property
    def rows(self) -> npt.NDArray[Any]:
        """What has been added so far (a view)."""
        return self._room[: self._used]

    def add(self, rows: npt.NDArray[Any]) -> None:
        """Put rows at the end."""
        end = self._used + len(rows)
        if end > len(self._room):
            room = np.empty((max(end, 2 * len(self._room)), *rows.shape[1:]), self._room.dtype)
            room[: self._used] = self.rows
            self._room = room
        self._room[self._used : end] = rows
        self._used = end


class TextCache:
    """Texts seen before: each is hashed once, and read once for the same weights.

    The same texts come back in batch after batch. Safe to use from several threads; a copy of
    it starts empty.

    Args:
        buckets: rows of the hashed table.
        limit: texts that are remembered; beyond it everything is forgotten at once, which
            bounds the memory (about 600 bytes a text).
    """

    def __init__(self, buckets: int, limit: int = 65_536) -> None:
        self.buckets, self.limit = buckets, limit
        self._lock = threading.Lock()
        self._forget()

    def __reduce__(self) -> tuple[type[TextCache], tuple[int, int]]:
        return TextCache, (self.buckets, self.limit)

    def clear(self) -> None:
        """Forget every text."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        self._row: dict[str, int] = {}
        self._hashes = _Column(np.zeros(0, dtype=np.int32))
        self._offsets = _Column(np.zeros(1, dtype=np.int64))
        self._weights: object = None
        self._bags: _Column | None = None

    def _rows(self, texts: Sequence[str]) -> Ints:
        """(U,) row of each text; new ones are hashed and remembered. Call with the lock held."""
        known = self._row
        new = list(dict.fromkeys(text for text in texts if text not in known))
        if new and len(known) + len(new) > self.limit:
            self._forget()
            known, new = self._row, list(dict.fromkeys(texts))
        if new:
            hashes, offsets = hash_texts(new, self.buckets)
            known.update(zip(new, range(len(known), len(known) + len(new)), strict=True))
            self._offsets.add(offsets[1:] + len(self._hashes))
            self._hashes.add(hashes)
        return np.fromiter(map(known.__getitem__, texts), dtype=np.int64, count=len(texts))

    def hashes(self, texts: Sequence[str]) -> tuple[Ints, Ints]:
        """What `hash_texts` gives for these (distinct) texts."""
        with self._lock:
            return self._of(self._rows(texts))

    def _of(self, rows: Ints) -> tuple[Ints, Ints]:
        starts = self._offsets.rows[rows]
        counts = self._offsets.rows[rows + 1] - starts
        picked = self._hashes.rows[expand(starts, counts)].astype(np.int64)
        return picked, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def bags(
        self, texts: Sequence[str], weights: object, read: Callable[[Ints, Ints], Floats]
    ) -> Floats:
        """(U, W) vectors of these (distinct) texts.

        Args:
            texts: U texts.
            weights: names the weights that `read` uses; when it changes, all is read anew.
            read: (K,) buckets and (U' + 1,) offsets -> (U', W) vectors of texts.
        """
        with self._lock:
            rows = self._rows(texts)
            if weights != self._weights:
                self._weights, self._bags = weights, None
            if self._bags is None:
                self._bags = _Column(read(*self._of(np.arange(len(self._row)))))
            elif len(self._bags) < len(self._row):
                self._bags.add(read(*self._of(np.arange(len(self._bags), len(self._row)))))
            found: Floats = self._bags.rows[rows]
            return found


def _mix(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """splitmix64's finaliser: spreads neighbouring hashes over all buckets."""
    with np.errstate(over="ignore"):
        value = value ^ (value >> np.uint64(30))
        value *= np.uint64(0xBF58476D1CE4E5B9)
        value ^= value >> np.uint64(27)
        value *= np.uint64(0x94D049BB133111EB)
        value ^= value >> np.uint64(31)
        return value
