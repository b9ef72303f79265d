"""Meetings: counted by hand, silent where nobody meets, and what two merchants mean together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lbsf_core.config import ModelConfig
from lbsf_core.explain.gradient import explain
from lbsf_core.explain.removal import Coalitions
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.lbsf import LBSF
from lbsf_core.model.meetings import DAYS, _features, days_paid
from tests.builders import SMALL, random_batch, small_model

CONFIG = replace(SMALL, meetings=True)
#: Pawned on the 1st and the 20th, traded on the 3rd, bread on the 10th, long ago a tram.
PAID = [
    ("pawn", "2024-03-01", 50.0, "x"),
    ("pawn", "2024-03-20", 50.0, "x"),
    ("trade", "2024-03-03", -90.0, "x"),
    ("baker", "2024-03-10", -3.0, "x"),
    ("tram", "2023-03-03", -2.0, "x"),
]


def test_days_and_meetings_by_hand() -> None:
    batch = FoldedBatch.from_rows([("u", "2024-03-31", PAID)])
    names = batch.merchants.decode()
    days = days_paid(batch)
    assert days.shape == (4, DAYS)
    # Midnight to midnight: whole days before the cutoff.
    paid = {name: np.flatnonzero(row).tolist() for name, row in zip(names, days, strict=True)}
    assert paid == {"pawn": [11, 30], "baker": [21], "trade": [28], "tram": []}
    count, share, _, both = _features(days[None])[0].unbind(-1)
    pawn, trade = names.index("pawn"), names.index("trade")
    expected = torch.zeros(4, 4)
    expected[pawn, trade] = expected[trade, pawn] = np.log(2)
    torch.testing.assert_close(count, expected)
    assert share[pawn, trade] == 0.5  # one of its two days
    assert share[trade, pawn] == 1.0
    assert both[pawn, trade] == both[trade, pawn] == 0.5


def test_nothing_is_heard_where_nobody_meets() -> None:
    train = random_batch(5, 10)
    model = small_model(train, config=CONFIG)
    apart = [(f"m{at}", f"2024-0{at + 1}-01", -5.0, "x") for at in range(4)]
    batch = FoldedBatch.from_rows([("u", "2024-06-01", apart)])
    with torch.no_grad():
        before = model(batch)
        model.meetings.gate.weight.mul_(5.0)
        torch.testing.assert_close(model(batch), before)
        near = FoldedBatch.from_rows(
            [("u", "2024-06-01", [*apart, ("m9", "2024-04-02", -5.0, "x")])]
        )
        heard = model(near)
        model.meetings.gate.weight.mul_(-1.0)
        assert abs(float(model(near) - heard)) > 1e-3


def test_a_model_that_does_not_ask_has_no_days() -> None:
    batch = random_batch(5, 10)
    plain = LBSF.fit(SMALL, (), batch)
    assert plain.meetings is None
    assert plain.layout(batch).days.shape == (len(batch.merchants), 0)


def test_batched_equals_one_by_one_and_values_add_up() -> None:
    batch = random_batch(5, 10, payments=30, days=60)
    model = small_model(random_batch(6, 20), config=CONFIG)
    with torch.no_grad():
        alone = torch.cat([model(batch.select([row])) for row in range(10)])
        torch.testing.assert_close(model(batch), alone, atol=2e-5, rtol=1e-5)
    for found in explain(Bundle(model, {"slope": 1.0, "intercept": 0.0}), batch):
        assert found.problems() == []


def learned(config: ModelConfig) -> float:
    """How often the pair is first by interaction, of users who have it, after a little training.

    Bad are those who pawn and trade within a day; pawning or trading apart is harmless.
    """
    rng = np.random.default_rng(0)
    rows, labels = [], []
    for number in range(240):
        bad = number % 2
        starts = rng.choice(np.arange(2, 170, 4), size=8, replace=False)
        days = {"pawn": starts[:4], "trade": starts[:4] - 1 if bad else starts[4:]}
        days |= {f"shop {at}": rng.integers(1, 170, 4) for at in range(3)}
        cutoff = np.datetime64("2024-07-01")
        paid = [(m, str(cutoff - int(d)), -10.0, "x") for m, all_ in days.items() for d in all_]
        rows.append((f"u{number}", str(cutoff), paid))
        labels.append(float(bad))
    batch = FoldedBatch.from_rows(rows, labels=labels)
    torch.manual_seed(0)
    model = LBSF.fit(config, (), batch)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    target = torch.tensor(labels)
    for _ in range(120):
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(model(batch), target).backward()
        optimiser.step()
    hits = []
    for row in np.flatnonzero(np.array(labels) == 1)[:20]:
        coalitions = Coalitions(model, batch.select([int(row)]))
        size = np.triu(np.abs(coalitions.interactions()), 1)
        first = np.unravel_index(int(np.argmax(size)), size.shape)
        names = coalitions.batch.merchants.decode()
        hits.append({names[int(at)] for at in first} == {"pawn", "trade"})
    return float(np.mean(hits))


def test_what_two_merchants_mean_together_is_learned_and_measured() -> None:
    found = learned(replace(CONFIG, width=16))
    assert found >= 0.8
    assert found >= learned(replace(CONFIG, width=16, meetings=False)) + 0.3


@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, relation_layers=0)])
def test_weights_survive_a_bundle(config: ModelConfig, tmp_path) -> None:
    batch = random_batch(5, 10)
    model = small_model(batch, config=config)
    Bundle(model, {"slope": 1.0, "intercept": 0.0}).save(tmp_path / "bundle")
    with torch.no_grad():
        again = Bundle.load(tmp_path / "bundle").model(batch)
        torch.testing.assert_close(again, model(batch))
