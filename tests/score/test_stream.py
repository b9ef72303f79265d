"""Batches scored side by side give the scores of one after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.fields import TextEncoder
from lbsf_core.score import stream
from lbsf_core.score.scorer import score_store
from lbsf_core.score.stream import score_parts, score_stream, write_score_parts
from tests.builders import fold_rows


@pytest.mark.parametrize(("payments", "samples"), [(500, 7), (500, 65_536), (65_536, 50)])
def test_the_same_scores(
    tiny_store: Path,
    tiny_bundle: Path,
    payments: int,
    samples: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    store, bundle = FoldedStore.open(tiny_store), Bundle.load(tiny_bundle)
    monkeypatch.setattr(stream, "PASS_PAYMENTS", payments)
    monkeypatch.setattr(stream, "SAMPLES", samples)
    monkeypatch.setattr(stream, "CHUNK", 3_000)
    threads, told = torch.get_num_threads(), []
    found = score_stream(store, bundle, lambda *at: told.append(at), prior=0.03)
    expected = score_store(store, bundle, prior=0.03)
    assert found.schema.equals(expected.schema)
    for name in ("logit", "pd"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6)
    for name in ("sample", "user_id", "cutoff", "label"):
        assert found[name].equals(expected[name])
    out = tmp_path / "scores.parquet"
    assert write_score_parts(score_parts(store, bundle, prior=0.03), out) == len(expected)
    written = pq.read_table(out)
    assert written.schema.equals(expected.schema)
    np.testing.assert_allclose(written["pd"], expected["pd"], atol=1e-6)
    total = int(store.samples["payments"].sum())
    assert told[-1] == (total, total)
    assert torch.get_num_threads() == threads
    caches = [part.cache for part in bundle.model.modules() if isinstance(part, TextEncoder)]
    assert all(cache.limit < stream.TEXTS for cache in caches)


def test_a_store_without_samples(tiny_bundle: Path, tmp_path: Path) -> None:
    store = fold_rows(tmp_path, [("a", "shop", "2024-05-01", 1.0, "x")], [])
    assert len(score_stream(store, Bundle.load(tiny_bundle))) == 0
    out = tmp_path / "scores.parquet"
    assert write_score_parts(score_parts(store, Bundle.load(tiny_bundle)), out) == 0
    assert pq.read_table(out).num_rows == 0


def test_a_fault_in_a_late_part_leaves_the_old_file(
    tiny_store: Path, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "scores.parquet"
    out.write_bytes(b"old")
    monkeypatch.setattr(stream, "SAMPLES", 20)

    def two_parts() -> Iterator[pa.Table]:
        parts = score_parts(FoldedStore.open(tiny_store), Bundle.load(tiny_bundle))
        yield next(parts)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        write_score_parts(two_parts(), out)
    assert out.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["scores.parquet"]


def test_a_fault_on_the_way_is_told_and_threads_come_back(
    tiny_store: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()

    def broken(*_: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(stream, "batch_logits", broken)
    with pytest.raises(RuntimeError, match="no"):
        score_stream(FoldedStore.open(tiny_store), Bundle.load(tiny_bundle))
    assert torch.get_num_threads() == threads


def test_products_of_a_thread_take_one_core() -> None:
    """The first thing that such a thread does; before it, torch has not said how many it may."""

    def cores_taken() -> float:
        left, right = torch.randn(512, 512), torch.randn(512, 512)
        cpu, wall = time.process_time(), time.perf_counter()
        while time.perf_counter() - wall < 0.5:
            torch.mm(left, right)
        return (time.process_time() - cpu) / (time.perf_counter() - wall)

    with stream.threads_of_one_core(1) as pool:
        assert pool.submit(cores_taken).result() < 1.3
