"""From a store to a bundle: sizes, what the bundle says about itself, and going on after a kill."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lbsf_core.config import ModelConfig, TrainConfig
from lbsf_core.errors import LbsfError
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.train.loop import Step
from lbsf_core.train.split import PARTS, parts
from lbsf_core.train.train import train
from tests.builders import SMALL, fold_rows, random_samples

CONFIG = TrainConfig(epochs=2, batch_samples=8, test=0.0)  # measuring takes longer than training


def test_bundle_says_where_it_comes_from(tiny_store: Path, tiny_bundle: Path) -> None:
    store, bundle = FoldedStore.open(tiny_store), Bundle.load(tiny_bundle)
    training = bundle.training
    assert sum(training["sizes"].values()) == 60
    assert training["store"] == store.digest
    assert training["simulated"] is True
    assert training["train"]["epochs"] == len(training["history"]) == 3
    samples = store.samples
    labels = samples["label"].to_numpy(dtype=float)
    part = parts(samples["user_id"].tolist(), np.zeros(60, np.int64), labels, training["split"])
    for number, name in enumerate(PARTS):
        assert (part == number).sum() == training["sizes"][name] > 0
        assert labels[part == number].sum() == training["bad"][name] > 0
    for metric in bundle.metrics.values():
        assert metric["lo"] <= metric["value"] <= metric["hi"]
    card = bundle.card
    assert "never evidence of predictive power" in card["Limits"][0]
    assert "category" in card["What it sees"][1]
    assert not tiny_bundle.with_name("bundle.training").exists()


def test_train_goes_on_after_a_kill_and_ends_with_the_same_bundle(tmp_path: Path) -> None:
    samples = random_samples(0, 40)
    payments = [(user, *paid) for user, _, rows in samples for paid in rows]
    labels = [(user, cutoff, float(i % 2)) for i, (user, cutoff, _) in enumerate(samples)]
    store = fold_rows(tmp_path, payments, [*labels, ("unlabelled", "2024-01-01", None)])
    unbroken = train(store, tmp_path / "one", SMALL, CONFIG)
    assert sum(unbroken.sizes.values()) == 40

    def kill(step: Step) -> None:
        if step.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(store, tmp_path / "two", SMALL, CONFIG, progress=kill)
    assert not (tmp_path / "two").exists()
    assert (tmp_path / "two.training").exists()
    steps: list[Step] = []
    train(store, tmp_path / "two", SMALL, CONFIG, progress=steps.append)
    assert {step.epoch for step in steps} == {2}
    assert not (tmp_path / "two.training").exists()
    for name in ("weights.safetensors", "manifest.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    # Other settings never go on from this state.
    with pytest.raises(KeyboardInterrupt):
        train(store, tmp_path / "two", SMALL, CONFIG, progress=kill)
    steps.clear()
    other = ModelConfig(**SMALL.to_dict() | {"width": 4})
    train(store, tmp_path / "two", other, CONFIG, progress=steps.append)
    assert {step.epoch for step in steps} == {1, 2}
    # The bundle scores as the model that was trained did.
    batch = store.read(np.arange(5))
    with torch.no_grad():
        loaded = Bundle.load(tmp_path / "one").model(batch)
        assert torch.equal(loaded, unbroken.bundle.model(batch))


def test_samples_that_stay_on_the_disk_train_the_same_bundle(tmp_path: Path) -> None:
    samples = random_samples(3, 50, payments=30)
    payments = [(user, *paid) for user, _, rows in samples[1:] for paid in rows]  # one is empty
    labels = [(user, cutoff, float(i % 2)) for i, (user, cutoff, _) in enumerate(samples)]
    store = fold_rows(tmp_path, payments, [*labels, ("unlabelled", "2024-01-01", None)])
    config = replace(CONFIG, test=0.2)
    # Which texts a step does without is drawn word by word, and words are read in another order.
    model = replace(SMALL, text_dropout=0.0)
    found, expected = (
        train(store, tmp_path / name, model, config, in_memory=most)
        for name, most in (("disk", 0), ("memory", 10**6))
    )
    assert found.sizes == expected.sizes
    for one, other in zip(found.fitted.history, expected.fitted.history, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    np.testing.assert_allclose(
        found.fitted.validation_logits, expected.fitted.validation_logits, atol=1e-3
    )
    assert not (tmp_path / "disk.training").exists()
    assert "forward" not in vars(found.bundle.model)


def test_too_few_labels_is_a_clear_error(tmp_path: Path) -> None:
    labels = [(f"u{i}", "2024-01-01", 1.0 if i < 19 else None) for i in range(40)]
    store = fold_rows(tmp_path, [("u1", "m", "2023-01-01", -1.0, "")], labels)
    with pytest.raises(LbsfError, match="19 labelled samples; training needs at least 20"):
        train(store, tmp_path / "bundle", SMALL, CONFIG)


def test_one_class_only_is_a_clear_error(tmp_path: Path) -> None:
    labels = [(f"u{i}", "2024-01-01", 0.0) for i in range(40)]
    store = fold_rows(tmp_path, [("u1", "m", "2023-01-01", -1.0, "")], labels)
    with pytest.raises(LbsfError, match="0 bad samples"):
        train(store, tmp_path / "bundle", SMALL, CONFIG)
    assert not (tmp_path / "bundle").exists()
