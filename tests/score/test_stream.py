"""Batches scored side by side give the scores of one after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.fields import TextEncoder
from lbsf_core.score import stream
from lbsf_core.score.scorer import score_store
from lbsf_core.score.stream import score_stream
from tests.builders import fold_rows


@pytest.mark.parametrize("payments", [500, 65_536])
def test_the_same_scores(
    tiny_store: Path, tiny_bundle: Path, payments: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, bundle = FoldedStore.open(tiny_store), Bundle.load(tiny_bundle)
    monkeypatch.setattr(stream, "PASS_PAYMENTS", payments)
    monkeypatch.setattr(stream, "CHUNK", 3_000)
    threads, told = torch.get_num_threads(), []
    found = score_stream(store, bundle, lambda *at: told.append(at), prior=0.03)
    expected = score_store(store, bundle, prior=0.03)
    assert found.schema.equals(expected.schema)
    for name in ("logit", "pd"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6)
    total = int(store.samples["payments"].sum())
    assert told[-1] == (total, total)
    assert torch.get_num_threads() == threads
    caches = [part.cache for part in bundle.model.modules() if isinstance(part, TextEncoder)]
    assert all(cache.limit < stream.TEXTS for cache in caches)


def test_a_store_without_samples(tiny_bundle: Path, tmp_path: Path) -> None:
    store = fold_rows(tmp_path, [("a", "shop", "2024-05-01", 1.0, "x")], [])
    assert len(score_stream(store, Bundle.load(tiny_bundle))) == 0


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
