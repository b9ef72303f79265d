"""The benches give the demanded figures, on the same work; how fast is no matter for a test."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from lbsf_core.bench import bench_explain, bench_fold, bench_score, bench_train
from lbsf_core.bench.data import folded_users
from lbsf_core.config import ModelConfig
from lbsf_core.errors import LbsfError
from lbsf_core.evaluate.peers import FlatPeer, GRUBody, TransformerBody
from lbsf_core.model.lbsf import LBSF


def test_bench_fold_folds_the_same_as_pandas() -> None:
    found = bench_fold(20_000, users=50)
    assert found["equal"]
    assert 0 < found["payments_kept"] <= 20_000
    assert found["ratio"] == pytest.approx(
        found["payments_per_s"] / found["pandas_payments_per_s"], abs=0.02
    )
    assert found["peak_rss_gb"] > 0


def test_bench_score_measures_all_three() -> None:
    found = bench_score([16, 64], payments=256, rounds=1, width=16)
    for length in ("16", "64"):
        assert set(found[length]) == {"lbsf", "transformer", "gru"}
        assert all(rate > 0 for rate in found[length].values())
    assert found["machine"]["width"] == 16
    with pytest.raises(LbsfError, match="at least 1"):
        bench_score([])


def test_peers_read_the_payments_in_order_of_time() -> None:
    """Folding order is no order for them: permuted segments leave their logit as it is."""
    batch = folded_users(40, 2, seed=0)
    torch.manual_seed(0)
    config = ModelConfig(width=16, heads=2)
    model = LBSF.fit(config, (), batch)
    order = np.concatenate([np.arange(a, b)[::-1] for a, b in pairwise(batch.user_offsets)])
    for body in (TransformerBody(16, 2, 1), GRUBody(16)):
        peer = FlatPeer(model, body).eval()
        with torch.no_grad():
            one, other = peer(batch), peer(batch.permute_segments(order))
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


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


def test_bench_explain_times_every_engine() -> None:
    found = bench_explain(payments=400, merchants=13, coalitions=60, many=3, rounds=1, width=16)
    timed = ("shapley_2000_s", "gradient_s", "whatif_s", "interactions_s", "explain_all_per_s")
    assert all(found[name] > 0 for name in (*timed, "payments_of_a_merchant_s"))
    assert found["timeshap_ratio"] is None
    assert found["machine"]["merchants"] == 13
