"""The facade answers what the tables hold, refuses what was changed, and leaves the disk alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from lbsf_core.errors import BundleError, LbsfError, StoreError, UnknownUserError, WorkspaceError
from lbsf_core.files import dump_json, read_json
from lbsf_core.fold.store import FoldedStore
from lbsf_core.workspace import SampleFilter, Workspace, build_workspace, find_workspaces
from lbsf_core.workspace import checked as checked_module
from lbsf_core.workspace.build import read_comparison, write_samples
from lbsf_core.workspace.checked import Checked
from lbsf_core.workspace.portfolio import Portfolio
from lbsf_core.workspace.queries import Tables, order_query, where
from tests.builders import fold_rows


@pytest.fixture(scope="module")
def workspace(tiny_workspace: Path) -> Workspace:
    return Workspace.open(tiny_workspace)


@pytest.fixture(scope="module")
def samples(tiny_workspace: Path) -> pd.DataFrame:
    return pd.read_parquet(tiny_workspace / "samples.parquet")


def test_summary_counts_what_the_store_holds(workspace: Workspace, samples: pd.DataFrame) -> None:
    found = workspace.summary()
    assert found.samples == len(samples) == 60
    assert found.payments == samples["payments"].sum()
    assert found.bad == (samples["label"] == "bad").sum()
    assert found.simulated
    assert not found.proxy
    assert found.additive_share == 1.0
    assert found.max_delta <= 1e-3


def test_queue_is_sorted_and_paged(workspace: Workspace, samples: pd.DataFrame) -> None:
    first = workspace.queue(limit=10)
    second = workspace.queue(limit=10, offset=10)
    together = pd.concat([first, second])["pd"].to_numpy()
    assert np.array_equal(together, np.sort(samples["pd"].to_numpy())[::-1][:20])
    assert first["rank"].tolist() == list(range(1, 11))
    assert all(len(row) == 12 for row in first["activity"])
    spend = [sum(row) for row in first["activity"]]
    assert spend == pytest.approx(first["money_out"].tolist(), abs=0.1)
    with pytest.raises(ValueError, match="choose one of"):
        workspace.queue(sort="pd; DROP TABLE samples")


def test_filters_keep_what_pandas_keeps(workspace: Workspace, samples: pd.DataFrame) -> None:
    middle = float(samples["pd"].median())
    cutoff = samples["cutoff"].sort_values().iloc[30]
    few = int(samples["payments"].median())
    for chosen, expected in (
        (SampleFilter(), np.ones(60, bool)),
        (SampleFilter(pd_min=middle), samples["pd"] >= middle),
        (SampleFilter(pd_max=middle), samples["pd"] <= middle),
        (SampleFilter(labels=("bad",)), samples["label"] == "bad"),
        (SampleFilter(bands=("high", "very high")), samples["band"].isin(("high", "very high"))),
        (SampleFilter(parts=("test",)), samples["part"] == "test"),
        (SampleFilter(payments_min=few), samples["payments"] >= few),
        (SampleFilter(payments_max=few - 1), samples["payments"] < few),
        (SampleFilter(cutoff_from=cutoff.date()), samples["cutoff"] >= cutoff.floor("D")),
        (
            SampleFilter(cutoff_to=cutoff.date()),
            samples["cutoff"]
            < cutoff.ceil("D") + pd.Timedelta(days=int(cutoff == cutoff.floor("D"))),
        ),
        (SampleFilter(user="U00001"), samples["user_id"].str.contains("u00001")),
    ):
        assert workspace.count(chosen) == int(np.sum(expected)), chosen


def test_merchant_filter_finds_the_samples_that_paid_there(
    workspace: Workspace, tiny_workspace: Path
) -> None:
    merchants = pd.read_parquet(tiny_workspace / "merchants.parquet")
    name = merchants["merchant"].mode()[0]
    expected = merchants.loc[merchants["merchant"].str.contains(name, regex=False), "sample"]
    assert workspace.count(SampleFilter(merchants=(name.upper(),))) == expected.nunique()
    assert workspace.merchants(limit=1) == [name]


def test_what_was_taken_of_the_mapped_rows_stays(tiny_workspace: Path) -> None:
    tables = Tables(Checked(tiny_workspace, {}))
    pd_before = tables.scores.pd.copy()
    taken = tables.rows(np.array([59, 0, 7]), ["sample", "user_id", "activity", "pd"])
    one = tables.records([7], ["user_id", "activity"])[0]
    again = tables.rows(np.array([59, 0, 7]), ["sample", "user_id", "activity", "pd"])
    pd.testing.assert_frame_equal(taken, again)
    assert taken["sample"].tolist() == [59, 0, 7] and one["user_id"] == taken["user_id"].iloc[2]
    assert list(one["activity"]) == list(taken["activity"].iloc[2])
    # What is looked at where it lies is read again when it was given back.
    assert np.array_equal(tables.scores.pd, pd_before)
    assert taken["pd"].tolist() == pd_before[[59, 0, 7]].tolist()


@pytest.mark.parametrize("text", ["%", "_", "'; DROP TABLE samples; --", "\\"])
def test_fault_4_search_is_literal(workspace: Workspace, text: str) -> None:
    assert workspace.find_users(text) == []
    assert workspace.count(SampleFilter(user=text)) == 0
    assert workspace.count(SampleFilter(merchants=(text,))) == 0


def test_no_query_can_touch_a_file(workspace: Workspace, tmp_path: Path) -> None:
    target = tmp_path / "stolen.csv"
    for sql in (
        f"COPY (SELECT 1) TO '{target}'",
        f"SELECT * FROM read_csv('{Path(__file__)}')",
        "SET enable_external_access = true",
        f"ATTACH '{tmp_path / 'new.db'}'",
    ):
        with pytest.raises(duckdb.Error):
            workspace._tables.ask(sql)
    assert not list(tmp_path.iterdir())


def test_case_and_neighbours_walk_the_queue(workspace: Workspace) -> None:
    queue = workspace.queue(limit=3)
    users = queue["user_id"].tolist()
    first, second = workspace.case(users[0]), workspace.case(users[1])
    assert (first.rank, second.rank) == (1, 2)
    assert first.percentile == 100.0
    before, after = workspace.neighbours(first)
    assert before is None
    assert after is not None
    assert after[0] == users[1]
    assert workspace.neighbours(first, descending=False)[1] is None  # the last from below
    before, after = workspace.neighbours(second)
    assert (before or ("",))[0] == users[0]
    assert (after or ("",))[0] == users[2]
    others = SampleFilter(user=users[0])
    assert workspace.neighbours(first, others) == (None, None)  # alone in its queue
    assert workspace.neighbours(second, others) == (None, None)  # not in this one


def test_fault_27_unknown_user_is_said(workspace: Workspace) -> None:
    with pytest.raises(UnknownUserError, match="nobody"):
        workspace.cases("nobody")


@pytest.mark.parametrize("text", ["u0000", "U00001", "3", "nobody", "%", ""])
def test_who_is_looked_for_in_the_queue_is_found_as_by_a_query(
    workspace: Workspace, text: str
) -> None:
    tables, chosen = workspace._tables, SampleFilter(user=text)
    condition, parameters = where(chosen)
    asked = tables.ask(order_query(condition, "pd", descending=True), **parameters)
    found = tables.order(chosen, "pd", descending=True)
    assert found.tolist() == asked["sample"].tolist()


def test_explanation_agrees_with_the_precomputed_tables(
    workspace: Workspace, tiny_workspace: Path
) -> None:
    merchants = pd.read_parquet(tiny_workspace / "merchants.parquet")
    for user in workspace.queue(limit=3)["user_id"]:
        case = workspace.case(user)
        found = workspace.explanation(case)
        stored = merchants[merchants["sample"] == case.sample].sort_values("segment")
        assert found.problems() == []
        assert found.logit == pytest.approx(case.logit, abs=1e-5)
        assert found.pd == pytest.approx(case.pd, abs=1e-6)
        assert list(found.merchants) == stored["merchant"].tolist()
        assert found.merchant_attributions == pytest.approx(
            stored["attribution"].to_numpy(), abs=2e-3
        )
        assert found.merchant_weights == pytest.approx(stored["weight"].to_numpy(), abs=1e-5)


def test_what_lies_ready_for_the_first_page_is_what_counting_says(workspace: Workspace) -> None:
    counted = SampleFilter(payments_min=0)  # everybody, by a filter
    for ask in (
        lambda chosen: workspace.queue(chosen, limit=50),
        lambda chosen: workspace.queue(chosen, limit=7, offset=11),
        workspace.score_distribution,
        workspace.thresholds,
    ):
        pd.testing.assert_frame_equal(ask(None), ask(counted))
        pd.testing.assert_frame_equal(ask(SampleFilter()), ask(counted))
    assert workspace.count() == workspace.count(counted) == 60
    for value in (0.0, 0.291, 0.5, 1.0, 0.29100001):
        ours, expected = (workspace.threshold(chosen, value) for chosen in (None, counted))
        assert ours == pytest.approx(expected, nan_ok=True, rel=0, abs=0)


def test_threshold_by_hand(workspace: Workspace, samples: pd.DataFrame) -> None:
    middle = float(samples["pd"].median())
    found = workspace.threshold(None, middle)
    approved = samples["pd"] < middle
    bad = samples["label"] == "bad"
    assert found["approved"] == pytest.approx(approved.mean())
    assert found["default_rate"] == pytest.approx(bad[approved].mean())
    assert found["declined_default_rate"] == pytest.approx(bad[~approved].mean())
    assert found["capture"] == pytest.approx((bad & ~approved).sum() / bad.sum())
    table = workspace.thresholds()
    steps = set(table["threshold"])
    assert set(np.linspace(0, 1, 101).round(2)) <= steps
    # Half of the samples is a step too, however small their PDs are.
    assert ((table["approved"] >= 0.45) & (table["approved"] <= 0.55)).any()
    assert table["approved"].iloc[0] == 0.0
    assert table["approved"].is_monotonic_increasing


@pytest.mark.parametrize("default", [1000.0, None])
def test_costs_by_hand(workspace: Workspace, samples: pd.DataFrame, default: float | None) -> None:
    found = workspace.costs(None, default=default, declined=50.0, loss_given_default=0.6, at=0.1234)
    if default is None:  # nobody here has an amount at stake
        assert found["expected"].isna().all() and (found["samples"] == 0).all()
        return
    pds, bad = samples["pd"], samples["label"] == "bad"
    exact = found["threshold"] == 0.1234  # the threshold that was asked for, not one near it
    assert exact.sum() == 1
    for row in pd.concat([found.iloc[::23], found[exact]]).itertuples():
        approved = pds < row.threshold
        by_pd = np.where(approved, pds * 1000, (1 - pds) * 50).mean()
        by_label = np.where(approved, bad * 1000, ~bad * 50).mean()
        assert row.approved == pytest.approx(approved.mean())
        assert (row.expected, row.observed) == pytest.approx((by_pd, by_label))
    best = found.loc[found["expected"].idxmin(), "threshold"]
    # The cheapest is where both cost the same, as near as the steps come to it.
    assert not ((pds > min(best, 50 / 1050)) & (pds < max(best, 50 / 1050) - 0.01)).any()


def test_amounts_and_changes_order_the_queue(tiny_workspace: Path, tmp_path: Path) -> None:
    samples = pd.read_parquet(tiny_workspace / "samples.parquet")
    assert samples["previous_pd"].isna().all() and samples["at_stake"].isna().all()
    rng = np.random.default_rng(0)
    samples["previous_pd"] = np.where(rng.random(60) < 0.5, rng.random(60), np.nan)
    samples["at_stake"] = np.where(rng.random(60) < 0.5, rng.integers(1, 9, 60) * 1000.0, np.nan)
    write_samples(pa.Table.from_pandas(samples), tmp_path)
    shutil.copy(tiny_workspace / "merchants.parquet", tmp_path)
    asked = Portfolio()
    asked._tables = Tables(Checked(tmp_path, {}))
    change = (samples["pd"] - samples["previous_pd"]).abs()
    found = asked.queue(sort="change", limit=60)
    count = int(change.notna().sum())
    np.testing.assert_allclose(found["change"].abs()[:count], -np.sort(-change.dropna()))
    assert found["change"][count:].isna().all()
    lost = samples["pd"] * samples["at_stake"]
    np.testing.assert_allclose(
        asked.queue(sort="expected_loss", limit=1)["expected_loss"], lost.max()
    )
    table = asked.costs(None, default=None, declined=10.0, loss_given_default=0.5)
    known = samples[samples["at_stake"].notna()]
    assert table["samples"].iloc[0] == len(known)
    all_in = (known["pd"] * known["at_stake"] * 0.5).mean()
    assert table["expected"].iloc[-1] == pytest.approx(all_in)


def test_rows_anywhere_are_those_of_the_table(tiny_workspace: Path) -> None:
    tables, samples = (
        Tables(Checked(tiny_workspace, {})),
        pd.read_parquet(tiny_workspace / "samples.parquet"),
    )
    assert samples["sample"].tolist() == list(range(60))
    pd.testing.assert_frame_equal(tables.samples.to_pandas(), samples)
    names = ["user_id", "cutoff", "activity", "top_merchant"]
    some = np.array([7, 59, 0, 7])
    expected = samples.loc[some, names].reset_index(drop=True)
    pd.testing.assert_frame_equal(tables.rows(some, names), expected)
    assert [row["user_id"] for row in tables.records(some.tolist(), names)] == (
        expected["user_id"].tolist()
    )
    assert tables.records([], names) == [] and tables.rows(some[:0], names).empty
    kept = tables.order(SampleFilter(bands=("high",)), "money_out", descending=True)
    rows = samples[samples["band"] == "high"].sort_values("money_out", ascending=False)
    assert kept.tolist() == rows["sample"].tolist()
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 1  # it is kept for whoever asks next


@pytest.mark.parametrize("ascending", [True, False])
def test_whose_samples_are_found_wherever_they_lie(tmp_path: Path, ascending: bool) -> None:
    ids = ["b", "a", "é", "𝄞", "a", "ab", "b", "", "z", "ﬀ", "a"]
    ids = sorted(ids) if ascending else ids
    write_samples(pa.table({"user_id": pa.array(ids, pa.large_string())}), tmp_path)
    tables = Tables(Checked(tmp_path, {}))
    assert tables._users_ascend == ascending
    for asked in {*ids, "aa", "c", "zz", "\U0010ffff"}:
        assert list(tables.of_user(asked)) == [n for n, one in enumerate(ids) if one == asked]


def test_the_queue_begins_with_whom_the_methods_disagree_about(tiny_workspace: Path) -> None:
    workspace = Workspace.open(tiny_workspace)
    found = workspace.queue(sort="disagreement", limit=60)["disagreement"].to_numpy()
    assert workspace.summary().explained_twice == 60
    assert (np.diff(found) <= 0).all()
    kept = pd.read_parquet(tiny_workspace / "attributions.parquet")
    one = kept[(kept["sample"] == 7) & kept["removed"].notna()]
    shares = [one[name] / one[name].abs().sum() for name in ("attribution", "removed")]
    by_hand = (shares[0] - shares[1]).abs().sum() / 2
    samples = pd.read_parquet(tiny_workspace / "samples.parquet").set_index("sample")
    assert samples.loc[7, "disagreement"] == pytest.approx(by_hand)


def test_scores_inside_a_cohort_by_hand(workspace: Workspace, samples: pd.DataFrame) -> None:
    few = samples["payments"] < samples["payments"].median()
    upper = int(samples.loc[few, "payments"].max())
    found = workspace.compare(SampleFilter(payments_max=upper), SampleFilter()).inside
    labels, pds = samples["label"] == "bad", samples["pd"]
    assert min((labels & few).sum(), (~labels & few).sum()) >= 5
    assert found["auc"].iloc[0] == pytest.approx(roc_auc_score(labels[few], pds[few]))
    whole = found.iloc[1]
    assert whole["auc"] == pytest.approx(roc_auc_score(labels, pds))
    assert whole["lo"] < whole["auc"] <= whole["hi"]
    assert whole["mean_pd"] == pytest.approx(pds.mean())
    assert (whole["bad"], whole["good"]) == (labels.sum(), (~labels).sum())


def test_whole_ids_are_asked_for(workspace: Workspace, samples: pd.DataFrame) -> None:
    ids = (*samples["user_id"].iloc[[3, 9]], "nobody", "' OR 1=1 --")
    assert workspace.count(SampleFilter(ids=ids)) == 2
    assert workspace.count(SampleFilter(ids=())) == 0
    assert workspace.unknown_users(ids) == ["nobody", "' OR 1=1 --"]


def test_several_merchants_must_all_have_been_paid(
    workspace: Workspace, tiny_workspace: Path
) -> None:
    merchants = pd.read_parquet(tiny_workspace / "merchants.parquet")
    first, second = merchants["merchant"].value_counts().index[:2]
    paid = merchants.groupby("sample")["merchant"].agg(set)
    both = sum({first, second} <= names for names in paid)
    assert 0 < both < len(paid)
    assert workspace.count(SampleFilter(merchants=(first, second))) == both
    found = workspace.compare(
        SampleFilter(merchants=(first, second)), SampleFilter(merchants=(second,))
    )
    assert found.sizes["samples"].iloc[0] == both


def test_distribution_counts_every_sample(workspace: Workspace) -> None:
    assert workspace.score_distribution()["samples"].sum() == 60
    assert workspace.score_distribution(SampleFilter(user="nobody")).empty


def test_cohorts_by_hand(workspace: Workspace, tiny_workspace: Path, samples: pd.DataFrame) -> None:
    merchants = pd.read_parquet(tiny_workspace / "merchants.parquet")
    found = workspace.compare(
        SampleFilter(labels=("bad",)), SampleFilter(labels=("good",)), ("Bad", "Good")
    )
    bad = samples[samples["label"] == "bad"]
    good = samples[samples["label"] == "good"]
    assert found.inside["auc"].isna().all()  # one class in each
    sizes = found.sizes.set_index("cohort")
    assert sizes.loc["Bad", "samples"] == len(bad)
    assert sizes.loc["Bad", "default_rate"] == 1.0
    assert sizes.loc["Good", "payments"] == good["payments"].sum()
    assert found.overlap == 0
    assert found.scores.groupby("cohort")["samples"].sum().to_dict() == {
        "Bad": len(bad),
        "Good": len(good),
    }
    row = found.attributions.iloc[0]
    paid = merchants[merchants["merchant"] == row["merchant"]].set_index("sample")["attribution"]
    assert row["mean_a"] == pytest.approx(paid.reindex(bad["sample"]).fillna(0).mean())
    assert row["mean_b"] == pytest.approx(paid.reindex(good["sample"]).fillna(0).mean())
    row = found.merchants.iloc[0]
    payers = set(merchants.loc[merchants["merchant"] == row["merchant"], "sample"])
    assert row["samples_a"] == len(payers & set(bad["sample"]))
    assert row["share_b"] == pytest.approx(len(payers & set(good["sample"])) / len(good))
    assert (found.merchants["lo"] <= found.merchants["ratio"]).all()


def test_others_stand_beside_two_cohorts_and_change_nothing_of_them(workspace: Workspace) -> None:
    bad, good = SampleFilter(labels=("bad",)), SampleFilter(labels=("good",))
    alone = workspace.compare(bad, good, ("Bad", "Good"))
    beside = (("All", SampleFilter()), ("Nobody", SampleFilter(user="nobody")))
    found = workspace.compare(bad, good, ("Bad", "Good"), beside)
    assert found.beside == ("All", "Nobody")
    assert found.sizes["cohort"].tolist() == ["Bad", "Good", "All", "Nobody"]
    assert found.sizes["samples"].tolist()[2:] == [60, 0]
    assert found.inside["bad"].iloc[2] == alone.inside["bad"].iloc[0]
    assert set(found.spend["cohort"]) == {"Bad", "Good", "All"}
    for name in ("merchants", "attributions", "shifts"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(alone, name))
    two = found.spend[found.spend["cohort"] != "All"].reset_index(drop=True)
    pd.testing.assert_frame_equal(two, alone.spend)


def test_reason_codes_are_counted_over_those_that_were_asked(
    workspace: Workspace, samples: pd.DataFrame
) -> None:
    bad, good = SampleFilter(labels=("bad",)), SampleFilter(labels=("good",))
    found = workspace.compare_reasons(bad, good)
    assert len(found)
    told = {label: samples[samples["label"] == label]["risk"] for label in ("bad", "good")}
    assert (found["asked_a"] == told["bad"].notna().sum()).all()
    for row in found.itertuples():
        code = f"{row.code}|{row.kind}"
        given = [sum(code in codes for codes in told[label].dropna()) for label in ("bad", "good")]
        assert [row.given_a, row.given_b] == given
        assert row.share_a == pytest.approx(given[0] / row.asked_a)
        assert row.lo_a <= row.share_a <= row.hi_a
    gap = (found["share_a"] - found["share_b"]).abs()
    assert (np.diff(gap) <= 1e-12).all()
    same = workspace.compare_reasons(SampleFilter(), SampleFilter(), "protective")
    assert not same["significant"].any()
    assert workspace.compare_reasons(SampleFilter(user="nobody"), SampleFilter(user="no")).empty
    with pytest.raises(ValueError, match="choose one of risk, protective"):
        workspace.compare_reasons(bad, good, "1; DROP")


def test_spend_is_per_covered_month(
    workspace: Workspace, tiny_workspace: Path, samples: pd.DataFrame
) -> None:
    """By hand for one sample: money out of a month over the part of it that the window covers."""
    row = samples.iloc[0]
    alone = SampleFilter(user=row["user_id"])
    found = workspace.compare(alone, alone).spend
    months = pd.read_parquet(tiny_workspace / "months.parquet")
    months = months[months["sample"] == row["sample"]]
    start = row["window_start"] if pd.notna(row["window_start"]) else row["first_payment"]
    expected = {}
    for month, spend in zip(months["month"], months["spend"], strict=True):
        low = pd.Timestamp(month, tz="UTC")
        high = low + pd.DateOffset(months=1)
        covered = (min(row["cutoff"], high) - max(start, low)) / (high - low)
        if covered >= 0.5:
            expected[pd.Timestamp(month)] = spend / covered
    ours = found[found["cohort"] == "A"]
    got = dict(zip(pd.to_datetime(ours["month"]), ours["spend"], strict=True))
    assert got.keys() == expected.keys()
    assert len(expected) > 3
    for month, spend in expected.items():
        assert got[month] == pytest.approx(spend)


def test_samples_that_training_saw_are_said(workspace: Workspace, samples: pd.DataFrame) -> None:
    seen = int(samples["part"].isin(("train", "validation")).sum())
    assert any(f"{seen} of these 60" in line for line in workspace.summary().warnings)
    unseen = SampleFilter(parts=("test",))
    assert not any("built with" in w for w in workspace.compare(unseen, unseen).warnings)
    assert any("built with" in w for w in workspace.compare(SampleFilter(), unseen).warnings)


def test_a_cohort_against_itself_differs_nowhere(workspace: Workspace) -> None:
    found = workspace.compare(SampleFilter(), SampleFilter())
    assert found.overlap == 60
    assert not found.merchants["significant"].any()
    assert any("both cohorts" in warning for warning in found.warnings)


def test_an_empty_cohort_is_said(workspace: Workspace) -> None:
    found = workspace.compare(SampleFilter(user="nobody"), SampleFilter())
    assert found.merchants.empty
    assert any("0 samples" in warning for warning in found.warnings)


def test_performance_and_card_are_drawn_from_unseen_users(
    workspace: Workspace, samples: pd.DataFrame
) -> None:
    found = workspace.performance()
    unseen = samples[samples["part"] == "test"]
    assert f"{len(unseen):,} samples" in found.source
    card = workspace.card()
    assert "Limits" in card.text
    assert any("simulated" in line.lower() for line in card.text["Limits"])
    assert card.raw["files"] if "files" in card.raw else card.raw["workspace"]["files"]


@pytest.mark.parametrize(
    "name", ["samples.parquet", "rows.arrow", "merchants.parquet", "performance.json"]
)
def test_fault_20_a_flipped_bit_is_refused(tiny_workspace: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_workspace, copy)
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(WorkspaceError, match="lbsf workspace"):
        Workspace.open(copy)


@pytest.mark.parametrize(
    ("name", "before", "asks"),
    [
        ("summary.json", (), lambda w: w.summary()),
        ("rows.arrow", ("summary", "queue"), lambda w: w.count(SampleFilter(pd_max=0.5))),
        ("rows.arrow", ("summary", "queue"), lambda w: w.queue(offset=50)),
        ("front-queue.arrow", ("summary",), lambda w: w.queue()),
        ("front-outcomes.arrow", ("queue",), lambda w: w.thresholds()),
        ("front-distribution.arrow", ("queue",), lambda w: w.score_distribution()),
        ("merchants.parquet", ("queue",), lambda w: w.merchants()),
        ("embeddings.parquet", ("queue",), lambda w: w.map()),
        ("vectors.f32", ("queue",), lambda w: w.similar(w.case(_first(w)))),
        ("groups.arrow", ("queue",), lambda w: w.importance()),
        ("performance.json", ("queue",), lambda w: w.performance()),
        ("store/manifest.json", ("queue",), lambda w: w.store),
        ("store/payments.parquet", ("queue",), lambda w: w.case(_first(w))),
        ("bundle/weights.safetensors", ("queue",), lambda w: w.bundle),
    ],
)
def test_verified_when_read_a_flipped_bit_is_refused_by_what_would_read_it(
    tiny_workspace: Path, tmp_path: Path, name: str, before: tuple[str, ...], asks
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_workspace, copy)
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).unlink()
    (copy / name).write_bytes(data)
    workspace = Workspace.open(copy, verify="when read")
    for question in before:
        getattr(workspace, question)()
    for _ in range(2):  # no better when it is asked again
        with pytest.raises((WorkspaceError, StoreError, BundleError), match=r"SHA-256|manifest"):
            asks(workspace)


def test_verified_when_read_every_file_is_compared_once(tiny_workspace: Path, monkeypatch) -> None:
    compared: list[str] = []
    real = checked_module.check_hashes

    def seen(folder, hashes, error, again):
        compared.extend(hashes)
        real(folder, hashes, error, again)

    monkeypatch.setattr(checked_module, "check_hashes", seen)
    workspace = Workspace.open(tiny_workspace, verify="when read")
    assert compared == []
    workspace.summary(), workspace.queue(), workspace.queue(limit=1), workspace.count()
    first = ["front-outcomes.arrow", "front-queue.arrow", "summary.json"]
    assert sorted(compared) == first
    workspace.queue(sort="user_id")
    assert sorted(compared) == sorted([*first, "rows.arrow"])
    before, answers = len(compared), iter((True, False))
    workspace.checked.all(lambda: next(answers))
    assert len(compared) == before + 1, "one, until it is told not to go on"
    workspace.checked.all()
    assert sorted(compared) == sorted(workspace.manifest["files"])


def _first(workspace: Workspace) -> str:
    return str(workspace.queue(limit=1)["user_id"].iloc[0])


def test_fault_20_a_flipped_bit_inside_store_or_bundle_is_refused(
    tiny_workspace: Path, tmp_path: Path
) -> None:
    for name, error in (
        ("store/payments.parquet", StoreError),
        ("bundle/weights.safetensors", BundleError),
    ):
        copy = tmp_path / name.replace("/", "-")
        shutil.copytree(tiny_workspace, copy)
        data = bytearray((copy / name).read_bytes())
        data[len(data) // 2] ^= 1
        (copy / name).unlink()
        (copy / name).write_bytes(data)
        with pytest.raises(error):
            Workspace.open(copy)


@pytest.mark.parametrize("payments", [0, 5])
def test_a_single_sample_is_a_workspace_that_nobody_else_stands_for(
    tiny_bundle: Path, tmp_path: Path, payments: int
) -> None:
    paid = [
        ("u", f"shop {i % 2}", f"2024-03-{i + 1:02d}", -5.0, "x", "food") for i in range(payments)
    ]
    extra = FoldedStore.open(tiny_bundle.parent / "store").manifest.extra_fields
    store = fold_rows(tmp_path, paid, [("u", "2024-05-01", 1.0)], extra=extra)
    made = build_workspace(store.path, tiny_bundle, tmp_path / "workspace", name="One")
    workspace = Workspace.open(made)
    assert workspace.baselines_of("gradient") == ["typical payment"]
    (case,) = workspace.cases("u")
    found = workspace.explanation(case)
    assert len(found.merchants) == min(payments, 2) and found.problems() == []
    with pytest.raises(
        LbsfError, match="workspace: nobody's score is low enough to be 'cohort mean'"
    ):
        workspace.explanation(case, baseline="cohort mean")


def test_fault_28_another_version_is_refused_with_the_command(
    tiny_workspace: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_workspace, copy)
    manifest = read_json(copy / "manifest.json")
    (copy / "manifest.json").write_text(dump_json(manifest | {"workspace_version": 99}))
    with pytest.raises(WorkspaceError, match="lbsf workspace"):
        Workspace.open(copy)


def test_find_workspaces(tiny_workspace: Path, tmp_path: Path) -> None:
    assert find_workspaces(tiny_workspace) == {"Tiny": tiny_workspace}
    folder = tmp_path / "many"
    shutil.copytree(tiny_workspace, folder / "one")
    shutil.copytree(tiny_workspace, folder / "two")
    assert set(find_workspaces(folder)) == {"Tiny", "Tiny (two)"}
    with pytest.raises(WorkspaceError, match="lbsf demo"):
        find_workspaces(tmp_path / "nothing")


def test_filters_of_two_cohorts_do_not_share_parameters(workspace: Workspace) -> None:
    one = SampleFilter(pd_max=0.0)
    both = workspace.compare(one, replace(one, pd_max=1.0))
    assert both.sizes["samples"].tolist() == [0, 60]
    assert workspace.count(SampleFilter(cutoff_from=date(1999, 1, 1))) == 60


def test_opening_and_asking_loads_no_model(tiny_workspace: Path) -> None:
    """The dashboard's first chart must not wait for torch, Captum, scikit-learn or DuckDB."""
    code = (
        "import sys; from lbsf_core.workspace import Workspace\n"
        "w = Workspace.open(sys.argv[1]); w.summary(); q = w.queue(); w.thresholds()\n"
        "w.case(q['user_id'].iloc[0]); w.performance()\n"
        "print([m for m in ('torch', 'captum', 'sklearn', 'duckdb') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tiny_workspace)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_comparison_is_read_by_part(tmp_path: Path) -> None:
    entry = {"auc": 0.8, "lo": 0.7, "hi": 0.9, "repeats": 1}
    part = {
        "samples": 40,
        "bad": 9,
        "contestants": {"gru": entry | {"about": "flat GRU", "control": False, "metrics": {}}},
        "differences": {"lbsf - gru": entry},
    }
    (tmp_path / "report.json").write_text(json.dumps({"about": {}, "a/x": part, "b/y": part}))
    found = read_comparison(tmp_path, "a/x")
    assert found["compared_on"] == "a/x: 40 samples, 9 bad"
    assert found["contestants"][0]["name"] == "gru"
    assert found["differences"][0]["pair"] == "lbsf - gru"
    with pytest.raises(WorkspaceError, match="name one of them"):
        read_comparison(tmp_path)
