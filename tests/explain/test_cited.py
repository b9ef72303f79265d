"""Removing any payments through remainders of merchants is folding the whole history again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsf_core.errors import LbsfError
from lbsf_core.explain.cited import Removals
from tests.builders import SMALL, random_batch, small_model

MODEL = small_model(random_batch(99, 30), noise=0.5)
DEEP = small_model(random_batch(99, 30), config=replace(SMALL, relation_layers=2), noise=0.5)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), share=st.floats(0, 1), deep=st.booleans())
def test_a_removal_is_a_refold(seed: int, share: float, deep: bool) -> None:
    model = DEEP if deep else MODEL
    batch = random_batch(seed, 1, payments=30)
    rng = np.random.default_rng(seed)
    count = len(batch.amounts)
    cited = [np.flatnonzero(rng.random(count) < share) for _ in range(6)]
    cited += [np.arange(count), np.zeros(0, dtype=np.int64), cited[0]]
    removals = Removals(model, batch)
    found = removals.logits(cited[:4])
    found = np.concatenate([found, removals.logits(cited[4:])])  # some are known by now
    with torch.no_grad():
        for rows, logit in zip(cited, found, strict=True):
            kept = ~np.isin(np.arange(count), rows)
            assert logit == pytest.approx(float(model(batch.keep(kept))[0]), abs=5e-6)
    if count > 5 and 0.2 < share < 0.8:
        assert np.ptp(found) > 1e-4


def test_a_remainder_is_folded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = random_batch(3, 1, payments=30)
    removals = Removals(MODEL, batch)
    calls = []
    real = MODEL.segment_states
    monkeypatch.setattr(MODEL, "segment_states", lambda part: calls.append(len(part)) or real(part))
    first, end = batch.offsets[:2]
    assert end - first >= 2
    one = np.array([first])
    removals.logits([one, one, np.arange(first, end)])
    assert calls == [1]
    removals.logits([one])
    assert calls == [1]


def test_an_empty_history_and_several_samples() -> None:
    empty = random_batch(3, 1).keep(np.zeros(len(random_batch(3, 1).amounts), dtype=bool))
    with torch.no_grad():
        whole = float(MODEL(empty)[0])
    none = Removals(MODEL, empty).logits([np.zeros(0, dtype=np.int64)])
    assert none.tolist() == pytest.approx([whole], abs=1e-6)
    assert Removals(MODEL, empty).logits([]).tolist() == []
    with pytest.raises(LbsfError, match="one sample"):
        Removals(MODEL, random_batch(3, 2))
