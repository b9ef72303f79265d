"""The benchmark: folds by user, nothing learned from a test user, chance where chance is.

Small networks and few draws: what is tested is who sees what, not how good anybody is.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lbsf_core.config import FoldConfig, PretrainConfig, TrainConfig
from lbsf_core.errors import LbsfError
from lbsf_core.evaluate.benchmark import Plan, outer_folds, run_fold
from lbsf_core.evaluate.comparison import compare
from lbsf_core.evaluate.contest import benchmark, compare_store
from lbsf_core.evaluate.contestants import BLENDS, CONTESTANTS, Data, Setting
from lbsf_core.evaluate.datasets import DATASETS
from lbsf_core.evaluate.html import page
from lbsf_core.evaluate.plans import ABLATIONS, FOLDS, TIMES, plans_of
from lbsf_core.evaluate.predictions import read_run
from lbsf_core.evaluate.scores import read_scores, summarise
from lbsf_core.fold.fold import fold
from lbsf_core.fold.store import FoldedStore
from lbsf_core.payments.simulate import simulate
from lbsf_core.train.histories import read_histories
from tests.builders import SMALL

SETTING = Setting(
    model=SMALL,
    train=TrainConfig(epochs=1, batch_samples=32, keep="last"),
    pretrain=PretrainConfig(epochs=1, epoch_share=0.1, every_days=180, least_payments=5),
    flat_epochs=1,
    slice_epochs=1,
    newest=30,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 simulated users whose labels have nothing to do with their payments."""
    folder = tmp_path_factory.mktemp("null")
    simulate(folder / "raw", users=150, seed=5, null=True)
    fold(
        folder / "raw" / "payments.parquet",
        folder / "raw" / "labels.parquet",
        folder / "store",
        FoldConfig(window_days=60),
    )
    return folder


@pytest.fixture(scope="module")
def data(world: Path) -> Data:
    store = FoldedStore.open(world / "store")
    labels = store.samples["label"].to_numpy(float)
    batch = store.read(np.arange(len(labels)))
    histories = read_histories([world / "raw" / "payments.parquet"], 60, SETTING.pretrain)
    return Data(batch, store.manifest.extra_fields, {"label": labels}, histories, SETTING)


def run_all(data: Data, plan: Plan, work: Path) -> None:
    work.mkdir(exist_ok=True)
    for repeat in range(max(plan.repeats.values())):
        for number in range(plan.folds):
            runs = [r for r in plan.runs(data) if (r.repeat, r.fold) == (repeat, number)]
            run_fold(data, plan, repeat, number, runs, work)


def test_folds_are_by_user_and_cover_every_sample_once(data: Data) -> None:
    plan = Plan(3, {"scorecard": 2}, {})
    users = np.array(data.batch.user_ids)
    drawn = []
    for repeat in range(2):
        folds = outer_folds(data, plan, repeat)
        assert sorted(np.concatenate([test for _, test in folds])) == list(range(len(users)))
        assert not any(set(users[a]) & set(users[b]) for a, b in folds)
        drawn.append([tuple(test) for _, test in folds])
    assert drawn[0] != drawn[1]


def test_by_time_the_last_cutoff_tests(data: Data) -> None:
    ((train, test),) = outer_folds(data, Plan(1, {"scorecard": 1}, {}, by="time"), 0)
    cutoffs = data.batch.cutoffs
    assert cutoffs[train].max() < cutoffs[test].min() == cutoffs.max()


@pytest.mark.parametrize(
    "name",
    [
        "lightgbm_merchant",
        "lightgbm_refit",
        "scorecard",
        "lbsf_alone",
        "lbsf_pretrained",
        "lbsf_boosted",
    ],
)
def test_what_a_test_user_is_like_changes_nothing_for_the_others(
    data: Data, tmp_path: Path, name: str
) -> None:
    """Labels of the test part turned round: not one of its scores moves."""
    plan = Plan(3, {name: 1}, {})
    _, test = outer_folds(data, plan, 0)[0]
    turned = data.labels["label"].copy()
    turned[test] = 1 - turned[test]
    torch.set_num_threads(1)
    found = []
    for number, labels in enumerate((data.labels["label"], turned)):
        other = replace(data, labels={"label": labels})
        # The same folds: they are drawn from the labels as they were.
        work = tmp_path / str(number)
        work.mkdir()
        run = plan.runs(data)[0]
        with pytest.MonkeyPatch.context() as patch:
            strata = data.labels["label"].astype(np.int64)
            patch.setattr("lbsf_core.evaluate.benchmark._strata", lambda _, s=strata: s)
            run_fold(other, plan, 0, 0, [run], work)
        found.append(read_run(work / run.file))
    pd.testing.assert_frame_equal(found[0], found[1], check_exact=True)


def test_in_a_null_world_nobody_knows_anything(data: Data, tmp_path: Path) -> None:
    names = (
        *("lightgbm_user", "lightgbm_merchant", "lightgbm_refit", "scorecard"),
        *("lbsf_alone", "lbsf_pretrained", "lbsf_boosted"),
    )
    plan = Plan(3, dict.fromkeys(names, 1), {})
    run_all(data, plan, tmp_path / "runs")
    scores = read_scores(data, plan, tmp_path / "runs", "label")
    assert "lbsf" in scores and "lbsf_both" in scores
    labels, users = data.labels["label"], list(data.batch.user_ids)
    found = summarise(scores, labels, users, [("lbsf", "scorecard")], draws=200)
    bad, good = labels.sum(), (1 - labels).sum()
    error = np.sqrt((bad + good + 1) / (12 * bad * good))  # of an AUC by chance
    for name, entry in found["contestants"].items():
        assert abs(entry["auc"] - 0.5) < 3.3 * error, name
        assert entry["metrics"]["ECE"]["value"] < 0.15, name
        assert entry["lo"] < entry["auc"] < entry["hi"], name
    report = compare(data, "label", scores, draws=50)
    assert report["differences"]["lbsf - lightgbm"]["lo"] < 0
    assert {"payments", "merchants"} <= {s["by"] for s in report["slices"]}
    # A run that is there is not run again.
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "runs").iterdir()}
    run_all(data, plan, tmp_path / "runs")
    assert before == {p.name: p.stat().st_mtime_ns for p in (tmp_path / "runs").iterdir()}


@pytest.mark.parametrize("name", ["gru", "transformer", "coles", "decoupled", "mean_pooling"])
def test_every_other_kind_of_contestant_runs(data: Data, tmp_path: Path, name: str) -> None:
    plan = Plan(3, {name: 1}, {})
    run_fold(data, plan, 0, 0, plan.runs(data)[:1], tmp_path)
    assert len(list(tmp_path.glob("*.parquet"))) == 1


def test_a_store_is_compared_and_the_page_needs_nothing_else(world: Path) -> None:
    report = compare_store(
        world / "store", ["scorecard", "lightgbm_user"], folds=2, draws=50, workers=1
    )
    found = json.loads(json.dumps(report))["store"]
    assert set(found["contestants"]) == {"scorecard", "lightgbm_user", "lightgbm"}
    report["<b>x"] = report.pop("store")
    assert "Out of time" not in page(report)
    report["<b>x"]["out_of_time"] = found
    report["about"]["cpu_seconds"] = {"a/runs": {"gru": 5400.0, "x": 600.0}, "b/runs": {"gru": 600}}
    text = page(report)
    assert "Out of time: early cutoffs train" in text
    assert "took 1.8 hours of one core" in text and "gru 100 min, x 10 min" in text
    assert "&lt;b&gt;x" in text and "<b>x" not in text
    assert "http" not in text and "<script" not in text
    assert "never evidence of predictive power" in text


def test_wrong_names_are_refused(world: Path) -> None:
    with pytest.raises(LbsfError, match="'lgbm' is no contestant"):
        compare_store(world / "store", ["lgbm"])
    with pytest.raises(LbsfError, match="choose user or time"):
        compare_store(world / "store", ["scorecard"], by="month")
    with pytest.raises(LbsfError, match="no such file"):
        benchmark(world, world / "work", ["berka"])


def test_blends_and_datasets_name_contestants_that_exist() -> None:
    for parts in (blend.parts for blend in BLENDS.values()):
        assert set(parts) <= set(CONTESTANTS)
    assert list(TIMES) == list(DATASETS)
    for name, dataset in DATASETS.items():
        times = TIMES[name].of()
        assert TIMES[name].ablation_label in dataset.labels[2]
        assert set(ABLATIONS) <= set(times) <= set(CONTESTANTS)
        assert {times[who] for who in ("gru", *FOLDS)} == {TIMES[name].slow_repeats}


def test_a_plan_keeps_to_what_was_asked(data: Data) -> None:
    plans = plans_of("berka", data, repeats=2, contestants=("scorecard", "gru", "no_fold"))
    assert plans["runs"].repeats == {"scorecard": 2, "gru": 1, "no_fold": 1}
