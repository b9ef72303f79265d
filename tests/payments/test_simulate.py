"""The simulation keeps its promises: same bytes, canonical schema, and causes that are true."""

import re
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from lbsf_core.errors import LbsfError
from lbsf_core.files import sha256
from lbsf_core.payments.merchants import normalise_merchants
from lbsf_core.payments.schema import (
    LABEL_COLUMNS,
    PAYMENT_COLUMNS,
    Field,
    FieldKind,
    read_metadata,
)
from lbsf_core.payments.simulate import simulate
from lbsf_core.payments.simulate.causes import BASE_LOGIT, PAIR, expected_rate, sigmoid
from lbsf_core.payments.simulate.tables import BEFORE_DAYS, null_label, to_utc

USERS, SEED = 1000, 11
MONTH = pd.Timedelta(days=365.25 / 12)
FILES = ("payments.parquet", "labels.parquet", "causes.parquet")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "world"
    simulate(out, users=USERS, seed=SEED)
    return out


@pytest.fixture(scope="module")
def labels(folder) -> pd.DataFrame:
    return pd.read_parquet(folder / "labels.parquet")


@pytest.fixture(scope="module")
def causes(folder) -> pd.DataFrame:
    return pd.read_parquet(folder / "causes.parquet")


@pytest.fixture(scope="module")
def payments(folder, labels) -> pd.DataFrame:
    frame = pd.read_parquet(folder / "payments.parquet")
    return frame.merge(labels, on="user_id", validate="many_to_one")


@pytest.fixture(scope="module")
def seen(payments) -> pd.DataFrame:
    """The payments before the cutoff."""
    return payments[payments.timestamp < payments.cutoff]


@pytest.fixture(scope="module")
def times(payments, causes) -> dict[tuple[str, str], pd.Series]:
    """The instants at each merchant of each user with a cause."""
    of_interest = payments[payments.user_id.isin(causes.user_id)].sort_values("timestamp")
    return dict(iter(of_interest.groupby(["user_id", "merchant"]).timestamp))


# The files


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        simulate(tmp_path / name, users=40, seed=seed)
    for file in (*FILES, "README.md"):
        assert sha256(tmp_path / "a" / file) == sha256(tmp_path / "b" / file)
    assert sha256(tmp_path / "a" / FILES[0]) != sha256(tmp_path / "c" / FILES[0])
    assert sha256(tmp_path / "a" / FILES[1]) != sha256(tmp_path / "c" / FILES[1])


def test_user_does_not_depend_on_how_many_users(tmp_path):
    simulate(tmp_path / "few", users=7, seed=5)
    simulate(tmp_path / "more", users=260, seed=5)  # beyond one chunk
    for file in FILES:
        few, more = (pd.read_parquet(tmp_path / name / file) for name in ("few", "more"))
        more = more[more.user_id <= "u000006"].reset_index(drop=True)
        pd.testing.assert_frame_equal(few, more)


def test_schema_and_metadata(folder, payments):
    metadata = read_metadata(folder / "payments.parquet")
    assert metadata.simulated
    assert metadata.currency == "GBP"
    assert metadata.timezone == "Europe/London"
    assert metadata.extra_fields == (Field("category", FieldKind.CATEGORY),)
    assert pq.read_schema(folder / "payments.parquet").names == [*PAYMENT_COLUMNS, "category"]
    about = read_metadata(folder / "labels.parquet")
    assert about.simulated
    assert "planted causes" in about.label
    labels = pq.read_table(folder / "labels.parquet")
    assert labels.column_names == list(LABEL_COLUMNS)
    assert set(labels["label"].to_pylist()) == {0, 1}
    assert not payments.isna().any(axis=None)
    assert str(payments.timestamp.dt.tz) == "UTC"
    assert np.allclose(payments.amount * 100, (payments.amount * 100).round(), atol=1e-6)
    assert (payments.amount != 0).all()
    assert (payments.merchant != "").all()
    assert (payments.description == "").mean() < 0.05
    assert "never evidence of predictive power" in (folder / "README.md").read_text("utf-8")


def test_small_enough_for_the_repository(folder):
    assert sum(path.stat().st_size for path in folder.iterdir()) < 8_000_000


def test_summary_counts_what_was_written(tmp_path):
    steps = []
    summary = simulate(tmp_path / "out", users=300, seed=2, progress=lambda *at: steps.append(at))
    assert steps == [(250, 300), (300, 300)]
    assert summary.users == 300
    assert summary.payments == pq.read_metadata(tmp_path / "out" / FILES[0]).num_rows
    assert summary.bad == pd.read_parquet(tmp_path / "out" / FILES[1]).label.sum()
    assert sum(summary.causes.values()) == len(pd.read_parquet(tmp_path / "out" / FILES[2]))
    assert summary.bytes == sum(path.stat().st_size for path in (tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    "wrong", [{"users": 0}, {"seed": -1}, {"years": 0.1}, {"years": (3.0, 1.0)}]
)
def test_senseless_settings_are_refused(tmp_path, wrong):
    with pytest.raises(LbsfError, match=next(iter(wrong))):
        simulate(tmp_path / "out", **({"users": 5, "seed": 1} | wrong))
    assert not list(tmp_path.iterdir())


def test_interrupted_leaves_what_was_there(tmp_path):
    simulate(tmp_path / "out", users=3, seed=1)
    before = sha256(tmp_path / "out" / FILES[0])

    def interrupt(done: int, users: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "out", users=5, seed=2, progress=interrupt)
    assert sha256(tmp_path / "out" / FILES[0]) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# The payments


def test_counts_of_payments_and_merchants(seen, labels):
    counts = seen.groupby("user_id").size()
    assert len(counts) == USERS
    assert 530 <= counts.median() <= 670
    assert counts.min() >= 60
    assert 3000 < counts.max() <= 10_000
    merchants = seen.groupby("user_id").merchant.nunique()
    assert merchants.between(20, 150).all()
    assert merchants.max() > 120
    # Loyal: half of what a user pays freely goes to a handful of merchants.
    share = seen.groupby(["user_id", "merchant"]).size().groupby("user_id").nlargest(8)
    assert (share.groupby(level=0).sum() / counts).median() > 0.5


def test_years_of_history_can_be_asked_for(tmp_path):
    simulate(tmp_path / "out", users=1, seed=1, years=10.0)
    times = pd.read_parquet(tmp_path / "out" / FILES[0]).timestamp
    assert times.max() - times.min() > pd.Timedelta(days=3400)


def test_merchant_key_is_the_normalised_raw_text(payments):
    pairs = payments[["merchant", "merchant_raw"]].drop_duplicates()
    assert len(pairs) > pairs.merchant.nunique() > 3000
    assert normalise_merchants(list(pairs.merchant_raw)) == list(pairs.merchant)
    assert normalise_merchants(list(pairs.merchant)) == list(pairs.merchant)


def test_kinds_of_merchant_and_direction_of_money(payments):
    sign = payments.groupby("category").amount.median()
    assert (sign[["salary", "pawnbroker"]] > 0).all()
    assert (sign.drop(["salary", "pawnbroker"]) < 0).all()
    named = {"groceries", "rent", "subscription", "travel", "gambling", "cash advance"}
    assert named | {"buy now pay later", "utilities", "eating out", "fuel"} <= set(sign.index)
    refunds = payments[payments.description.str.startswith("REFUND")]
    assert 0.003 < len(refunds) / len(payments) < 0.05
    assert (refunds.amount > 0).all()


def test_rhythm_of_hour_week_and_month(payments):
    local = payments.timestamp.dt.tz_convert("Europe/London")
    salary = local[payments.category == "salary"]
    assert (salary.dt.hour == 3).all()  # in summer and winter: the zone was minded
    assert (salary.dt.day_of_week < 5).all()
    coffee, dinner = (local[payments.category == kind] for kind in ("coffee", "eating out"))
    assert coffee.dt.hour.median() < 12 < dinner.dt.hour.median()
    assert (coffee.dt.day_of_week >= 5).mean() < 0.2 < (dinner.dt.day_of_week >= 5).mean()
    once_a_month = payments[payments.category == "rent"].groupby(["user_id", "merchant"])
    gaps = once_a_month.timestamp.diff().dropna().dt.days
    assert gaps.between(25, 36).mean() > 0.99


def test_local_time_to_utc_agrees_with_the_zone_database():
    rng = np.random.default_rng(0)
    days = rng.integers(15_000, 21_000, 500)
    minutes = days * 1440 + rng.integers(180, 1440, 500)
    wall = pd.to_datetime(minutes * 60, unit="s")
    expected = wall.tz_localize(ZoneInfo("Europe/London")).tz_convert("UTC")
    assert (pd.to_datetime(to_utc(minutes) * 60, unit="s", utc=True) == expected).all()


def test_cutoffs_spread_over_a_year_with_payments_on_both_sides(payments, labels, seen):
    assert labels.cutoff.max() - labels.cutoff.min() > pd.Timedelta(days=330)
    assert labels.groupby([labels.cutoff.dt.year, labels.cutoff.dt.quarter]).size().min() > 200
    gap = labels.set_index("user_id").cutoff - seen.groupby("user_id").timestamp.max()
    assert (gap < pd.Timedelta(days=7)).mean() > 0.9
    after = payments[payments.timestamp >= payments.cutoff]
    assert 0.01 < len(after) / len(payments) < 0.10
    assert (after.timestamp < after.cutoff + pd.Timedelta(days=31)).all()
    assert (after.timestamp == after.cutoff).sum() >= USERS // 25


def test_the_trace_of_default_lies_after_the_cutoff_only(payments):
    trace = payments[payments.category == "debt collection"]
    assert set(trace.user_id) == set(payments[payments.label == 1].user_id)
    assert (trace.timestamp >= trace.cutoff).all()


# The causes


def test_every_rise_and_stop_is_true_in_the_payments(payments, causes, times):
    single = causes[causes.merchant_2.isna()]
    assert set(single.cause) == {
        "gambling rises",
        "cash advance rises",
        "buy now pay later rises",
        "salary stops",
    }
    first = payments.groupby("user_id").timestamp.min()
    for row in single.itertuples():
        here = times[row.user_id, row.merchant]
        told = re.search(r"from ([\d.]+) to ([\d.]+) a month", row.change)
        was, now = float(told[1]), float(told[2])
        history = min(pd.Timedelta(days=BEFORE_DAYS), row.start - first[row.user_id])
        before = here[(here < row.start) & (here >= row.start - history)]
        after = here[(here >= row.start) & (here < row.cutoff)]
        # The history is counted from its planned first day, a little before its first payment.
        assert len(before) / (history / MONTH) == pytest.approx(was, abs=0.06 + 0.05 * was)
        assert len(after) / ((row.cutoff - row.start) / MONTH) == pytest.approx(now, abs=0.06)
        if row.cause == "salary stops":
            assert was > 0.7
            assert not (here >= row.start).any()
            assert row.cutoff - row.start >= pd.Timedelta(days=60)
        else:
            assert now >= was + 2
        assert pd.Timedelta(days=40) <= row.cutoff - row.start <= pd.Timedelta(days=155)


def test_every_pair_is_true_in_the_payments(causes, times):
    pairs = causes[causes.merchant_2.notna()]
    assert len(pairs) > 30
    for row in pairs.itertuples():
        first, second = (times[row.user_id, name] for name in (row.merchant, row.merchant_2))
        assert first.min() >= row.start
        assert second.min() >= row.start
        pawned = first[first < row.cutoff]
        assert len(pawned) == int(re.search(r"(\d+) times since", row.change)[1]) >= 4
        for time in pawned:
            wait = second[second >= time] - time
            assert wait.min() < pd.Timedelta(days=3)


def test_harmless_controls_exist(seen, causes):
    free = seen[~seen.user_id.isin(causes.user_id)]
    recent = free[free.timestamp >= free.cutoff - pd.Timedelta(days=90)]
    old = free[
        (free.timestamp < free.cutoff - pd.Timedelta(days=240))
        & (free.timestamp >= free.cutoff - pd.Timedelta(days=330))
    ]
    for kind in ("gambling", "cash advance", "buy now pay later"):
        now, then = (
            part[part.category == kind].groupby("user_id").size() / 3 for part in (recent, old)
        )
        steady = pd.concat([now, then], axis=1).dropna()
        assert ((steady > 4).all(axis=1)).sum() >= 10  # as much as after a rise, but all along
        assert (now.reindex(then[then > 4].index).fillna(0) < 0.5).sum() >= 5  # given up
    here = {kind: set(recent[recent.category == kind].user_id) for kind in PAIR}
    ever = {kind: set(free[free.category == kind].user_id) for kind in PAIR}
    assert len(here[PAIR[0]] - ever[PAIR[1]]) >= 40
    assert len(here[PAIR[1]] - ever[PAIR[0]]) >= 40
    assert len(ever[PAIR[0]] & ever[PAIR[1]]) >= 20  # in different seasons
    assert not here[PAIR[0]] & here[PAIR[1]]
    assert len(set(free.user_id) - set(free[free.category == "salary"].user_id)) >= 50


def test_labels_follow_the_causes(labels, causes):
    assert 0.12 <= expected_rate() <= 0.18
    assert labels.label.mean() == pytest.approx(expected_rate(), abs=0.035)
    assert causes.user_id.is_unique
    merged = causes.merge(labels, on=["user_id", "cutoff"], suffixes=("", "_told"))
    assert (merged.label == merged.label_told).all()
    expected = np.mean([sigmoid(BASE_LOGIT + effect) for effect in causes.effect])
    assert causes.label.mean() == pytest.approx(expected, abs=0.1)
    free = labels[~labels.user_id.isin(causes.user_id)]
    assert free.label.mean() == pytest.approx(sigmoid(BASE_LOGIT), abs=0.02)
    # The best any model can do: a rank by the true effect.
    effect = labels.user_id.map(causes.set_index("user_id").effect).fillna(0.0)
    bad, good = effect[labels.label == 1].to_numpy(), effect[labels.label == 0].to_numpy()
    gap = bad[:, None] - good[None, :]
    assert 0.86 <= ((gap > 0) + 0.5 * (gap == 0)).mean() <= 0.96


def test_null_labels_know_nothing_of_the_same_payments(labels, causes, tmp_path):
    summary = simulate(tmp_path / "null", users=60, seed=SEED, null=True)
    simulate(tmp_path / "latent", users=60, seed=SEED)
    assert sha256(tmp_path / "null" / FILES[0]) == sha256(tmp_path / "latent" / FILES[0])
    null = pd.Series([null_label(SEED, number) for number in range(USERS)])
    assert list(pd.read_parquet(tmp_path / "null" / FILES[1]).label) == list(null[:60])
    assert null.mean() == pytest.approx(expected_rate(), abs=0.035)
    planted = labels.user_id.isin(causes.user_id)
    assert null[planted].mean() == pytest.approx(null[~planted].mean(), abs=0.09)
    assert abs(np.corrcoef(null, labels.label)[0, 1]) < 0.1
    empty = pq.read_table(tmp_path / "null" / FILES[2])
    assert empty.num_rows == 0
    assert empty.schema == pq.read_schema(tmp_path / "latent" / FILES[2])
    assert summary.causes == {}
    assert "knows nothing" in read_metadata(tmp_path / "null" / FILES[1]).label


def test_sample_data_is_what_its_command_makes(tmp_path):
    sample = Path(__file__).parents[2] / "sample_data" / "simulated"
    simulate(tmp_path / "out", users=20, seed=7)
    for file in FILES:
        kept, made = pd.read_parquet(sample / file), pd.read_parquet(tmp_path / "out" / file)
        kept = kept[kept.user_id <= "u000019"].reset_index(drop=True)
        pd.testing.assert_frame_equal(kept, made)
