"""Baselines: real users stand in for what is taken out, and disagreement between them is told."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch

from lbsf_core.errors import LbsfError
from lbsf_core.explain import shapley
from lbsf_core.explain.baselines import (
    EMPTY,
    TYPICAL_PAYMENT,
    Baseline,
    agreement,
    disagreement,
    find_baseline,
)
from lbsf_core.explain.engines import explain_one, explain_sample, pairs
from lbsf_core.explain.gradient import explain
from lbsf_core.explain.removal import Coalitions, explain_by_removal
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from tests.builders import fold_rows, random_batch, random_samples, small_model

MODEL = small_model(random_batch(99, 30), noise=0.5)
BUNDLE = Bundle(MODEL, {"slope": 1.0, "intercept": 0.0})
BATCH = random_batch(3, 1, payments=12, merchants=4)
REFERENCE = random_batch(4, 1, payments=14, merchants=6)


def scored(batch: FoldedBatch) -> float:
    with torch.no_grad():
        return float(MODEL(batch)[0])


def mixed(own: FoldedBatch, other: FoldedBatch, there: set[str], others: bool) -> float:
    """The logit of `own` at the merchants that are there, and of `other` in place of the rest."""
    names = set(own.merchants.decode())

    def rows(batch: FoldedBatch, keep: set[str]) -> list[tuple[str, str, float, str]]:
        frame = batch.to_frame()
        moved = frame["timestamp"] + np.timedelta64(int(own.cutoffs[0] - batch.cutoffs[0]), "us")
        return [
            (m, when.isoformat(), a, d)
            for m, when, a, d in zip(
                frame["merchant"], moved, frame["amount"], frame["description"], strict=True
            )
            if m in keep
        ]

    absent = names - there
    alone = set() if others else set(other.merchants.decode()) - names
    cutoff = str(np.datetime64(int(own.cutoffs[0]), "us"))
    paid = rows(own, there) + rows(other, absent | alone)
    return scored(FoldedBatch.from_rows([("u", cutoff, paid)]))


def test_values_against_a_real_user_are_the_mean_over_every_order_of_refolds() -> None:
    names = BATCH.merchants.decode()
    players = [*names, None]
    assert 2 <= len(names) <= 4
    expected, orders = dict.fromkeys(players, 0.0), list(permutations(players))
    for order in orders:
        there: set[str] = set()
        others, before = False, scored(REFERENCE)
        for player in order:
            if player is None:
                others = True
            else:
                there = there | {player}
            after = mixed(BATCH, REFERENCE, there, others)
            expected[player] += (after - before) / len(orders)
            before = after
    found = explain_by_removal(
        BUNDLE, BATCH, baseline=Baseline("typical user", "one of them", REFERENCE)
    )
    values = [expected[name] for name in names]
    assert np.abs(values).max() > 0.01
    np.testing.assert_allclose(found.merchant_attributions, values, atol=5e-6)
    assert found.others == pytest.approx(expected[None], abs=5e-6)
    assert found.baseline_logit == pytest.approx(scored(REFERENCE), abs=1e-5)
    assert found.problems() == []


def test_a_cohort_is_the_mean_of_its_users() -> None:
    some = random_batch(7, 3, payments=10)
    together = explain_by_removal(BUNDLE, BATCH, baseline=Baseline("cohort mean", "c", some))
    alone = [
        explain_by_removal(BUNDLE, BATCH, baseline=Baseline("typical user", "t", some.select([r])))
        for r in range(3)
    ]
    np.testing.assert_allclose(
        together.merchant_attributions,
        np.mean([one.merchant_attributions for one in alone], axis=0),
        atol=1e-6,
    )
    assert together.baseline_logit == pytest.approx(
        np.mean([one.baseline_logit for one in alone]), abs=1e-6
    )


def test_of_many_merchants_each_reference_is_asked_as_often(monkeypatch) -> None:
    monkeypatch.setattr(shapley, "EXACT_PLAYERS", 2)
    some = random_batch(7, 3, payments=10)
    held = Baseline("cohort mean", "c", some)
    found = explain_by_removal(BUNDLE, BATCH, baseline=held, budget=4000)
    assert found.problems() == []
    assert found.baseline_logit == pytest.approx(np.mean(MODEL(some).detach().numpy()), abs=1e-5)
    monkeypatch.undo()
    exact = explain_by_removal(BUNDLE, BATCH, baseline=held)
    assert (found.merchant_lo <= exact.merchant_attributions).all()
    assert (found.merchant_hi >= exact.merchant_attributions).all()


def test_payments_sum_to_their_merchant_against_a_real_user() -> None:
    name = BATCH.merchants.decode()[0]
    held = Baseline("typical user", "t", REFERENCE)
    found = explain_by_removal(BUNDLE, BATCH, baseline=held, opened=[name])
    assert found.problems() == []
    assert found.opened.tolist() == [one == name for one in BATCH.merchants.decode()]
    inside = Coalitions(MODEL, BATCH, REFERENCE).payments(0)
    assert inside.values.sum() == pytest.approx(found.merchant_attributions[0], abs=0.5)


def test_a_user_held_against_itself_has_nothing_to_explain() -> None:
    found = explain_by_removal(BUNDLE, BATCH, baseline=Baseline("typical user", "t", BATCH))
    np.testing.assert_allclose(found.merchant_attributions, 0, atol=1e-6)
    gradient = explain(BUNDLE, REFERENCE, Baseline("typical user", "t", REFERENCE))[0]
    assert gradient.problems() == []


def test_a_path_may_start_at_the_mean_of_real_payments() -> None:
    held = Baseline("cohort mean", "c", random_batch(7, 3, payments=10))
    found = explain(BUNDLE, BATCH, held)[0]
    assert found.problems() == []
    assert abs(found.baseline_logit - explain(BUNDLE, BATCH)[0].baseline_logit) > 1e-3
    assert found.baseline == "c"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FoldedStore:
    samples = random_samples(21, 30)
    payments = [
        (user, m, f"{when}+00:00", a, d) for user, _, paid in samples for m, when, a, d in paid
    ]
    labels = [(user, f"{cutoff}+00:00", 0.0) for user, cutoff, _ in samples]
    return fold_rows(Path(tmp_path_factory.mktemp("baselines")), payments, labels)


def test_the_typical_user_is_a_real_one_that_is_approved(store: FoldedStore) -> None:
    found = find_baseline(store, BUNDLE, "typical user")
    assert len(found.batch) == 1
    batch = store.read(np.arange(30))
    with torch.no_grad():
        pds = torch.sigmoid(MODEL(batch)).numpy()
    at = batch.user_ids.index(found.batch.user_ids[0])
    assert pds[at] < np.median(pds)
    assert found.batch.user_ids[0] in found.words
    mean = find_baseline(store, BUNDLE, "cohort mean", cohort=[1, 2, 3])
    assert set(mean.batch.samples) == {1, 2, 3}
    with pytest.raises(LbsfError, match="nobody can stand for it"):
        find_baseline(store, BUNDLE, "typical user", threshold=1e-9)
    with pytest.raises(LbsfError, match="no baseline"):
        find_baseline(store, BUNDLE, "zeros")


def test_agreement_by_hand() -> None:
    one = np.array([5.0, -4.0, 3.0, 0.1])
    assert agreement(one, one, first=2) == 1.0
    assert agreement(one, np.array([5.0, 0.0, 3.0, 0.1]), first=2) == pytest.approx(1 / 3)
    assert agreement(np.zeros(0), np.zeros(0)) == 1.0
    told = disagreement(np.arange(10.0), {"x": -np.arange(10.0), "y": np.arange(10.0)[::-1]})
    assert told == ["Held against y, other merchants come first: 0% of the first 5 are the same."]


@pytest.mark.parametrize("method", ["gradient", "removal"])
def test_other_baselines_are_tried(store: FoldedStore, method: str) -> None:
    found = explain_one(store, BUNDLE, store.read([3]), method=method, baseline="cohort mean")
    assert found.problems() == []
    assert "mean over" in found.baseline
    batch = store.read([3])
    far = Baseline("typical user", "far", random_batch(31, 1, payments=60))
    plain = explain_sample(BUNDLE, batch, method=method)
    told = explain_sample(BUNDLE, batch, method=method, others=[far])
    # Both paths in one pass: the last bits may differ.
    np.testing.assert_allclose(plain.merchant_attributions, told.merchant_attributions, atol=1e-7)
    other = explain_sample(BUNDLE, batch, method=method, baseline=far)
    share = agreement(plain.merchant_attributions, other.merchant_attributions)
    assert bool(told.warnings) == (share < 0.6)


def test_baselines_that_an_engine_can_t_use_are_refused() -> None:
    with pytest.raises(LbsfError, match="no slot to fill"):
        explain(BUNDLE, BATCH, EMPTY)
    with pytest.raises(LbsfError, match="no slot"):
        explain_by_removal(BUNDLE, BATCH, baseline=TYPICAL_PAYMENT)
    with pytest.raises(LbsfError, match="no method"):
        explain_sample(BUNDLE, BATCH, method="guess")


def test_pairs_are_sorted_by_what_they_are_worth_together() -> None:
    found = explain_by_removal(BUNDLE, BATCH)
    coalitions = Coalitions(MODEL, BATCH)
    frame = pairs(MODEL, BATCH)
    count = len(found.merchants)
    assert len(frame) == count * (count - 1) // 2
    assert frame["interaction"].abs().is_monotonic_decreasing
    together = coalitions.interactions()
    for row in frame.itertuples():
        assert row.interaction == together[row.first, row.second]
        weights = found.relations[row.first, row.second] + found.relations[row.second, row.first]
        assert row.relation == pytest.approx(weights / 2)
