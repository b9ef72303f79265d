"""`Explanation`: its frames and its JSON by hand, and every broken sum told."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from lbsf_core.explain.result import Explanation

EXPLANATION = Explanation(
    user="u1",
    cutoff=datetime(2024, 3, 1, tzinfo=UTC),
    logit=1.0,
    baseline_logit=0.25,
    pd=0.7,
    delta=0.0,
    method="by hand",
    baseline="nothing",
    steps=8,
    fields=("amount", "history"),
    merchants=("rent", "baker"),
    offsets=np.array([0, 1, 3]),
    timestamps=np.array(["2024-02-20", "2024-02-01", "2024-02-03T12:30"], "datetime64[us]"),
    amounts=np.array([-900.0, 3.5, -2.0]),
    descriptions=("flat", "refund", "bun"),
    field_attributions=np.array([[0.5, 0.25], [-0.25, 0.0], [0.125, 0.125]]),
    payment_attributions=np.array([0.75, -0.25, 0.25]),
    merchant_attributions=np.array([0.75, 0.0]),
    merchant_weights=np.array([0.9, 0.1]),
    payment_weights=np.array([1.0, 0.6, 0.4]),
    relation_weights=np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]]),
    extras={"kind": np.array(["home", "food", "food"], dtype=object)},
    kinds=("housing", "groceries"),
    regular=frozenset({"rent"}),
)


def test_sums_that_hold_raise_no_problem() -> None:
    assert EXPLANATION.problems() == []


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        ({"logit": 1.1}, ["Merchants miss the score's distance to the baseline by -0.1000."]),
        (
            {"merchant_attributions": np.array([0.5, 0.25])},
            ["The payments of a merchant miss its value by up to 0.2500."],
        ),
        (
            {"field_attributions": np.array([[0.5, 0.25], [-0.25, 0.0], [0.125, 0.025]])},
            ["The fields of a payment miss its value by up to 0.1000."],
        ),
        (
            {"payment_attributions": np.array([0.75, -0.25, 0.75])},
            [
                "The payments of a merchant miss its value by up to 0.5000.",
                "The fields of a payment miss its value by up to 0.5000.",
            ],
        ),
    ],
)
def test_every_broken_sum_is_told(changes, sentences: list[str]) -> None:
    assert replace(EXPLANATION, **changes).problems() == sentences
    assert replace(EXPLANATION, **changes).to_dict()["problems"] == sentences


@pytest.mark.parametrize(
    "name", ["field_attributions", "payment_attributions", "merchant_attributions"]
)
def test_a_value_that_is_no_number_is_a_problem(name: str) -> None:
    broken = getattr(EXPLANATION, name).copy()
    broken.flat[-1] = np.nan
    assert replace(EXPLANATION, **{name: broken}).problems()


def test_tolerance_is_a_thousandth() -> None:
    assert replace(EXPLANATION, logit=1.0009).problems() == []
    assert replace(EXPLANATION, logit=1.0011).problems() != []
    assert replace(EXPLANATION, logit=1.0011).problems(tolerance=0.01) == []


def test_relations_are_the_mean_of_heads() -> None:
    assert EXPLANATION.relations.tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_frames_by_hand() -> None:
    merchants = EXPLANATION.merchants_frame()
    assert merchants.drop(columns=["first", "last"]).to_dict("list") == {
        "segment": [0, 1],
        "merchant": ["rent", "baker"],
        "kind": ["housing", "groceries"],
        "regular": [True, False],
        "payments": [1, 2],
        "total": [-900.0, 1.5],
        "money_in": [0.0, 3.5],
        "money_out": [900.0, 2.0],
        "attribution": [0.75, 0.0],
        "lo": [0.75, 0.0],
        "hi": [0.75, 0.0],
        "weight": [0.9, 0.1],
    }
    assert f"{merchants['first'][1]:%m-%d} {merchants['last'][1]:%m-%d}" == "02-01 02-03"
    payments = EXPLANATION.payments_frame()
    assert payments["merchant"].tolist() == ["rent", "baker", "baker"]
    assert payments["kind"].tolist() == ["home", "food", "food"]
    assert payments["field:history"].tolist() == [0.25, 0.0, 0.125]
    assert payments["segment"].tolist() == [0, 1, 1]


def test_who_changes_a_frame_changes_no_other() -> None:
    for frame in (EXPLANATION.merchants_frame, EXPLANATION.payments_frame):
        mine, before = frame(), frame().copy()
        mine["attribution"] = 7.0
        mine.loc[0, "merchant"] = "somebody else"
        mine.pop("weight")
        pd.testing.assert_frame_equal(frame(), before)


def test_json_by_hand() -> None:
    data = json.loads(json.dumps(EXPLANATION.to_dict(), allow_nan=False))
    assert data["cutoff"] == "2024-03-01T00:00:00+00:00"
    assert (data["user"], data["logit"], data["baseline_logit"]) == ("u1", 1.0, 0.25)
    assert [m["merchant"] for m in data["merchants"]] == ["rent", "baker"]
    assert data["merchants"][1]["payments"][1] == {
        "timestamp": "2024-02-03T12:30:00Z",
        "amount": -2.0,
        "description": "bun",
        "attribution": 0.25,
        "lo": 0.25,
        "hi": 0.25,
        "weight": 0.4,
        "fields": {"amount": 0.125, "history": 0.125},
    }
    expected = {"merchants": ["rent", "baker"], "weights": [[0.5, 0.5], [0.5, 0.5]]}
    assert data["relations"] == expected


SAMPLED = replace(
    EXPLANATION,
    logit=1.1,
    others=0.1,
    fields=(),
    field_attributions=np.zeros((3, 0)),
    payment_attributions=np.array([np.nan, -0.25, 0.25]),
    payment_lo=np.array([np.nan, -0.5, 0.0]),
    payment_hi=np.array([np.nan, 0.0, 0.5]),
    opened=np.array([False, True]),
    merchant_lo=np.array([0.5, -0.1]),
    merchant_hi=np.array([1.0, 0.1]),
)


def test_payments_of_a_merchant_that_was_not_opened_are_not_asked_for() -> None:
    assert SAMPLED.problems() == []
    data = json.loads(json.dumps(SAMPLED.to_dict(), allow_nan=False))
    rent, baker = data["merchants"]
    assert rent["payments"] is None
    assert (rent["attribution"], rent["lo"], rent["hi"]) == (0.75, 0.5, 1.0)
    assert [(p["attribution"], p["lo"], p["hi"]) for p in baker["payments"]] == [
        (-0.25, -0.5, 0.0),
        (0.25, 0.0, 0.5),
    ]
    assert baker["payments"][0]["fields"] == {}
    assert SAMPLED.merchants_frame()["hi"].tolist() == [1.0, 0.1]


def test_what_only_the_baseline_pays_is_a_part_of_the_sum() -> None:
    assert replace(SAMPLED, others=0.3).problems() == [
        "Merchants miss the score's distance to the baseline by +0.2000."
    ]
    opened = replace(SAMPLED, opened=np.array([True, True]))
    assert opened.problems() == ["The payments of a merchant miss its value by up to nan."]
