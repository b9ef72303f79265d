"""Hash texts to n-gram buckets, all texts of a batch at once, in NumPy.

A text unseen in training still shares n-grams with known ones, so that a new merchant means
something. The hash of the byte range [i, j) is the polynomial (C[j] - C[i]) * p**i mod 2**64 with
C the running sum of byte[k] * p**-k: any range costs two look-ups, so words and n-grams of every
length come from one pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_PRIME = np.uint64(0x100000001B3)
_INVERSE = np.uint64(pow(0x100000001B3, -1, 2**64))
#: Lengths of the byte n-grams (UTF-8, with a mark at both ends of the text).
NGRAMS = (3, 4, 5)
#: Bytes of a text that are read: more would only slow an encoder that pools anyway.
MAX_BYTES = 96

Ints = npt.NDArray[np.int64]


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
    lengths = np.array([len(r) for r in raw], dtype=np.int64)
    ends = np.cumsum(lengths)
    text_of = np.repeat(np.arange(len(raw)), lengths)
    position = np.arange(len(data), dtype=np.int64)

    with np.errstate(over="ignore"):
        powers = np.cumprod(np.concatenate([[np.uint64(1)], np.full(len(data), _PRIME)]))
        inverse = np.cumprod(np.concatenate([[np.uint64(1)], np.full(len(data), _INVERSE)]))
        terms = (data.astype(np.uint64) + np.uint64(1)) * inverse[:-1]
        running = np.concatenate([[np.uint64(0)], np.cumsum(terms, dtype=np.uint64)])

    def ranges(starts: Ints, stops: Ints, kind: int) -> npt.NDArray[np.uint64]:
        with np.errstate(over="ignore"):
            value = (running[stops] - running[starts]) * powers[starts]
            return _mix(value + np.uint64(kind))

    owners, hashes = [], []
    for n in NGRAMS:
        starts = position[position + n <= ends[text_of]] if len(data) else position
        owners.append(text_of[starts])
        hashes.append(ranges(starts, starts + n, n))
    # Words: maximal runs between separators (space and the two end marks).
    inside = ~np.isin(data, np.frombuffer(b"\x02\x03 ", dtype=np.uint8))
    edges = np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8))
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    owners.append(text_of[starts])
    hashes.append(ranges(starts, stops, 100))
    # An empty text is a text too: the pair of end marks gets a bucket of its own.
    empty = np.flatnonzero(lengths == 2)
    owners.append(empty)
    hashes.append(np.full(len(empty), _mix(np.array([7], dtype=np.uint64))[0]))

    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    bucket = (np.concatenate(hashes)[order] % np.uint64(buckets)).astype(np.int64)
    counts = np.bincount(owner, minlength=len(raw))
    return bucket, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _mix(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """splitmix64's finaliser: spreads neighbouring hashes over all buckets."""
    with np.errstate(over="ignore"):
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return value ^ (value >> np.uint64(31))
