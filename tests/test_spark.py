"""Fold, score and explain on Spark: the local engine's results, also when a worker is killed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from lbsf_core import spark as module
from lbsf_core.bench.spark import bench_spark, worker_killed
from lbsf_core.cli import app
from lbsf_core.config import FoldConfig
from lbsf_core.errors import LbsfError
from lbsf_core.explain.explain_all import write_attributions
from lbsf_core.explain.spark import explain_on_spark
from lbsf_core.fold import spark as fold_module
from lbsf_core.fold.append import append, compact
from lbsf_core.fold.fold import fold
from lbsf_core.fold.spark import fold_on_spark
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.score.scorer import score_store
from lbsf_core.score.spark import score_on_spark
from lbsf_core.spark import LOCAL, session
from tests.builders import write_labels, write_payments

#: Keys of what `bench_spark` took: the local engine, Spark.
SECONDS = (("fold_s", "score_s"), ("spark_fold_s", "spark_score_s"))
needs_java = pytest.mark.skipif(
    not (shutil.which("java") or os.environ.get("JAVA_HOME")),
    reason="Spark needs Java, and none is installed (Debian: default-jre-headless)",
)
pytestmark = pytest.mark.filterwarnings("default")  # Spark warns of pandas 3, and of its sockets


@pytest.fixture(scope="module")
def spark() -> Iterator[object]:
    """One session for all: what is tested uses it instead of starting its own."""
    with session(LOCAL) as running:
        yield running


def same_bytes(found: FoldedStore, expected: Path, tmp_path: Path) -> None:
    """Both stores hold the same bytes once the parts are put together."""
    one = compact(found, tmp_path / "compact")
    for name in ("payments.parquet", "samples.parquet"):
        assert (one.path / name).read_bytes() == (expected / name).read_bytes()


@needs_java
def test_payments_that_lie_by_user_are_folded_alike(
    spark: object, tiny_store: Path, tmp_path: Path
) -> None:
    raw = tiny_store.parent / "raw"
    paid, known = raw / "payments.parquet", raw / "labels.parquet"
    config = FoldConfig(120, max_merchants=9, max_payments=40)
    kept = fold(paid, known, tmp_path / "local", config)
    found = fold_on_spark(paid, known, tmp_path / "spark", config, task_payments=9_000)
    assert found.samples == kept.samples
    assert found.dropped_amount == pytest.approx(kept.dropped_amount)
    store = FoldedStore.open(tmp_path / "spark")  # hashes hold
    assert len(store.payment_files) > 2
    same_bytes(store, tmp_path / "local", tmp_path)
    with pytest.raises(LbsfError, match="caps"):
        append(store, paid)


@needs_java
def test_payments_in_any_order_are_sorted_by_spark(
    spark: object, tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tiny_store.parent / "raw"
    table = pq.read_table(raw / "payments.parquet")
    order = np.random.default_rng(0).permutation(len(table))
    pq.write_table(table.take(pa.array(order)), tmp_path / "shuffled.parquet")
    fold(raw / "payments.parquet", raw / "labels.parquet", tmp_path / "local")
    store = tmp_path / "spark"
    fold_on_spark(
        tmp_path / "shuffled.parquet", raw / "labels.parquet", store, task_payments=20_000
    )
    same_bytes(FoldedStore.open(store), tmp_path / "local", tmp_path)


def test_whole_users_are_cut_at_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold_module, "PART", 5)
    users = [*"aabbbbbbbccd"]
    batches = [
        pa.RecordBatch.from_pydict({"user_id": users[i : i + 2]}) for i in range(0, len(users), 2)
    ]
    found = [table["user_id"].to_pylist() for table in fold_module._whole_users(iter(batches))]
    assert [user for table in found for user in table] == users
    assert [set(one) for one in found] == [{"a"}, {"b"}, {"c", "d"}]


@needs_java
def test_a_user_without_a_payment_and_none_at_all(spark: object, tmp_path: Path) -> None:
    labels = write_labels(
        tmp_path / "l.parquet", [("a", "2024-06-01", 1.0), ("b", "2024-06-01", None)]
    )
    for name, rows in (
        ("some", [("b", "shop", "2024-05-01", -1.0, "x"), ("c", "bar", "2024-05-01", 1.0, "y")]),
        ("none", [("c", "bar", "2024-05-01", 1.0, "y")]),
    ):
        paid = write_payments(tmp_path / f"{name}.parquet", rows)
        fold(paid, labels, tmp_path / f"{name}-local")
        found = fold_on_spark(paid, labels, tmp_path / name)
        assert (found.samples, found.empty_samples) == (2, 1 if name == "some" else 2)
        same_bytes(FoldedStore.open(tmp_path / name), tmp_path / f"{name}-local", tmp_path)


@needs_java
def test_scores_and_attributions_are_the_same(
    spark: object, tiny_store: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    store = FoldedStore.open(tiny_store)
    expected = score_store(store, Bundle.load(tiny_bundle))
    found = score_on_spark(store, tiny_bundle, task_payments=9_000)
    assert found.schema.equals(expected.schema)
    for name in ("logit", "pd"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6)
    kept = write_attributions(
        store, Bundle.load(tiny_bundle), tmp_path / "local.parquet", reasons=5, workers=1
    )
    made = explain_on_spark(store, tiny_bundle, tmp_path / "spark.parquet", reasons=5)
    one, other = pq.read_table(made), pq.read_table(kept)
    assert one.schema.equals(other.schema, check_metadata=True)
    for name in one.column_names:
        if pa.types.is_floating(one[name].type):
            np.testing.assert_allclose(one[name], other[name], atol=1e-5)
        else:
            assert one[name].equals(other[name])


@needs_java
def test_a_killed_worker_changes_nothing(
    spark: object, tiny_store: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    store = FoldedStore.open(tiny_store)
    with worker_killed() as killed:
        out = explain_on_spark(store, tiny_bundle, tmp_path / "a.parquet", reasons=0)
    assert killed
    kept = write_attributions(
        store, Bundle.load(tiny_bundle), tmp_path / "b.parquet", reasons=0, workers=1
    )
    one, other = (pq.read_table(path)["attribution"] for path in (out, kept))
    np.testing.assert_allclose(one, other, atol=1e-5)


@needs_java
def test_a_store_folded_anew_into_the_same_folder_is_read_anew(
    spark: object, tiny_store: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    raw = tiny_store.parent / "raw"
    for days in (60, 7):  # the workers of the first are used again for the second
        path = tmp_path / "store"
        fold(raw / "payments.parquet", raw / "labels.parquet", path, FoldConfig(window_days=days))
        store = FoldedStore.open(path)
        found = score_on_spark(store, tiny_bundle)
        expected = score_store(store, Bundle.load(tiny_bundle))
        np.testing.assert_allclose(found["logit"], expected["logit"], atol=1e-6)


@needs_java
def test_the_bench_holds_one_engine_against_the_other(spark: object, tmp_path: Path) -> None:
    found = bench_spark(20_000, users=40, workdir=tmp_path)
    assert found["fold_equal"] and found["score_max_diff"] <= 1e-6
    assert found["survives_worker_kill"]
    local, remote = (found[a] + found[b] for a, b in SECONDS)
    assert found["rate_ratio"] == pytest.approx(local / remote, rel=0.1)
    assert not list(tmp_path.iterdir())


@needs_java
def test_what_fails_on_a_worker_is_told_in_a_line(
    spark: object, tiny_store: Path, tmp_path: Path
) -> None:
    raw = tiny_store.parent / "raw"
    broken = tmp_path / "payments.parquet"
    table = pq.read_table(raw / "payments.parquet")
    pq.write_table(table.drop_columns(["amount"]), broken)
    with pytest.raises(LbsfError) as caught:
        fold_on_spark(broken, raw / "labels.parquet", tmp_path / "store")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "store").exists()


@needs_java
def test_the_commands(spark: object, tiny_store: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    raw = tiny_store.parent / "raw"
    store, scores = tmp_path / "store", tmp_path / "scores.parquet"
    attributions = tmp_path / "a.parquet"
    for command in (
        ["fold", raw / "payments.parquet", "--labels", raw / "labels.parquet", "--out", store],
        ["score", store, tiny_bundle, "--out", scores],
        ["explain-all", store, tiny_bundle, "--out", attributions, "--reasons", 0],
    ):
        words = [str(part) for part in command]
        done = CliRunner().invoke(app, [*words, "--engine", "spark", "--master", LOCAL])
        assert done.exit_code == 0, (done.output, done.exception)
    assert len(pq.read_table(scores)) == 60
    assert pc.count_distinct(pq.read_table(attributions)["sample"]).as_py() == 60


def test_without_java_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda _: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(LbsfError, match="default-jre-headless"), session():
        pass
