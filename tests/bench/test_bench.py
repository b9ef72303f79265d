"""The benches give the demanded figures, on the same work; how fast is no matter for a test."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from lbsf_core.bench import bench_explain, bench_fold, bench_score, bench_train, frontier
from lbsf_core.bench.dashboard import WINDOW_DAYS, _cohorts, large
from lbsf_core.bench.data import write_payments
from lbsf_core.bench.e2e import bench_e2e, run_command
from lbsf_core.bench.explain import _against_timeshap, ask_timeshap, default_timeshap
from lbsf_core.bench.history import keep, read, table
from lbsf_core.bench.memory import bench_memory
from lbsf_core.bench.update import bench_update
from lbsf_core.cli import app
from lbsf_core.config import TrainConfig
from lbsf_core.errors import LbsfError
from lbsf_core.evaluate.protocol import cross_validate
from lbsf_core.fold.store import FoldedStore
from lbsf_core.machine import MATMUL_FLOPS, limits, matmul_seconds, python_rate
from lbsf_core.workspace import Workspace
from tests.builders import SMALL


def test_python_is_as_fast_as_its_best_round(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 2.0, 10.0, 10.5, 20.0, 21.0])
    monkeypatch.setattr("lbsf_core.machine.time.perf_counter", lambda: next(clock))
    assert python_rate(turns=1_000, rounds=3) == 2_000


def test_limits_are_what_the_best_round_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    # The first round counts for nothing; a product then takes 2 and 1 s, a copy of 2^28 bytes 0.5.
    clock = iter([0.0, 0.1, 0.0, 2.0, 0.0, 1.0])
    monkeypatch.setattr("lbsf_core.machine.time.perf_counter", lambda: next(clock))
    assert matmul_seconds(rounds=2) == 1.0
    clock = iter([at for took in (1.0, 4.0, 2.0, 3.0) for at in (0.0, took)] + [0.0, 0.5] * 6)
    assert limits() == {
        "memory_gb_per_s": round(2 * 2**28 / 0.5 / 1e9, 1),
        "matmul_gflops": round(MATMUL_FLOPS / 2.0 / 1e9, 1),
    }


def test_bench_fold_folds_the_same_as_pandas_and_polars() -> None:
    found = bench_fold(20_000, users=50)
    assert found["equal"]
    assert found["polars_payments_per_s"] > 0
    alone = bench_fold(20_000, users=1, alone=True, memory_limit="500MB")
    assert "ratio" not in alone
    assert alone["payments_kept"] > 0
    assert 0 < found["payments_kept"] <= 20_000
    assert found["ratio"] == pytest.approx(
        found["payments_per_s"] / found["pandas_payments_per_s"], abs=0.02
    )
    assert found["peak_rss_gb"] > 0
    moved = found["payments_per_s"] * found["bytes_per_payment"] / 1e9
    assert found["bytes_per_payment"] > 20
    assert found["memory_share"] == pytest.approx(
        moved / found["machine"]["memory_gb_per_s"], rel=0.05
    )


def test_bench_score_measures_all_three() -> None:
    found = bench_score([16, 64], payments=256, rounds=1, width=16)
    for length in ("16", "64"):
        assert set(found[length]) == {
            *("lbsf", "transformer", "gru", "transformer_body", "gru_body"),
            *("flops_per_payment", "matmul_share", "ratios"),
        }
        one = found[length]
        ratios = one["ratios"]
        assert all(rate > 0 for name, rate in one.items() if name != "ratios")
        assert ratios["gru"] == pytest.approx(one["lbsf"] / one["gru"], rel=0.01)
        assert set(ratios) == {"transformer", "gru", "transformer_body", "gru_body"}
        share = one["lbsf"] * one["flops_per_payment"] / found["machine"]["matmul_gflops"] / 1e9
        assert one["matmul_share"] == pytest.approx(share, rel=0.1)
    assert found["machine"]["width"] == 16
    with pytest.raises(LbsfError, match="at least 1"):
        bench_score([])


def test_bench_e2e_runs_both_commands() -> None:
    found = bench_e2e(5_000, users=20)
    assert found["payments_per_s"] == pytest.approx(
        5_000 / (found["fold_s"] + found["score_s"]), rel=0.02
    )


def test_bench_memory_measures_the_command_and_not_who_starts_it(tmp_path: Path) -> None:
    found = bench_memory([80, 400], per_user=5, workdir=tmp_path)
    held = np.ones(700 << 17)  # 700 MiB of this process are none of the command's
    ran = run_command(["--help"], tmp_path)
    assert held.sum() == len(held)
    assert 0.01 < ran.peak_rss_gb < 0.3 < found["80"]["score_peak_rss_gb"] < 3
    for what in ("score", "train"):
        few, many = (found[users][f"{what}_peak_rss_gb"] for users in ("80", "400"))
        assert found[f"{what}_growth"] == pytest.approx(many / few, abs=0.01)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(LbsfError, match="compares two"):
        bench_memory([10])


def test_payments_of_the_benches_are_as_many_as_asked_for_and_no_user_has_most(tmp_path) -> None:
    write_payments(tmp_path, 200_000, 10_000, 0)
    users = pq.read_table(tmp_path / "payments.parquet", columns=["user_id"])["user_id"]
    counts = pc.value_counts(users.combine_chunks()).field("counts").to_numpy()
    assert (counts.sum(), len(counts)) == (200_000, 10_000)
    assert 1 <= counts.min() < 10
    assert 100 < counts.max() < 1_000


def test_bench_update_scores_as_a_refold() -> None:
    found = bench_update(updates=12, rounds=1)
    assert 0 <= found["max_diff"] < 1e-5
    assert found["median_ms_10000"] > 0
    assert found["ratio_10000_100"] == pytest.approx(
        found["median_ms_10000"] / found["median_ms_100"], abs=0.01
    )


def test_history_shows_a_regression(tmp_path: Path) -> None:
    path = tmp_path / "bench.jsonl"
    machine = {"cores": 2, "cpu": "x", "memory_gb": 4, "load_1min": 0.1, "date": "2026-01-01T0"}
    for rate in (2_000_000, 1_500_000):
        keep(path, "fold", {"payments_per_s": rate, "inner": {"a": 0.5}, "machine": machine})
    keep(path, "update", {"median_ms": 4.0, "equal": True, "machine": machine})
    assert [entry["bench"] for entry in read(path)] == ["fold", "fold", "update"]
    made = table(read(path))
    assert "| payments_per_s | 1,500,000 | 2,000,000 | -25% |" in made
    assert "| inner a | 0.5 | 0.5 | +0% |" in made
    assert "| median_ms | 4 |  |  |" in made
    # Another processor is no change of ours: it is held against the last one of its kind.
    for cpu, rate in (("y", 3_000_000), ("x", 1_800_000)):
        keep(path, "fold", {"payments_per_s": rate, "machine": machine | {"cpu": cpu}})
        made = table(read(path))
        assert ("| payments_per_s | 3,000,000 |  |  |" in made) == (cpu == "y")
    assert "| payments_per_s | 1,800,000 | 1,500,000 | +20% |" in made
    path.write_text("no\n")
    with pytest.raises(LbsfError, match="line 1"):
        read(path)
    with pytest.raises(LbsfError, match="no such file"):
        read(tmp_path / "none")


def test_the_command_keeps_its_history(tmp_path: Path) -> None:
    path = tmp_path / "bench.jsonl"
    line = ["bench", "--history", str(path), "fold", "--payments", "2000", "--alone", "--json"]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, done.output
    assert read(path)[0]["payments"] == 2000
    told = CliRunner().invoke(app, ["bench", "table", str(path)])
    assert told.exit_code == 0 and "## fold" in told.output


def test_bench_train_measures_all_three_and_their_memory() -> None:
    found = bench_train([16, 64], payments=1024, steps=2, width=16)
    for length in ("16", "64"):
        for name in ("lbsf", "transformer", "gru"):
            assert found[length][name]["payments_per_s"] > 0
            assert 0.05 < found[length][name]["peak_rss_gb"] < 8
        own = found[length]["lbsf"]["payments_per_s"]
        peer = found[length]["gru"]["payments_per_s"]
        assert found[length]["ratios"]["gru"] == pytest.approx(own / peer, abs=0.01)
    with pytest.raises(LbsfError, match="at least 1"):
        bench_train([0])


def test_bench_frontier_holds_models_against_the_first(
    tiny_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"small": SMALL, "again": SMALL, "flat": replace(SMALL, relation_layers=0)}
    monkeypatch.setattr(frontier, "MODELS", sizes)
    store, told = FoldedStore.open(tiny_store), []
    found = frontier.bench_frontier(
        store,
        names=list(sizes),
        folds=2,
        config=TrainConfig(epochs=1),
        progress=lambda *at: told.append(at),
    )
    for name in sizes:
        one = found[name]
        assert one["lo"] <= one["auc"] <= one["hi"]
        assert one["gain"] == one["auc"] - found["small"]["auc"]
        assert one["payments_per_s"] > 0
    assert found["small"]["gain_lo"] == found["small"]["gain_hi"] == 0
    assert found["again"]["gain"] == pytest.approx(0, abs=1e-6)
    assert found["flat"]["parameters"] < found["small"]["parameters"]
    assert found["machine"]["samples"] == 60
    assert told[-1][1] == told[-1][2]
    evaluation = cross_validate(store, folds=2, model_config=SMALL, config=TrainConfig(epochs=1))
    assert found["small"]["auc"] == pytest.approx(evaluation.metrics["AUC"].value, abs=1e-6)
    with pytest.raises(LbsfError, match="No model 'tiny'; choose among small"):
        frontier.bench_frontier(store, names=["tiny"])


def test_bench_explain_times_every_engine() -> None:
    found = bench_explain(payments=400, merchants=13, coalitions=60, many=3, rounds=1, width=16)
    timed = ("shapley_2000_s", "gradient_s", "whatif_s", "interactions_s", "explain_all_per_s")
    assert all(found[name] > 0 for name in (*timed, "payments_of_a_merchant_s"))
    assert found["timeshap_ratio"] is None
    assert found["machine"]["merchants"] == 13


def python_that(path: Path, script: str) -> Path:
    path.write_text(f"#!{sys.executable}\n{script}\n")
    path.chmod(0o755)
    return path


def test_timeshap_is_asked_for_the_same_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interpreter that keeps what it was given, and says that it took ten seconds."""
    monkeypatch.setattr("lbsf_core.bench.explain.TIMESHAP_PAYMENTS", 24)
    given = tmp_path / "given.json"
    python = python_that(
        tmp_path / "python",
        f"import pathlib, sys; pathlib.Path({str(given)!r}).write_text(sys.stdin.read())\n"
        """print("a package that talks")\nprint('{"event_s": 10.0, "model_s": 7.0}')""",
    )
    found = _against_timeshap(python, coalitions=60, rounds=1, width=8, seed=0)
    asked = json.loads(given.read_text())
    assert np.shape(asked["sequence"]) == (24, 7) and np.isfinite(asked["sequence"]).all()
    assert (asked["width"], asked["coalitions"], asked["rounds"]) == (8, 60, 1)
    assert asked["threads"] == torch.get_num_threads()
    ours = found["timeshap"]
    assert found["timeshap_ratio"] == pytest.approx(10 / ours["merchants_s"])
    assert found["timeshap_payments_ratio"] == pytest.approx(10 / ours["payments_s"])
    assert ours["model_s"] == 7.0 and ours["merchants_s"] > 0 and ours["payments_s"] > 0


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("import sys; sys.exit('No module named timeshap')", "No module named timeshap"),
        ("print('no JSON')", "did not run .no JSON"),
        ("", "it said nothing"),
    ],
)
def test_an_environment_without_timeshap_is_told(tmp_path: Path, script: str, message: str) -> None:
    with pytest.raises(LbsfError, match=f"{message}.*make timeshap"):
        ask_timeshap(python_that(tmp_path / "python", script), {})
    with pytest.raises(LbsfError, match=r"No such file.*make timeshap"):
        ask_timeshap(tmp_path / "nowhere", {})


@pytest.mark.skipif(default_timeshap() is None, reason="make timeshap: an environment of its own")
def test_timeshap_itself_runs() -> None:
    rng = np.random.default_rng(0)
    asked = {"sequence": rng.normal(size=(24, 7)).tolist(), "width": 8, "coalitions": 60}
    found = ask_timeshap(default_timeshap(), asked | {"rounds": 1, "threads": 1, "seed": 0})
    assert found["versions"]["timeshap"] == "1.0.4"
    assert 0 < found["model_s"] < found["event_s"]


@pytest.fixture
def one_of_two_threads() -> Iterator[None]:
    """Nothing is measured: one thread, as small models have it in other tests (see conftest)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_of_two_threads")
def test_the_large_workspace_has_every_user_at_two_cutoffs(tmp_path: Path) -> None:
    ready = large(tmp_path, 40)
    samples = pd.read_parquet(ready / "samples.parquet").sort_values(["user_id", "cutoff"])
    assert len(samples) == 40 and samples["user_id"].nunique() == 20
    apart = samples.groupby("user_id")["cutoff"].agg(lambda c: c.max() - c.min())
    assert (apart == pd.Timedelta(days=WINDOW_DAYS)).all()
    assert (samples["label"] != "unknown").tolist() == [False, True] * 20
    assert samples["previous_pd"].notna().tolist() == [False, True] * 20
    assert (samples["payments"] > 0).mean() > 0.9
    made = (ready / "manifest.json").stat().st_mtime_ns
    assert large(tmp_path, 40) == ready
    assert (ready / "manifest.json").stat().st_mtime_ns == made, "it is made once"


@pytest.mark.usefixtures("one_of_two_threads")
def test_a_workspace_of_tiles_is_its_users_again_under_other_names(tmp_path: Path) -> None:
    once, thrice = large(tmp_path, 40), large(tmp_path, 40, tiles=3)
    few, many = (pd.read_parquet(path / "samples.parquet") for path in (once, thrice))
    assert len(many) == 3 * len(few)
    assert many["user_id"].tolist() == [f"{k:03d}-{u}" for k in range(3) for u in few["user_id"]]
    for name in ("payments", "money_out", "pd", "top_merchant", "top_attribution", "risk"):
        again = pd.concat([few[name]] * 3, ignore_index=True)
        pd.testing.assert_series_equal(many[name], again, rtol=1e-6)
    assert large(tmp_path, 40, tiles=3) == thrice
    # Two cohorts of so many at most are compared, whatever the size of the whole.
    workspace = Workspace.open(thrice)
    chosen, sizes = _cohorts(workspace, most=60)
    assert chosen["a_label"] == ["No label yet"] and "a_max" not in chosen and sizes[0] == 60
    chosen, sizes = _cohorts(workspace, most=30)
    kept = many[many["payments"] <= chosen["a_max"]]
    assert sizes[0] == (kept["label"] == "unknown").sum() and sum(sizes) == len(kept)
    assert 15 <= max(sizes) <= 30


def test_where_all_are_labelled_the_good_and_the_bad_are_compared() -> None:
    known = {("unknown",): 0, ("good", "bad"): 10, ("good",): 7, ("bad",): 3}
    workspace = Mock(count=lambda chosen: known[chosen.labels])
    chosen, sizes = _cohorts(workspace)
    assert (chosen["a_label"], chosen["b_label"], sizes) == (["Good"], ["Bad"], [7, 3])
    known["bad",] = 0
    with pytest.raises(LbsfError, match="nobody to compare"):
        _cohorts(workspace)
