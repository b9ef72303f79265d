"""`FoldedBatch`: what it refuses, and that cutting, joining and refolding lose nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from lbsf_core.errors import BatchError
from lbsf_core.fold.batch import DAY, FoldedBatch, Strings, expand
from tests.builders import random_batch, random_samples


def same(one: FoldedBatch, other: FoldedBatch) -> None:
    """Both batches say the same, whatever the codes of their texts are."""
    assert one.user_ids == other.user_ids
    assert one.timezone == other.timezone
    assert one.merchants.decode() == other.merchants.decode()
    for name in (
        "samples", "cutoffs", "labels", "user_offsets", "offsets", "timestamps", "amounts"
    ):  # fmt: skip
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert {k: v.decode() for k, v in one.texts.items()} == {
        k: v.decode() for k, v in other.texts.items()
    }
    assert one.numbers.keys() == other.numbers.keys()
    for name, values in one.numbers.items():
        np.testing.assert_array_equal(values, other.numbers[name])


def batch_of(seed: int, count: int, timezone: str = "Europe/Prague") -> FoldedBatch:
    """A random batch with an extra number, a time zone and an empty history in its middle."""
    samples = random_samples(seed, count, days=25)  # so few days that merchants often tie
    samples[count // 2] = (samples[count // 2][0], samples[count // 2][1], [])
    numbers = [[float(i) if i % 3 else np.nan for i in range(len(s[2]))] for s in samples]
    return FoldedBatch.from_rows(
        samples,
        labels=[float(i % 2) for i in range(count)],
        numbers={"balance": numbers},
        timezone=timezone,
    )


def test_from_rows_by_hand() -> None:
    batch = FoldedBatch.from_rows(
        [
            (
                "u1",
                "2024-03-01",
                [
                    ("b", "2024-02-01T00:00:00.000001", -1.0, "late b"),
                    ("a", "2024-02-02", -2.0, "a"),
                    ("b", "2024-01-01", -3.0, "early b"),
                    ("c", "2024-02-02T01:00:00+01:00", -4.0, "tie with a, by name"),
                    ("c", "2024-03-01", -5.0, "at the cutoff"),
                ],
            ),
            ("u2", "1970-01-02", []),
        ],
        numbers={"n": [[0.0, 1.0, 2.0, 3.0, 4.0], []]},
    )
    assert batch.merchants.decode() == ["a", "c", "b"]
    assert batch.user_offsets.tolist() == [0, 3, 3]
    assert batch.offsets.tolist() == [0, 1, 2, 4]
    assert batch.amounts.tolist() == [-2.0, -4.0, -3.0, -1.0]
    assert batch.numbers["n"].tolist() == [1.0, 3.0, 2.0, 0.0]
    assert batch.cutoffs.tolist() == [1_709_251_200_000_000, DAY]
    assert batch.timestamps[-1] - batch.timestamps[-2] == 31 * DAY + 1
    assert batch.payment_counts.tolist() == [4, 0]
    assert batch.segment_counts.tolist() == [3, 0]
    assert batch.segment_of_payment.tolist() == [0, 1, 2, 2]
    assert batch.sample_of_segment.tolist() == [0, 0, 0]
    assert batch.sample_of_payment.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cutoffs": np.zeros(2, np.int64)}, "cutoffs has 2 rows, expected 1"),
        ({"user_ids": ()}, "user_ids has 0 rows, expected 1"),
        ({"offsets": np.array([0, 1])}, "offsets has 2 rows, expected 3"),
        ({"offsets": np.array([0, 1, 2])}, "offsets must rise from 0 to 3, got 0 to 2"),
        ({"offsets": np.array([1, 1, 3])}, "offsets must rise from 0 to 3, got 1 to 3"),
        ({"offsets": np.array([0, 4, 3])}, "offsets must rise from 0 to 3"),
        ({"user_offsets": np.array([0, 1])}, "user_offsets must rise from 0 to 2, got 0 to 1"),
        ({"offsets": np.array([0, 3, 3])}, r"segment 1 \('baker'\) is empty"),
        ({"amounts": np.array([1.0, np.nan, 2.0])}, "amount 1 is not finite"),
        ({"amounts": np.array([1.0, 2.0, -np.inf])}, "amount 2 is not finite"),
        ({"merchants": Strings(np.array([0, 2]), ("x", "y"))}, "merchants: a code lies outside"),
        ({"merchants": Strings(np.array([-1, 0]), ("x",))}, "merchants: a code lies outside"),
        ({"texts": {"description": Strings(np.zeros(2, np.int64), ("x",))}}, r"texts\[desc.*has 2"),
        ({"numbers": {"n": np.zeros(4)}}, r"numbers\[n\] has 4 rows, expected 3"),
    ],
)
def test_broken_batches_are_refused(changes, message: str) -> None:
    batch = FoldedBatch.from_rows(
        [
            (
                "u",
                "2024-03-01",
                [
                    ("baker", "2024-02-01", -3.5, "bread"),
                    ("rent", "2024-02-20", -900.0, "flat"),
                    ("baker", "2024-02-03", -2.0, "bun"),
                ],
            )
        ]
    )
    with pytest.raises(BatchError, match=message):
        replace(batch, **changes)


def test_fault_26_payment_at_the_cutoff_is_refused() -> None:
    batch = random_batch(0, 3)
    late = batch.timestamps.copy()
    late[-1] = batch.cutoffs[-1]
    with pytest.raises(BatchError, match=f"payment {len(late) - 1} lies at or after the cutoff"):
        replace(batch, timestamps=late)
    late[-1] -= 1
    assert len(replace(batch, timestamps=late)) == 3


def test_payments_out_of_order_are_refused_inside_a_segment_only() -> None:
    rows = [
        ("a", "2024-02-02", 1.0, ""),
        ("a", "2024-02-03", 1.0, ""),
        ("b", "2024-01-01", 1.0, ""),
    ]
    batch = FoldedBatch.from_rows([("u", "2024-03-01", rows)])  # b begins earlier: fine
    swapped = batch.timestamps[[1, 0, 2]]
    with pytest.raises(BatchError, match="payment 1 is older than the one before"):
        replace(batch, timestamps=swapped)


def test_expand_by_hand() -> None:
    assert expand(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]
    assert expand(np.array([], dtype=np.int64), np.array([], dtype=np.int64)).tolist() == []


def test_strings_keep_used_words_only() -> None:
    column = Strings.encode(["b", "a", "b", "c"])
    assert (column.codes.tolist(), column.words) == ([0, 1, 0, 2], ("b", "a", "c"))
    taken = column.take(np.array([3, 0, 3]))
    assert taken.decode() == ["c", "b", "c"]
    assert set(taken.words) == {"b", "c"}
    assert column.take(np.array([], dtype=np.int64)).words == ()
    joined = Strings.concat([taken, column, Strings.encode([])])
    assert joined.decode() == ["c", "b", "c", "b", "a", "b", "c"]
    assert len(joined.words) == 3


seeds = st.integers(0, 10_000)


@settings(max_examples=20, deadline=None)
@given(seeds, st.data())
def test_select_picks_whole_samples_in_any_order(seed: int, data) -> None:
    batch = batch_of(seed, 5)
    rows = data.draw(st.lists(st.integers(0, 4), max_size=7))
    picked = batch.select(rows)
    assert picked.samples.tolist() == rows
    frame, expected = picked.to_frame(), batch.to_frame()
    counts = picked.payment_counts
    starts = np.cumsum(counts) - counts
    for at, row in enumerate(rows):
        mine = frame.iloc[starts[at] : starts[at] + counts[at]].reset_index(drop=True)
        theirs = expected[expected["sample"] == row].reset_index(drop=True)
        assert_frame_equal(mine, theirs, check_dtype=False)  # no rows, no types


@settings(max_examples=20, deadline=None)
@given(seeds, st.permutations(range(6)))
def test_select_and_concat_are_round_trips(seed: int, order: list[int]) -> None:
    batch = batch_of(seed, 6)
    same(FoldedBatch.concat([batch.select([i]) for i in range(6)]), batch)
    same(
        FoldedBatch.concat([batch.select([0, 1, 2, 3]), batch.select([]), batch.select([4, 5])]),
        batch,
    )
    same(batch.select(order).select(np.argsort(order)), batch)


def test_a_batch_of_nothing() -> None:
    nothing = batch_of(0, 3).select([])
    assert len(nothing) == 0
    assert nothing.to_frame().empty
    same(nothing.keep(np.zeros(0, dtype=bool)), nothing)


def refolded(batch: FoldedBatch, kept: np.ndarray) -> FoldedBatch:
    """The kept payments, written out in reverse and folded from the start."""
    segment, sample = batch.segment_of_payment, batch.sample_of_payment
    merchants, texts = batch.merchants.decode(), batch.texts["description"].decode()

    def when(us: int) -> str:
        return str(np.datetime64(int(us), "us"))

    rows, numbers = [], []
    for b in range(len(batch)):
        at = np.flatnonzero(kept & (sample == b))[::-1]
        paid = [
            (merchants[segment[i]], when(batch.timestamps[i]), batch.amounts[i], texts[i])
            for i in at
        ]
        rows.append((batch.user_ids[b], when(batch.cutoffs[b]), paid))
        numbers.append(batch.numbers["balance"][at])
    return FoldedBatch.from_rows(
        rows, labels=batch.labels.tolist(), numbers={"balance": numbers}, timezone=batch.timezone
    )


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(0, 1), seeds)
def test_keep_equals_folding_what_remains_from_the_start(
    seed: int, share: float, draw: int
) -> None:
    batch = batch_of(seed, 4)
    # Amounts of their own, so that two payments of one instant have one order only.
    batch = replace(
        batch, amounts=np.random.default_rng(seed).permutation(len(batch.amounts)) * 1.0
    )
    batch = refolded(batch, np.ones(len(batch.amounts), dtype=bool))
    kept = np.random.default_rng(draw).random(len(batch.amounts)) < share
    same(batch.keep(kept), refolded(batch, kept))


def test_keep_everything_changes_nothing_and_keep_nothing_leaves_the_samples() -> None:
    batch = batch_of(3, 4)
    n = len(batch.amounts)
    same(batch.keep(np.ones(n, dtype=bool)), batch)
    empty = batch.keep(np.zeros(n, dtype=bool))
    assert (len(empty), len(empty.merchants), len(empty.amounts)) == (4, 0, 0)
    assert empty.user_ids == batch.user_ids


def test_keep_puts_segments_back_in_order() -> None:
    rows = [
        ("a", "2024-02-20", 1.0, "last"),
        ("a", "2024-01-01", 2.0, "first"),
        ("b", "2024-02-01", 3.0, ""),
    ]
    batch = FoldedBatch.from_rows([("u", "2024-03-01", rows)])
    assert batch.merchants.decode() == ["a", "b"]
    kept = batch.keep(batch.amounts != 1.0)
    assert kept.merchants.decode() == ["b", "a"]
    assert kept.amounts.tolist() == [3.0, 2.0]


def test_segments_that_come_to_tie_stand_by_name() -> None:
    rows = [
        ("b", "2024-02-20", 1.0, "last"),
        ("a", "2024-02-15", 1.0, "last"),
        ("b", "2024-01-10", 2.0, ""),
        ("a", "2024-01-10", 3.0, ""),
    ]
    batch = FoldedBatch.from_rows([("u", "2024-03-01", rows)])
    assert batch.merchants.decode() == ["b", "a"]
    assert batch.keep(batch.amounts != 1.0).merchants.decode() == ["a", "b"]


@settings(max_examples=20, deadline=None)
@given(seeds, seeds)
def test_permute_segments_there_and_back(seed: int, draw: int) -> None:
    batch = batch_of(seed, 4)
    rng = np.random.default_rng(draw)
    order = np.concatenate(
        [rng.permutation(np.arange(*batch.user_offsets[b : b + 2])) for b in range(4)]
    ).astype(np.int64)
    permuted = batch.permute_segments(order)
    assert permuted.merchants.decode() == [batch.merchants.decode()[i] for i in order]
    same(permuted.permute_segments(np.argsort(order)), batch)


def test_segments_never_move_to_another_sample() -> None:
    batch = random_batch(0, 2)
    with pytest.raises(BatchError, match="inside their own sample"):
        batch.permute_segments(np.arange(len(batch.merchants))[::-1])
