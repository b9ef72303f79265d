"""Fields of a payment: knots, gaps, the calendar and the encoders, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsf_core.fold.batch import DAY, FoldedBatch, Strings
from lbsf_core.model.fields import (
    CategoryEncoder,
    NumberEncoder,
    TextEncoder,
    TimeEncoder,
    fit_field,
    fit_knots,
    knot_entries,
    local_calendar,
    merchant_gaps,
    number_values,
    signed_log,
    user_gaps,
)
from lbsf_core.payments.schema import CORE_FIELDS, Field, FieldKind
from tests.builders import random_batch

AMOUNT = Field("amount", FieldKind.AMOUNT)
KIND = Field("kind", FieldKind.CATEGORY)


def test_signed_log_by_hand() -> None:
    e = np.e
    np.testing.assert_allclose(
        signed_log(np.array([0.0, e - 1, 1 - e, np.nan])), [0, 1, -1, np.nan]
    )


def test_knot_entries_by_hand() -> None:
    knots = np.array([0.0, 1.0, 3.0])
    rows, weights = knot_entries(
        np.array([-5.0, 0.0, 0.25, 1.0, 2.5, 3.0, 9.0]), knots, first_row=4
    )
    assert rows.tolist() == [[4, 5], [4, 5], [4, 5], [5, 6], [5, 6], [5, 6], [5, 6]]
    assert weights.tolist() == [[1, 0], [1, 0], [0.75, 0.25], [1, 0], [0.25, 0.75], [0, 1], [0, 1]]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(-50, 50), min_size=2, max_size=6, unique=True),
    st.lists(st.floats(-80, 80), max_size=8),
)
def test_knot_entries_are_piecewise_linear(places: list[int], values: list[float]) -> None:
    knots, at = np.sort(np.array(places, dtype=float)), np.array(values)
    rows, weights = knot_entries(at, knots)
    assert ((weights >= 0) & (weights <= 1)).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    # The knots themselves, weighted, give the value back: linear in between, flat beyond.
    expected = np.clip(at, knots[0], knots[-1])
    np.testing.assert_allclose((knots[rows] * weights).sum(axis=1), expected, atol=1e-9)


def test_knots_are_quantiles_and_rise() -> None:
    assert fit_knots(np.arange(101.0), 5) == [0.0, 25.0, 50.0, 75.0, 100.0]
    assert fit_knots(np.array([2.0, np.nan, 2.0, 2.0, 8.0, np.inf]), 4) == [2.0, 8.0]
    assert fit_knots(np.array([3.0, 3.0]), 4) == [3.0, 4.0]
    assert fit_knots(np.array([np.nan]), 4) == [0.0, 1.0]


def test_gaps_by_hand() -> None:
    batch = FoldedBatch.from_rows(
        [
            (
                "u",
                "2024-03-01",
                [
                    ("a", "2024-01-01", 1.0, ""),
                    ("b", "2024-01-04", 1.0, ""),
                    ("a", "2024-01-11", 1.0, ""),
                    ("b", "2024-01-11", 1.0, "same instant as a"),
                    ("a", "2024-01-12T12:00:00", 1.0, ""),
                ],
            ),
            ("v", "2024-03-01", [("a", "2024-02-01", 1.0, "")]),
        ]
    )
    assert batch.merchants.decode() == ["a", "b", "a"]
    user, same = user_gaps(batch), merchant_gaps(batch)
    nan = np.nan
    np.testing.assert_allclose(user, [nan, 7.0, 1.5, 3.0, 7.0, nan])
    np.testing.assert_allclose(same, [nan, 10.0, 1.5, nan, 7.0, nan])
    for gaps in (user_gaps, merchant_gaps):
        assert len(gaps(batch.select([]))) == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_gaps_never_depend_on_the_order_of_segments_or_samples(seed: int) -> None:
    batch = random_batch(seed, 3, payments=25, days=20)  # few days: many ties
    order = np.concatenate(
        [np.arange(*batch.user_offsets[b : b + 2])[::-1] for b in range(len(batch))]
    )
    frame = batch.to_frame()
    frame["gap"] = user_gaps(batch)
    for other in (batch.permute_segments(order), batch.select([2, 0, 1])):
        again = other.to_frame()
        again["gap"] = user_gaps(other)
        columns = list(frame.columns)
        left, right = (f.sort_values(columns).reset_index(drop=True) for f in (frame, again))
        assert left.equals(right)


def test_calendar_in_a_time_zone() -> None:
    when = [
        "2024-03-31T00:59:59",  # 01:59 in Prague, Sunday, the last minute of winter time
        "2024-03-31T01:00:00",  # 03:00, the clock has moved
        "2024-06-30T22:00:00",  # midnight of Monday, 1 July
        "2024-12-31T23:30:00",  # half past midnight of Wednesday, 1 January
        "1969-12-31T23:00:00",  # midnight of Thursday, 1 January 1970
        "2024-02-29T11:00:00",  # noon of Thursday, 29 February
    ]
    rows = [("m", time, float(i), "") for i, time in enumerate(when)]
    batch = FoldedBatch.from_rows([("u", "2030-01-01", rows)], timezone="Europe/Prague")
    order = np.argsort(batch.amounts)
    hour, weekday, day = (column[order].tolist() for column in local_calendar(batch))
    assert hour == [1, 3, 0, 0, 0, 12]
    assert weekday == [6, 6, 0, 2, 3, 3]
    assert day == [31, 31, 1, 1, 1, 29]
    utc = local_calendar(replace(batch, timezone="UTC"))
    assert [column[order].tolist() for column in utc] == [
        [0, 1, 22, 23, 23, 11],
        [6, 6, 6, 1, 2, 3],
        [31, 31, 30, 31, 31, 29],
    ]


def test_calendar_before_1970_and_in_leap_years() -> None:
    rows = [("m", "1900-02-28T23:59:59", 1.0, ""), ("m", "2000-02-29", 1.0, "")]
    batch = FoldedBatch.from_rows([("u", "2030-01-01", rows)])
    assert [c.tolist() for c in local_calendar(batch)] == [[23, 0], [2, 1], [28, 29]]


def test_number_encoder_interpolates_its_table() -> None:
    encoder = NumberEncoder(AMOUNT, 1, knots=[0.0, 1.0, 3.0])
    with torch.no_grad():
        encoder.rows.weight.copy_(torch.tensor([[-7.0], [10.0], [20.0], [40.0]]))
    amounts = [0.0, np.expm1(0.5), np.expm1(2.0), np.expm1(50.0), -5.0]
    rows = [("m", f"2024-01-0{i + 1}", amount, "") for i, amount in enumerate(amounts)]
    batch = FoldedBatch.from_rows([("u", "2024-02-01", rows)])
    found = encoder.vectors(batch)[:, 0].tolist()
    assert found == pytest.approx([10.0, 15.0, 30.0, 40.0, 10.0], abs=1e-5)


def test_missing_numbers_have_a_row_of_their_own() -> None:
    balance = Field("balance", FieldKind.NUMBER)
    encoder = NumberEncoder(balance, 1, knots=[0.0, 1.0])
    with torch.no_grad():
        encoder.rows.weight.copy_(torch.tensor([[-7.0], [10.0], [20.0]]))
    rows = [("m", "2024-01-01", 1.0, ""), ("m", "2024-01-02", 1.0, "")]
    batch = FoldedBatch.from_rows([("u", "2024-02-01", rows)], numbers={"balance": [[np.nan, 0.0]]})
    assert encoder.vectors(batch)[:, 0].tolist() == [-7.0, 10.0]


def test_extra_timestamps_count_in_days_from_the_payment() -> None:
    field = Field("due", FieldKind.TIMESTAMP)
    rows = [("m", "2024-01-01", 1.0, "")]
    due = 1_704_067_200_000_000 + 3 * DAY  # 2024-01-04
    batch = FoldedBatch.from_rows([("u", "2024-02-01", rows)], numbers={"due": [[due]]})
    np.testing.assert_allclose(number_values(field, batch), [np.log(4.0)])


def kinds(words: list[str]) -> FoldedBatch:
    rows = [("m", f"2024-01-{i + 1:02}", 1.0, "") for i in range(len(words))]
    batch = FoldedBatch.from_rows([("u", "2024-02-01", rows)])
    return replace(batch, texts={**batch.texts, "kind": Strings.encode(words)})


def test_categories_seen_once_or_never_share_row_0() -> None:
    fitted = fit_field(KIND, kinds(["food", "rent", "food", "once", "rent", "food"]), 4)
    assert fitted == {"vocabulary": ["food", "rent"]}
    encoder = CategoryEncoder(KIND, 3, fitted["vocabulary"])
    at = encoder.entries(kinds(["rent", "new", "food", "once"]))
    assert at.rows[:, 0].tolist() == [2, 0, 1, 0]
    assert at.weights.tolist() == [[1.0]] * 4
    assert encoder.entries(kinds([])).rows.shape == (0, 1)


def test_a_word_that_no_payment_uses_is_not_learned() -> None:
    batch = kinds(["food", "food"])
    words = Strings(batch.texts["kind"].codes, ("food", "from the test part"))
    batch = replace(batch, texts={"description": batch.texts["description"], "kind": words})
    assert fit_field(KIND, batch, 4) == {"vocabulary": ["food"]}


def test_time_encoder_by_hand() -> None:
    fitted = {name: [0.0, 8.0] for name in ("recency", "gap_user", "gap_merchant")}
    encoder = TimeEncoder(Field("timestamp", FieldKind.TIMESTAMP), 4, fitted)
    rows = [("m", "2024-01-02T13:00:00", 1.0, ""), ("m", "2024-01-05T13:00:00", 1.0, "")]
    batch = FoldedBatch.from_rows([("u", "2024-01-12T13:00:00", rows)])
    at = encoder.entries(batch)
    start = 24 + 7 + 31
    # 13 h on Tuesday 2nd, then on Friday 5th; the first payment has no gap: rows of "missing".
    assert at.rows.tolist() == [
        [13, 24 + 1, 31 + 1, start + 1, start + 2, start + 3, start + 3, start + 6, start + 6],
        [13, 24 + 4, 31 + 4, start + 1, start + 2, start + 4, start + 5, start + 7, start + 8],
    ]
    recency, gap = np.log1p([10.0, 7.0]) / 8.0, np.log1p(3.0) / 8.0
    np.testing.assert_allclose(at.weights[0], [1, 1, 1, 1 - recency[0], recency[0], 1, 0, 1, 0])
    expected = [1, 1, 1, 1 - recency[1], recency[1], 1 - gap, gap, 1 - gap, gap]
    np.testing.assert_allclose(at.weights[1], expected)
    assert len(encoder.table(batch)) == start + 9


@pytest.mark.parametrize("name", ["merchant", "description"])
def test_texts_are_read_once_each_and_like_texts_look_alike(name: str) -> None:
    torch.manual_seed(0)
    encoder = TextEncoder(Field(name, FieldKind.TEXT), 16, 32, 4096, drop=0.0).eval()
    texts = ["lidl praha", "lidl brno", "shell", "lidl praha"]
    rows = [(t, f"2024-01-0{4 - i}", 1.0, t) for i, t in enumerate(texts)]
    vectors = encoder.vectors(FoldedBatch.from_rows([("u", "2024-02-01", rows)]))
    batch = FoldedBatch.from_rows([("u", "2024-02-01", rows)])
    column = np.array([batch.merchants.decode()[s] for s in batch.segment_of_payment])
    praha, brno, shell = (vectors[np.flatnonzero(column == t)] for t in texts[:3])
    torch.testing.assert_close(praha[0], praha[1])
    assert encoder.table(batch).shape == (3, 16)
    near, far = (torch.linalg.norm(praha[0] - other[0]) for other in (brno, shell))
    assert near < 0.8 * far


def test_texts_are_hidden_while_training_only() -> None:
    torch.manual_seed(0)
    encoder = TextEncoder(CORE_FIELDS[1], 4, 4, 64, drop=0.5)
    rows = [("m", "2024-01-01", 1.0, f"text {i}") for i in range(400)]
    batch = FoldedBatch.from_rows([("u", "2024-02-01", rows)])
    hidden = (encoder.train().vectors(batch) == 0).all(dim=1).double().mean()
    assert 0.4 < hidden < 0.6
    assert not (encoder.eval().vectors(batch) == 0).all(dim=1).any()


def test_remembered_texts_follow_the_weights() -> None:
    """Evaluation remembers text vectors; an optimiser's step or loaded weights must be seen."""
    encoder = TextEncoder(CORE_FIELDS[1], 4, 4, 64, drop=0.0)
    batch = FoldedBatch.from_rows([("u", "2024-02-01", [("m", "2024-01-01", 1.0, "text")])])

    def remembered() -> torch.Tensor:
        with torch.no_grad():
            return encoder.eval().vectors(batch)

    def fresh() -> torch.Tensor:
        with torch.enable_grad():
            return encoder.eval().vectors(batch).detach()

    before = remembered()
    torch.testing.assert_close(before, fresh())
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.5)
    encoder.train().vectors(batch).sum().backward()
    optimizer.step()
    assert not torch.allclose(remembered(), before)
    torch.testing.assert_close(remembered(), fresh())
    encoder.load_state_dict({k: torch.ones_like(v) for k, v in encoder.state_dict().items()})
    torch.testing.assert_close(remembered(), fresh())
    encoder.ngrams = torch.nn.Embedding(64, 4)
    torch.testing.assert_close(remembered(), fresh())
