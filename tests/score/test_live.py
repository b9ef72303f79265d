"""One more payment: the score of a live sample is that of a refold, whatever comes and when."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsf_core.config import ModelConfig
from lbsf_core.errors import LbsfError
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.score.lean import Lean
from lbsf_core.score.live import LiveSample
from tests.builders import SMALL, random_batch, small_model

CALIBRATION = {"slope": 1.2, "intercept": -0.3}
CONFIGS = (SMALL, replace(SMALL, meetings=True), replace(SMALL, levels="none", rhythm=False))
BUNDLES = [
    SimpleNamespace(
        model=small_model(random_batch(99, 30), config=c, noise=0.5), calibration=CALIBRATION
    )
    for c in CONFIGS
]
LEAN = [Lean(bundle.model) for bundle in BUNDLES]
CUTOFF = datetime(2024, 6, 1, tzinfo=UTC)

PAYMENTS = st.lists(
    st.tuples(
        st.sampled_from(["shop", "rent", "bar", "salary"]),
        st.integers(0, 400),  # days before the cutoff: ties, late ones, repeated ones
        st.integers(-3, 3).map(float),
        st.sampled_from(["x", "y"]),
    ),
    min_size=1,
    max_size=12,
)


def folded(payments: list[tuple[str, int, float, str]], window: int | None) -> FoldedBatch:
    rows = [
        (merchant, (CUTOFF - timedelta(days)).replace(tzinfo=None).isoformat(), amount, text)
        for merchant, days, amount, text in payments
        if window is None or days <= window
    ]
    return FoldedBatch.from_rows([("u", "2024-06-01", rows)])


@settings(max_examples=80, deadline=None)
@given(
    PAYMENTS,
    PAYMENTS,
    st.sampled_from([None, 90]),
    st.integers(0, len(CONFIGS) - 1),
    st.booleans(),
)
def test_it_scores_as_a_refold_does(
    first: list, more: list, window: int | None, number: int, compiled: bool
) -> None:
    bundle, lean = BUNDLES[number], LEAN[number] if compiled else None
    live = LiveSample(bundle, folded(first, window), window_days=window, lean=lean)
    for merchant, days, amount, text in more:
        live.pay(merchant, CUTOFF - timedelta(days), amount, text)
    whole = folded(first + more, window)
    with torch.no_grad():
        expected = float(bundle.model(whole)[0])
    assert live.logit == pytest.approx(expected, abs=1e-5)
    assert live.payments == len(whole.amounts)
    assert 0 < live.pd < 1
    # Inside every segment payments lie where the fold puts them.
    for name, at in live._place.items():
        mine = live._segments[at]
        theirs = whole.keep(
            np.array([whole.merchants.decode()[s] == name for s in whole.segment_of_payment])
        )
        assert mine.timestamps.tolist() == theirs.timestamps.tolist()
        assert mine.amounts.tolist() == theirs.amounts.tolist()
        assert mine.texts["description"].decode() == theirs.texts["description"].decode()


def test_an_empty_history_begins() -> None:
    live = LiveSample(BUNDLES[0], folded([("shop", 3, 1.0, "x")], 1))
    assert live.payments == 0
    before = live.logit
    assert live.pay("bar", CUTOFF - timedelta(hours=1), -3.0) != before


def test_what_is_not_seen_changes_nothing() -> None:
    live = LiveSample(BUNDLES[0], folded([("shop", 3, 1.0, "x")], 90), window_days=90)
    before = live.logit
    assert live.pay("shop", CUTOFF, 1.0) == before
    assert live.pay("shop", CUTOFF - timedelta(days=90, seconds=1), 1.0) == before
    assert live.payments == 1


def test_what_makes_no_sense_is_refused() -> None:
    live = LiveSample(BUNDLES[0], folded([("shop", 3, 1.0, "x")], None))
    with pytest.raises(LbsfError, match="time zone"):
        live.pay("shop", datetime(2024, 5, 1), 1.0)
    with pytest.raises(LbsfError, match="no number"):
        live.pay("shop", CUTOFF - timedelta(1), float("nan"))
    with pytest.raises(LbsfError, match="another model"):
        LiveSample(BUNDLES[0], folded([("shop", 3, 1.0, "x")], None), lean=LEAN[1])
    with pytest.raises(LbsfError, match="holds 2"):
        LiveSample(BUNDLES[0], random_batch(1, 2))
    config: ModelConfig = replace(SMALL, user_gap=True)
    with_gaps = SimpleNamespace(
        model=small_model(random_batch(98, 20), config=config), calibration=CALIBRATION
    )
    with pytest.raises(LbsfError, match="user_gap"):
        LiveSample(with_gaps, random_batch(1, 1))
