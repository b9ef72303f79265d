"""Hashed n-grams: equal texts alike, like texts nearly alike, nothing breaks them."""

from __future__ import annotations

import copy
import pickle

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsf_core.model.text import MAX_BYTES, NGRAMS, TextCache, hash_texts

MANY = 1 << 40  # so many buckets that two different n-grams never share one


def buckets_of(text: str, buckets: int = MANY) -> list[int]:
    found, offsets = hash_texts([text], buckets)
    assert offsets.tolist() == [0, len(found)]
    return sorted(found.tolist())


texts = st.lists(st.text(st.characters(codec="utf-8"), max_size=40), max_size=8)


@settings(max_examples=40, deadline=None)
@given(texts)
def test_a_text_has_the_same_buckets_alone_and_in_company(some: list[str]) -> None:
    found, offsets = hash_texts(some, 97)
    assert len(offsets) == len(some) + 1
    assert ((found >= 0) & (found < 97)).all()
    for at, text in enumerate(some):
        mine = sorted(found[offsets[at] : offsets[at + 1]].tolist())
        assert mine
        assert mine == buckets_of(text, 97)


def test_number_of_buckets_by_hand() -> None:
    # "ab cd" with its two marks is 7 bytes: 5 + 4 + 3 n-grams of 3, 4 and 5 bytes, and 2 words.
    assert len(buckets_of("ab cd")) == 14
    # Its n-grams are those of the marked text, and nothing else is shared with another text.
    assert len(buckets_of("a")) == 2  # one 3-gram, one word
    assert NGRAMS == (3, 4, 5)


def test_an_unseen_text_shares_buckets_with_a_similar_one() -> None:
    known, unseen, other = map(set, map(buckets_of, ("lidl praha", "lidl brno", "shell")))
    # "lidl": with the mark before and the space after, 4 + 3 + 2 n-grams, and the word.
    assert len(known & unseen) == 10
    assert not known & other


def test_words_count_wherever_they_stand() -> None:
    assert set(buckets_of("gym membership")) & set(buckets_of("membership"))
    one, two = set(buckets_of("a bcd")), set(buckets_of("bcd a"))
    assert one != two
    assert len(one & two) >= 2  # both words


def test_case_never_matters() -> None:
    assert buckets_of("LIDL Ž") == buckets_of("lidl ž")
    assert buckets_of("lidl z") != buckets_of("lidl ž")


def test_empty_text_has_a_bucket_of_its_own() -> None:
    assert len(buckets_of("")) == 1
    assert buckets_of("") != buckets_of(" ")
    found, offsets = hash_texts(["", "x", ""], MANY)
    assert found[0] == found[-1]
    assert offsets.tolist() == [0, 1, 3, 4]
    nothing, offsets = hash_texts([], 16)
    assert (len(nothing), offsets.tolist()) == (0, [0])


def test_only_the_first_bytes_are_read() -> None:
    assert buckets_of("x" * MAX_BYTES) == buckets_of("x" * MAX_BYTES + "y")
    assert buckets_of("x" * (MAX_BYTES - 1)) != buckets_of("x" * (MAX_BYTES - 1) + "y")
    assert len(set(buckets_of("ž" * MAX_BYTES))) > 1  # cut inside a character


def test_hashes_are_the_same_on_every_machine() -> None:
    """Weights are kept by bucket: another hash would make every old bundle wrong."""
    assert hash_texts(["lidl", ""], 4096)[0].tolist() == PINNED


PINNED = [3235, 3596, 1796, 1892, 801, 2113, 1365, 2360, 1040, 2367, 3860]


def test_buckets_are_spread_evenly() -> None:
    words = [f"merchant {i} {i * 7919}" for i in range(3000)]
    counts = np.bincount(np.unique(hash_texts(words, MANY)[0]) % 64, minlength=64)
    expected = counts.sum() / 64
    assert ((counts - expected) ** 2 / expected).sum() < 120  # chi-square, 63 degrees: p < 1e-5


@settings(max_examples=30, deadline=None)
@given(st.lists(texts, max_size=5), st.integers(1, 12))
def test_cache_gives_what_hashing_gives(batches: list[list[str]], limit: int) -> None:
    cache = TextCache(97, limit)

    def lengths(buckets: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        sums = np.add.reduceat(np.append(buckets, 0), offsets[:-1]) if len(offsets) > 1 else []
        return np.asarray(sums, dtype=np.float32)[:, None]

    for batch in batches:
        found, offsets = cache.hashes(batch)
        expected, borders = hash_texts(batch, 97)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(offsets, borders)
        np.testing.assert_array_equal(
            cache.bags(batch, "weights", lengths), lengths(expected, borders)
        )


def test_cache_reads_anew_when_the_weights_change() -> None:
    cache = TextCache(97)
    reads: list[int] = []

    def read(buckets: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        reads.append(len(offsets) - 1)
        return np.full((len(offsets) - 1, 1), len(reads), dtype=np.float32)

    assert cache.bags(["a", "b"], "one", read).tolist() == [[1], [1]]
    assert cache.bags(["b", "c", "c"], "one", read).tolist() == [[1], [2], [2]]
    assert cache.bags(["a"], "two", read).tolist() == [[3]]
    assert reads == [2, 1, 3]


def test_cache_copies_start_empty() -> None:
    cache = TextCache(97, 5)
    cache.hashes(["a"])
    for other in (copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):  # noqa: S301
        assert (other.buckets, other.limit, other._row) == (97, 5, {})
