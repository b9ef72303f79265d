"""Reasons: each is proved by a full refold, none says the same twice, low scores get none."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsf_core.errors import BundleError, LbsfError
from lbsf_core.explain import reasons as module
from lbsf_core.explain.candidates import Candidate, Party, candidates
from lbsf_core.explain.codes import Catalogue
from lbsf_core.explain.kinds import Kinds
from lbsf_core.explain.reasons import LEAST_EFFECT, MOST, Reason, choose, reasons
from lbsf_core.fold.batch import FoldedBatch, Strings
from lbsf_core.model.bundle import Bundle
from tests.builders import random_batch, small_model

CODES, KINDS = Catalogue.load(), Kinds.load()
CODE = {code.name: code for code in CODES.codes}
MODEL = small_model(random_batch(99, 30), noise=0.5)
TRAINED = {"bad": {"validation": 10}, "sizes": {"validation": 40}}
BUNDLE = Bundle(MODEL, {"slope": 1.0, "intercept": 0.0}, TRAINED)
WORDS = ("casino", "payday loan", "salary", "Equip Operational", "Ref 12")


def lives(seed: int, payments: int = 60) -> FoldedBatch:
    """One random user whose payments are of several kinds."""
    batch = random_batch(seed, 1, merchants=8, payments=payments, days=300)
    texts = Strings(batch.merchants.codes[batch.segment_of_payment], batch.merchants.words)
    told = tuple(WORDS[int(name.split()[1]) % 5] for name in texts.words)
    return replace(batch, texts={**batch.texts, "description": replace(texts, words=told)})


def logit(batch: FoldedBatch) -> float:
    with torch.no_grad():
        return float(MODEL(batch)[0])


def without(batch: FoldedBatch, rows: tuple[int, ...]) -> float:
    return logit(batch.keep(~np.isin(np.arange(len(batch.amounts)), rows)))


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_every_reason_passes_its_removal(seed: int) -> None:
    batch = lives(seed)
    whole = logit(batch)
    found = reasons(BUNDLE, batch, always=True)
    assert found.logit == pytest.approx(whole, abs=1e-5)
    names = batch.merchants.decode()
    owner = batch.segment_of_payment
    for side, sign in ((found.risk, 1), (found.protective, -1)):
        assert len(side) <= MOST
        for reason in side:
            effect = whole - without(batch, reason.payments)
            assert sign * effect >= LEAST_EFFECT - 1e-5
            assert reason.effect == pytest.approx(effect, abs=1e-5)
            assert sign * reason.added >= LEAST_EFFECT
            assert reason.pd_without == pytest.approx(1 / (1 + np.exp(effect - whole)), abs=1e-5)
            if not CODE[reason.code].alone:
                assert {names[owner[row]] for row in reason.payments} <= set(reason.merchants)
            assert "{" not in reason.text
        for at, one in enumerate(side):
            for other in side[:at]:
                both = set(one.payments) & set(other.payments)
                assert 2 * len(both) <= min(len(one.payments), len(other.payments))


def test_reasons_are_found_and_say_what_was_paid() -> None:
    found = [reasons(BUNDLE, lives(seed), always=True) for seed in range(12)]
    told = [reason for one in found for reason in (*one.risk, *one.protective)]
    assert len(told) > 30
    assert {"gambling", "salary", "cash advance", "Equip Operational"} <= {r.kind for r in told}
    assert len({reason.code for reason in told}) >= 4
    first = next(r for r in told if r.kind == "gambling" and len(r.merchants) == 1)
    assert first.text.startswith(f"gambling payments at {first.merchants[0]}")
    unknown = next(r for r in told if not r.kind and len(r.merchants) == 1)
    assert f"payments at {unknown.merchants[0]}" in unknown.text
    assert [one for one in found if one.tested]
    json.dumps([one.to_dict() for one in found], allow_nan=False)


def test_other_languages_say_the_same() -> None:
    english = reasons(BUNDLE, lives(1), always=True)
    german = reasons(BUNDLE, lives(1), always=True, language="de")
    assert english.risk
    for one, other in zip(english.risk, german.risk, strict=True):
        assert replace(one, text="") == replace(other, text="")
        assert other.text.startswith(("Zahlungen", "auf Zahlungen"))
    with pytest.raises(LbsfError, match="does not speak"):
        reasons(BUNDLE, lives(1), language="fr")


def test_a_low_score_gets_reasons_only_when_asked() -> None:
    batch = lives(1)
    pd = reasons(BUNDLE, batch).pd
    for threshold in (pd + 1e-6, 1.0):
        low = reasons(BUNDLE, batch, threshold=threshold)
        assert not low.given
        assert (low.risk, low.protective, low.tested) == ((), (), 0)
    high = reasons(BUNDLE, batch, threshold=pd)
    assert high.given
    assert high.risk
    asked = reasons(BUNDLE, batch, threshold=1.0, always=True)
    assert asked.given
    assert asked.risk == high.risk
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(LbsfError, match="is no PD"):
            reasons(BUNDLE, batch, threshold=wrong)


def test_high_means_above_the_samples_that_the_bundle_was_calibrated_on() -> None:
    assert reasons(BUNDLE, lives(1)).threshold == 0.25
    unknown = Bundle(MODEL, {"slope": 1.0, "intercept": 0.0})
    with pytest.raises(BundleError, match="what share"):
        reasons(unknown, lives(1))
    assert reasons(unknown, lives(1), threshold=0.0).given


def test_what_a_full_refold_does_not_bear_out_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = lives(1)
    assert reasons(BUNDLE, batch, always=True).risk
    still = np.full(2 * MOST, logit(batch))  # nothing changes, whatever is removed
    monkeypatch.setattr(module, "refolds", lambda model, batch: lambda masks: still[: len(masks)])
    found = reasons(BUNDLE, batch, always=True)
    assert found.risk == found.protective == ()


def test_an_empty_history_has_none() -> None:
    batch = lives(1)
    found = reasons(BUNDLE, batch.keep(np.zeros(len(batch.amounts), dtype=bool)), always=True)
    assert (found.risk, found.protective, found.tested) == ((), (), 0)


class Additive:
    """A score that is a sum over payments; stands in for removals."""

    def __init__(self, *worth: float) -> None:
        self.worth = np.array(worth)
        self.asked: list[int] = []

    def logits(self, cited: list[np.ndarray]) -> np.ndarray:
        self.asked.append(len(cited))
        return np.array([self.worth.sum() - self.worth[rows].sum() for rows in cited])


def candidate(*rows: int, code: str = "came", pair: bool = False) -> Candidate:
    party = Party("gambling", np.array([0]))
    return Candidate(CODE[code], party, {}, np.array(rows), party if pair else None)


def chosen(score: Additive, found: list[Candidate], sign: float = 1.0) -> list[int]:
    whole = float(score.worth.sum())
    lone = whole - score.logits([one.rows for one in found])
    (side,) = module._answered(score, [choose(found, whole, lone, sign)])  # type: ignore[arg-type]
    return [at for at, _ in side]


def test_the_strongest_come_first_and_four_at_most() -> None:
    score = Additive(0.5, 0.9, 0.7, 0.4, 0.3, -0.6)
    assert chosen(score, [candidate(at) for at in range(6)]) == [1, 2, 0, 3]
    assert chosen(score, [candidate(at) for at in range(6)], -1.0) == [5]


def test_nothing_is_asked_where_nothing_is_left_to_say() -> None:
    score = Additive(0.5, 0.9, 0.7, 0.4, 0.3, 0.2)
    assert len(chosen(score, [candidate(at) for at in range(6)])) == MOST
    assert score.asked == [6, 5, 4, 3]  # each alone, then beside one, two and three others
    score = Additive(0.5, 0.9)
    assert chosen(score, [candidate(0), candidate(1)]) == [1, 0]
    assert score.asked == [2, 1]


def test_both_sides_asked_together_are_told_what_each_is_alone() -> None:
    score = Additive(0.5, 0.9, -0.7, 0.4, -0.3, -0.6, 0.8)
    found = [candidate(at) for at in range(7)]
    whole = float(score.worth.sum())
    lone = whole - score.logits([one.rows for one in found])
    sides = [choose(found, whole, lone, sign) for sign in module.SIDES]
    risk, against = module._answered(score, sides)  # type: ignore[arg-type]
    assert [at for at, _ in risk] == chosen(score, found) == [1, 6, 0, 3]
    assert [at for at, _ in against] == chosen(score, found, -1.0) == [2, 5, 4]


def test_small_ones_are_no_principal_reasons() -> None:
    assert chosen(Additive(1.0, 0.21, 0.19, 0.04), [candidate(at) for at in range(4)]) == [0, 1]
    assert chosen(Additive(0.04), [candidate(0)]) == []


def test_what_was_said_is_not_said_again() -> None:
    score = Additive(1.0, 0.1, 0.4)
    # Rows 0 and 1 are most of the second one, and the third is inside what is left.
    assert chosen(score, [candidate(0), candidate(0, 1), candidate(2)]) == [0, 2]


def test_the_narrower_of_two_is_told_unless_they_are_a_pair() -> None:
    score = Additive(1.0, 0.1, 0.1)
    assert chosen(score, [candidate(0, 1, 2), candidate(0)]) == [1]
    assert chosen(score, [candidate(0, 1, 2, pair=True), candidate(0)]) == [0]
    assert chosen(Additive(0.5, 0.5), [candidate(0, 1), candidate(0)]) == [0]


def test_all_payments_together_only_where_nothing_else_is_left() -> None:
    score = Additive(0.5, 0.5)
    everything = candidate(0, 1, code="all-rose")
    assert chosen(score, [everything, candidate(0)]) == [1]
    assert chosen(score, [everything, candidate(0, 1, code="came")]) == [1]
    assert chosen(score, [everything]) == [0]


def test_what_stays_as_it_was_is_no_risk_but_where_it_is_risky() -> None:
    score = Additive(1.0, 0.5)
    found = [candidate(0, code="stayed"), candidate(1, code="stayed-risky")]
    assert chosen(score, found) == [1]
    assert chosen(Additive(-1.0, -0.5), found, -1.0) == [0, 1]
    assert "salary" not in CODE["stayed-risky"].kinds


class Either(Additive):
    """Two payments of which one would do."""

    def logits(self, cited: list[np.ndarray]) -> np.ndarray:
        flags = [[at in rows for at in range(3)] for rows in cited]
        gone = np.array(flags, dtype=bool).reshape(-1, 3)
        return 1.0 * ~(gone[:, 0] & gone[:, 1]) + 0.3 * ~gone[:, 2]


def test_a_reason_must_matter_by_itself() -> None:
    score = Either(1.0, 0.0, 0.3)
    assert chosen(score, [candidate(0), candidate(1), candidate(2)]) == [2]
    assert chosen(score, [candidate(0, 1), candidate(1), candidate(2)]) == [0, 2]


def example(*payments: tuple[str, str, float, str]) -> list[Candidate]:
    batch = FoldedBatch.from_rows([("u", "2024-07-01", list(payments))])
    return candidates(batch, CODES, KINDS)


def test_facts_are_told_of_kinds_and_of_each_merchant() -> None:
    months = [f"2024-0{month}" for month in range(1, 7)]
    found = example(
        *(("acme", f"{m}-28", 2000.0, "SALARY") for m in months[:3]),
        *(("lucky", f"{m}-{day}", -20.0, "casino") for m in months[3:] for day in (10, 20)),
        ("jetty", "2024-01-05", -20.0, "bingo"),
        ("who", "2024-06-01", -3.0, ""),
    )
    told = {(one.code.name, one.party.kind, len(one.party.segments)) for one in found}
    assert {
        ("income-stopped", "salary", 1),
        ("rose", "gambling", 2),
        ("once", "gambling", 1),
        ("once", None, 1),
    } <= told
    # The kind as a whole and its merchant may cite the same payments: then only one of them.
    assert len({one.rows.tobytes() for one in found}) == len(found)


def test_two_kinds_that_meet_are_told_together() -> None:
    days = (5, 12, 19, 26)
    found = example(
        *(("three globes", f"2024-06-{d:02}", 100.0, "pawnbroker") for d in days),
        *(("swing", f"2024-06-{d + 1:02}", -90.0, "forex") for d in days),
        ("other desk", "2024-01-01", -90.0, "forex"),
    )
    pair = next(one for one in found if one.code.name == "pair")
    assert pair.figures["times"] == 4
    assert len(pair.rows) == 8
    assert pair.then is not None
    assert len(pair.then.segments) == 1  # the other desk met nobody


def test_reason_is_what_the_docs_say() -> None:
    found = reasons(BUNDLE, lives(1), always=True)
    assert all(isinstance(reason, Reason) for reason in found.risk)
    assert found.cutoff.endswith("Z")
    assert found.user == "user 00"
