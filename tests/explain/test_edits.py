"""What-if edits: by hand, and each equal to folding the edited payments from the start."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsf_core.errors import EditError
from lbsf_core.explain.edits import Edit, apply
from lbsf_core.fold.batch import FoldedBatch
from tests.builders import Payment, fold_rows, random_batch, small_model

PAID = [
    ("baker", "2024-02-01", -3.5, "bread"),
    ("rent", "2024-02-20", -900.0, "flat"),
    ("baker", "2024-02-03", -2.0, "bun"),
]
#: Rows as folded: 0 = rent, 1 and 2 = baker.
BATCH = FoldedBatch.from_rows([("u", "2024-03-01", PAID)], numbers={"balance": [[10.0, 5.0, 8.0]]})


def paid(batch: FoldedBatch) -> list[tuple[str, str, float]]:
    """(merchant, day, amount) of every payment, as folded."""
    frame = batch.to_frame()
    days = [f"{when:%m-%d}" for when in frame["timestamp"]]
    return list(zip(frame["merchant"], days, frame["amount"], strict=True))


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (Edit("remove", "rent"), [("baker", "02-01", -3.5), ("baker", "02-03", -2.0)]),
        (Edit("remove", payments=(1, 0)), [("baker", "02-03", -2.0)]),
        (
            Edit("remove", "baker", since=datetime(2024, 2, 2, tzinfo=UTC)),
            [("rent", "02-20", -900.0), ("baker", "02-01", -3.5)],
        ),
        (
            Edit("scale", "rent", factor=0.5),
            [("rent", "02-20", -450.0), ("baker", "02-01", -3.5), ("baker", "02-03", -2.0)],
        ),
        (  # the older bun overtakes the bread, and the baker is paid before the rent still
            Edit("shift", payments=(1,), days=10),
            [("rent", "02-20", -900.0), ("baker", "02-03", -2.0), ("baker", "02-11", -3.5)],
        ),
        (  # paid last: comes first
            Edit("shift", "baker", days=25),
            [("baker", "02-26", -3.5), ("baker", "02-28", -2.0), ("rent", "02-20", -900.0)],
        ),
        (Edit("shift", "rent", days=15), [("baker", "02-01", -3.5), ("baker", "02-03", -2.0)]),
        (
            Edit("add", "pawn", when=datetime(2024, 2, 25), amount=40.0, description="ring"),
            [
                ("pawn", "02-25", 40.0),
                ("rent", "02-20", -900.0),
                ("baker", "02-01", -3.5),
                ("baker", "02-03", -2.0),
            ],
        ),
        (Edit("window", days=15), [("rent", "02-20", -900.0)]),
        (
            Edit("cutoff", when=datetime(2024, 2, 20)),
            [("baker", "02-01", -3.5), ("baker", "02-03", -2.0)],
        ),
    ],
)
def test_edits_by_hand(edit: Edit, expected: list[tuple[str, str, float]]) -> None:
    edited = apply(BATCH, [edit])
    assert paid(edited.batch) == expected
    assert len(edited.rows) == len(expected)
    old = edited.rows >= 0
    np.testing.assert_array_equal(
        edited.batch.numbers["balance"][old], BATCH.numbers["balance"][edited.rows[old]]
    )
    assert Edit.from_dict(json.loads(json.dumps(edit.to_dict()))) == edit
    assert edit.words()


def test_nothing_edited_is_the_sample_itself() -> None:
    edited = apply(BATCH, [])
    assert paid(edited.batch) == paid(BATCH)
    assert edited.rows.tolist() == [0, 1, 2]
    assert edited.left == 0


def test_rows_keep_their_names_through_many_edits() -> None:
    edits = [
        Edit("shift", "baker", days=25),
        Edit("remove", payments=(2,)),
        Edit("scale", payments=(1,), factor=2.0),
        Edit("add", "baker", when=datetime(2024, 2, 27), amount=-1.0),
    ]
    edited = apply(BATCH, edits)
    assert edited.rows.tolist() == [1, -1, 0]
    assert edited.batch.amounts.tolist() == [-7.0, -1.0, -900.0]
    assert edited.batch.texts["description"].decode() == ["bread", "bread", "flat"]
    assert np.isnan(edited.batch.numbers["balance"]).tolist() == [False, True, False]


def test_everything_may_go() -> None:
    edited = apply(BATCH, [Edit("remove", "rent"), Edit("remove", "baker")])
    assert len(edited.batch.amounts) == 0
    assert len(edited.batch) == 1


def test_what_leaves_the_history_is_counted() -> None:
    assert apply(BATCH, [Edit("shift", "rent", days=15)]).left == 1
    assert apply(BATCH, [Edit("shift", "rent", days=-15)], window_days=20).left == 3
    assert apply(BATCH, [Edit("window", days=15)]).left == 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"kind": "melt"}, "'melt' is no edit"),
        ({"kind": "remove"}, "needs a merchant, or rows"),
        ({"kind": "remove", "merchant": "m", "payments": [1]}, "not both"),
        ({"kind": "scale", "merchant": "m"}, "needs 'factor'"),
        ({"kind": "scale", "merchant": "m", "factor": -1}, "can't become money in"),
        ({"kind": "scale", "merchant": "m", "factor": "nan"}, "must be a number"),
        ({"kind": "scale", "merchant": "m", "factor": "much"}, "can't be read"),
        ({"kind": "shift", "merchant": "m", "days": float("inf")}, "must be a number"),
        ({"kind": "window", "days": 0}, "holds nothing"),
        ({"kind": "add", "merchant": "m", "when": "2024-01-01"}, "needs 'amount'"),
        ({"kind": "cutoff", "when": "yesterday"}, "can't be read"),
        ({"kind": "remove", "merchant": "m", "why": "x"}, "'why' is no part"),
    ],
)
def test_edits_that_make_no_sense_are_refused(data: dict[str, object], words: str) -> None:
    with pytest.raises(EditError, match=words):
        Edit.from_dict(data)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (Edit("remove", "butcher"), "no payments at 'butcher'"),
        (Edit("remove", payments=(3,)), "payment 3 is none of the 3"),
        (Edit("cutoff", when=datetime(2024, 3, 2)), "can only move back"),
        (Edit("add", "x", when=datetime(2024, 3, 1), amount=1.0), "at or after the cutoff"),
    ],
)
def test_edits_that_do_not_fit_the_sample_are_refused(edit: Edit, words: str) -> None:
    with pytest.raises(EditError, match=words):
        apply(BATCH, [edit])


def test_edits_are_of_one_sample() -> None:
    with pytest.raises(EditError, match="holds 2"):
        apply(random_batch(0, 2), [])


#: Double precision: nothing but the fold may differ.
MODEL = small_model(random_batch(99, 30), noise=0.5).double()


def scored(batch: FoldedBatch) -> float:
    with torch.no_grad():
        return float(MODEL(batch)[0])


@pytest.mark.parametrize(
    ("first", "second"),
    [((-2.0, "bread"), (-3.5, "bun")), ((-3.5, "bun"), (-3.5, "bread"))],
    ids=["by amount", "then by description"],
)
def test_a_payment_moved_to_the_instant_of_another_lies_where_a_fold_puts_it(
    first: tuple[float, str], second: tuple[float, str]
) -> None:
    def folded(day: str) -> FoldedBatch:
        days = (day, "2024-02-03")
        rows = [("baker", at, *what) for at, what in zip(days, (first, second), strict=True)]
        return FoldedBatch.from_rows([("u", "2024-03-01", rows)])

    edited = apply(folded("2024-02-01"), [Edit("shift", payments=(0,), days=2)])
    expected = folded("2024-02-03")
    assert list(edited.rows) == [1, 0]  # a fold has the smaller amount first, then "bread"
    assert paid(edited.batch) == paid(expected)
    said = [batch.texts["description"].decode() for batch in (edited.batch, expected)]
    assert list(said[0]) == list(said[1])


@settings(max_examples=30, deadline=None)
@given(st.data(), st.integers(0, 10_000))
def test_any_edit_equals_a_fold_from_the_start(data: st.DataObject, seed: int) -> None:
    batch = random_batch(seed, 1, payments=30)
    frame = batch.to_frame()
    row = data.draw(st.integers(0, len(frame) - 1))
    merchant = data.draw(st.sampled_from(batch.merchants.decode()))
    days = data.draw(st.integers(-30, 30))
    own = frame["merchant"] == merchant
    # Made by hand on the payments as they came in, then folded from the start.
    by_hand = [
        (Edit("remove", merchant), frame[~own]),
        (Edit("remove", payments=(row,)), frame.drop(index=row)),
        (
            Edit("scale", merchant, factor=0.3),
            frame.assign(amount=frame["amount"].where(~own, frame["amount"] * 0.3)),
        ),
        (
            Edit("shift", payments=(row,), days=days),
            frame.assign(
                timestamp=frame["timestamp"].where(
                    frame.index != row, frame["timestamp"] + np.timedelta64(days, "D")
                )
            ),
        ),
    ]
    cutoff = str(np.datetime64(int(batch.cutoffs[0]), "us"))
    for edit, rows in by_hand:
        paid_then = [
            (p.merchant, p.timestamp.isoformat(), p.amount, p.description)
            for p in rows.itertuples()
        ]
        fresh = FoldedBatch.from_rows([("u", cutoff, paid_then)])
        assert scored(apply(batch, [edit]).batch) == pytest.approx(scored(fresh), abs=1e-9)


def test_an_edit_equals_a_store_folded_from_edited_payments(tmp_path: Path) -> None:
    rows: list[Payment] = [
        ("u", merchant, f"{when}T10:00:00+00:00", amount, text)
        for merchant, when, amount, text in PAID
    ]
    known = [("u", "2024-03-01T00:00:00+00:00", 0.0)]
    before = fold_rows(tmp_path, rows, known, name="before").read([0])
    changed = [
        ("u", "baker", "2024-02-11T10:00:00+00:00", -7.0, "bread"),
        ("u", "rent", "2024-02-20T10:00:00+00:00", -900.0, "flat"),
        ("u", "pawn", "2024-02-25T12:00:00+00:00", 40.0, "ring"),
    ]
    after = fold_rows(tmp_path, changed, known, name="after").read([0])
    bread = int(np.flatnonzero(before.amounts == -3.5)[0])
    bun = int(np.flatnonzero(before.amounts == -2.0)[0])
    edited = apply(
        before,
        [
            Edit("scale", payments=(bread,), factor=2.0),
            Edit("shift", payments=(bread,), days=10),
            Edit("remove", payments=(bun,)),
            Edit("add", "pawn", when=datetime(2024, 2, 25, 12), amount=40.0, description="ring"),
        ],
    ).batch
    assert paid(edited) == paid(after)
    assert scored(edited) == pytest.approx(scored(after), abs=1e-9)
    assert replace(edited, samples=after.samples).timestamps.tolist() == after.timestamps.tolist()
