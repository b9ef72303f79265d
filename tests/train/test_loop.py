"""The training loop: repeatable, resumable, and learning from the training part only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lbsf_core.config import ModelConfig, TrainConfig
from lbsf_core.errors import LbsfError
from lbsf_core.fold.batch import FoldedBatch, Strings
from lbsf_core.payments.schema import Field, FieldKind
from lbsf_core.train.loop import Fitted, Step, _rate, fit
from tests.builders import SMALL, random_batch

# Dropout everywhere: a resumed run must draw the numbers that an unbroken one would have drawn.
DROPPING = ModelConfig(
    width=8, heads=2, text_buckets=64, text_width=8, bins=5, dropout=0.2, text_dropout=0.5
)
CONFIG = TrainConfig(epochs=4, batch_samples=8, patience=9, learning_rate=1e-2)
BATCH = random_batch(0, 48)
TRAIN, VALIDATION = np.arange(36), np.arange(36, 48)
CPU = torch.device("cpu")


def run(
    batch: FoldedBatch = BATCH,
    config: TrainConfig = CONFIG,
    *,
    model: ModelConfig = DROPPING,
    progress: Callable[[Step], None] | None = None,
    checkpoint: Path | None = None,
) -> Fitted:
    return fit(
        batch, (), TRAIN, VALIDATION, model, config,
        progress=progress, checkpoint=checkpoint, device=CPU,
    )  # fmt: skip


@pytest.fixture(scope="module")
def unbroken() -> Fitted:
    return run()


def same_weights(one: Fitted, other: Fitted) -> bool:
    pairs = zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_same_seed_same_weights_other_seed_others(unbroken: Fitted) -> None:
    again = run()
    assert same_weights(unbroken, again)
    assert again.history == unbroken.history
    np.testing.assert_array_equal(again.validation_logits, unbroken.validation_logits)
    assert not same_weights(unbroken, run(config=replace(CONFIG, seed=1)))


class Killed(BaseException):
    """Stands for a kill: nothing may catch it."""


@pytest.mark.parametrize("at", [1, 5, 6, 13, 20])
def test_killed_and_resumed_equals_unbroken(unbroken: Fitted, tmp_path: Path, at: int) -> None:
    """Five steps an epoch: killed in the first one, at borders, and in the last."""

    def kill(step: Step) -> None:
        if step.done == at:
            raise Killed

    with pytest.raises(Killed):
        run(progress=kill, checkpoint=tmp_path / "state")
    steps: list[Step] = []
    resumed = run(progress=steps.append, checkpoint=tmp_path / "state")
    assert same_weights(unbroken, resumed)
    assert resumed.history == unbroken.history
    assert resumed.best_epoch == unbroken.best_epoch
    np.testing.assert_array_equal(resumed.validation_logits, unbroken.validation_logits)
    assert steps[0].done == (at - 1) // 5 * 5 + 1  # from the last finished epoch on


def test_killed_while_the_state_is_replaced(unbroken: Fitted, tmp_path: Path) -> None:
    run(config=replace(CONFIG, epochs=4), checkpoint=tmp_path / "state")
    (tmp_path / "state").rename(tmp_path / ".state.old")  # between the two renames
    steps: list[Step] = []
    resumed = run(progress=steps.append, checkpoint=tmp_path / "state")
    assert not steps  # nothing is done twice
    assert same_weights(unbroken, resumed)


def test_progress_says_where_training_stands(unbroken: Fitted) -> None:
    steps: list[Step] = []
    run(progress=steps.append)
    assert [step.done for step in steps] == list(range(1, 21))
    assert {step.total for step in steps} == {20}
    assert [step.epoch for step in steps[::5]] == [1, 2, 3, 4]
    assert np.isnan([step.auc for step in steps[:5]]).all()
    best = np.maximum.accumulate([entry["validation_auc"] for entry in unbroken.history])
    assert [step.auc for step in steps[5::5]] == best[:3].tolist()


def test_the_best_epoch_is_kept() -> None:
    found = run()
    aucs = [entry["validation_auc"] for entry in found.history]
    assert [entry["epoch"] for entry in found.history] == [1, 2, 3, 4]
    assert found.best_epoch == int(np.argmax(aucs)) + 1  # the first of equals
    labels, logits = BATCH.labels[VALIDATION], found.validation_logits
    better = (logits[labels == 1][:, None] - logits[labels == 0]).ravel()
    auc = np.mean((better > 0) + 0.5 * (better == 0))
    assert auc == pytest.approx(max(aucs))
    assert not found.model.training


def test_training_stops_after_patience() -> None:
    found = run(config=replace(CONFIG, epochs=30, patience=2))
    assert len(found.history) == found.best_epoch + 2 < 30


def test_a_plain_cause_is_learned() -> None:
    """Bad users pay a lender: any working loop learns it in a few epochs."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(48):
        shops = ["lender" if user % 2 else "baker", "grocer", "rent"]
        paid = [(m, f"2024-01-{rng.integers(1, 29):02}", -9.0, "") for m in shops * 2]
        rows.append((f"user {user}", "2024-02-01", paid))
    batch = FoldedBatch.from_rows(rows, labels=[float(user % 2) for user in range(48)])
    # Without rhythm: 48 users are too few not to learn their (random) days by heart.
    model = replace(SMALL, text_buckets=1024, text_dropout=0.0, rhythm=False)
    found = run(batch, replace(CONFIG, epochs=24), model=model)
    assert max(entry["validation_auc"] for entry in found.history) > 0.9


def perturbed(batch: FoldedBatch, rows: np.ndarray) -> FoldedBatch:
    """The batch with everything about the payments of some samples changed."""
    sample, segment = np.isin(batch.sample_of_payment, rows), batch.sample_of_segment
    merchants = [
        f"new {i}" if segment[i] in rows else name
        for i, name in enumerate(batch.merchants.decode())
    ]
    kinds = ["unseen" if new else "seen" for new in sample]
    return replace(
        batch,
        merchants=Strings.encode(merchants),
        amounts=np.where(sample, batch.amounts * 1e4 + 1e5, batch.amounts),
        timestamps=np.where(sample, batch.timestamps - 10**15, batch.timestamps),
        texts={**batch.texts, "kind": Strings.encode(kinds)},
        numbers={"balance": np.where(sample, 1e7, batch.amounts)},
    )


def test_everything_fitted_comes_from_the_training_part() -> None:
    extra = (Field("kind", FieldKind.CATEGORY), Field("balance", FieldKind.NUMBER))
    plain, other = perturbed(BATCH, np.array([])), perturbed(BATCH, VALIDATION)
    one, two = (
        fit(b, extra, TRAIN, VALIDATION, DROPPING, replace(CONFIG, epochs=1), device=CPU)
        for b in (plain, other)
    )
    assert one.model.fitted == two.model.fitted
    assert one.model.fitted["kind"] == {"vocabulary": ["seen"]}
    assert same_weights(one, two)  # with the scales of statistics and the typical payment
    assert (one.validation_logits != two.validation_logits).all()
    moved = fit(
        perturbed(BATCH, TRAIN[:5]), extra, TRAIN, VALIDATION, DROPPING,
        replace(CONFIG, epochs=1), device=CPU,
    )  # fmt: skip
    assert moved.model.fitted != one.model.fitted


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(48), "36 good and 0 bad"),
        (np.ones(48), "0 good and 36 bad"),
        (np.where(np.arange(48) == 3, np.nan, BATCH.labels), "1 of both have no label"),
        (np.where(np.arange(48) == 40, np.nan, BATCH.labels), "1 of both have no label"),
    ],
)
def test_training_without_both_classes_is_a_clear_error(labels, message: str) -> None:
    with pytest.raises(LbsfError, match=message):
        run(replace(BATCH, labels=labels))


def test_training_without_validation_is_a_clear_error() -> None:
    with pytest.raises(LbsfError, match="something to validate on"):
        fit(BATCH, (), TRAIN, TRAIN[:0], DROPPING, CONFIG, device=CPU)


def test_one_class_in_validation_stops_by_loss() -> None:
    labels = BATCH.labels.copy()
    labels[VALIDATION] = 0.0
    found = run(replace(BATCH, labels=labels))
    losses = [entry["validation_loss"] for entry in found.history]
    assert {entry["validation_auc"] for entry in found.history} == {-1.0}
    assert found.best_epoch == int(np.argmin(losses)) + 1


def test_divergence_is_a_clear_error() -> None:
    with pytest.raises(LbsfError, match=r"training diverged in epoch 1.*smaller learning rate"):
        run(config=replace(CONFIG, learning_rate=1e30))


def test_empty_histories_take_part_in_training() -> None:
    batch = BATCH.keep(~np.isin(BATCH.sample_of_payment, [0, 1, 40, 41]))
    found = run(batch)
    assert np.isfinite(found.validation_logits).all()
    assert found.model.users.empty.abs().max() > 0


def test_rate_warms_up_and_decays_to_a_twentieth() -> None:
    config = TrainConfig(learning_rate=1.0, warmup=0.1)
    rates = [_rate(step, 100, config) for step in range(101)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.525)
    assert rates[100] == pytest.approx(0.05)
    assert (np.diff(rates[10:]) < 0).all()
