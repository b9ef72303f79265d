"""Pre-training: what came next, by hand; who is left out; a head on top."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from lbsf_core.config import PretrainConfig
from lbsf_core.errors import BundleError, LbsfError
from lbsf_core.fold.batch import DAY
from lbsf_core.model.bundle import Bundle
from lbsf_core.train.histories import read_histories
from lbsf_core.train.pretrain import fit_head, forecasts, pretrain, pretrain_bundle
from tests.builders import SMALL, write_payments

CONFIG = PretrainConfig(
    horizon_days=40, every_days=20, least_payments=2, active_days=30, epochs=2, batch_samples=16
)


def monthly(user: str, months: int, merchant: str = "rent") -> list[tuple]:
    days = np.datetime64("2024-01-01") + np.arange(months) * 10
    return [(user, merchant, f"{day}", -100.0, "") for day in days]


def test_hand_computed_targets(tmp_path: Path) -> None:
    """Ann pays every ten days to the end, Bob stops after a month."""
    payments = [*monthly("ann", 12), *monthly("bob", 4), ("ann", "once", "2024-01-15", -1.0, "")]
    path = write_payments(tmp_path / "payments.parquet", payments)
    found = read_histories([path], None, CONFIG)
    cutoffs = found.batch.cutoffs.view("datetime64[us]").astype("datetime64[D]").astype(str)
    ids = found.batch.user_ids
    # The file ends on 2024-04-20: 40 days must lie behind a cutoff.
    assert sorted(set(zip(ids, cutoffs, strict=True))) == [
        ("ann", "2024-01-31"), ("ann", "2024-02-20"), ("ann", "2024-03-11"),
        ("bob", "2024-01-31"), ("bob", "2024-02-20"),
    ]  # fmt: skip
    silent = found.flags[:, 4]  # no payment within the whole horizon
    assert {u: silent[[i == u for i in ids]].tolist() for u in ("ann", "bob")} == {
        "ann": [0, 0, 0],
        "bob": [0, 1],
    }
    names = found.batch.merchants.decode()
    again = {
        (ids[found.batch.sample_of_segment[s]], names[s]): found.again[s] for s in range(len(names))
    }
    assert again[("ann", "rent")] == 1 and again[("ann", "once")] == 0
    assert found.figures.shape == (5, 18)
    payments = np.log1p([3.0, 3.0, 3.0, 1.0, 0.0])  # of the next 40 days, Ann then Bob
    np.testing.assert_allclose(sorted(found.figures[:, 12]), sorted(payments), rtol=0.4)


def test_where_histories_end_with_the_user_nobody_is_silent(tmp_path: Path) -> None:
    payments = [*monthly("ann", 12), *monthly("bob", 9)]
    path = write_payments(tmp_path / "payments.parquet", payments)
    config = PretrainConfig(**(CONFIG.to_dict() | {"end": "user"}))
    assert read_histories([path], None, config).flags[:, 4].sum() == 0


def test_users_and_times_can_be_left_out(tmp_path: Path) -> None:
    path = write_payments(tmp_path / "p.parquet", [*monthly("ann", 12), *monthly("bob", 12)])
    found = read_histories([path], None, CONFIG)
    rows = found.rows({"ann"})
    assert {found.batch.user_ids[r] for r in rows} == {"bob"}
    until = int(found.batch.cutoffs.max())
    early = found.rows(until=until)
    assert 0 < len(early) < len(found.batch)
    assert (found.batch.cutoffs[early] + 40 * DAY <= until).all()


def test_left_out_users_change_no_weight(tmp_path: Path) -> None:
    """What is learned from the others must not know a single payment of those left out."""
    others = [p for i in range(8) for p in monthly(f"u{i}", 8 + i % 4)]
    weights = []
    for secret in (-100.0, -9e6):
        hidden = [("zoe", "secret", p[2], secret, "hidden") for p in monthly("zoe", 14)]
        path = write_payments(tmp_path / "p.parquet", [*others, *hidden])
        found = read_histories([path], None, CONFIG)
        rows = found.rows({"zoe"})
        torch.set_num_threads(1)
        model = pretrain(found, rows, SMALL, CONFIG)
        weights.append(model.state_dict())
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], msg=name)


def test_too_short_histories_are_refused(tmp_path: Path) -> None:
    path = write_payments(tmp_path / "p.parquet", monthly("ann", 2))
    with pytest.raises(LbsfError, match="nothing to pre-train on"):
        read_histories([path], None, CONFIG)


def test_a_pretrained_bundle_learns_to_score(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    payments = []
    for i in range(60):
        stops = i % 2
        payments += monthly(f"u{i}", 9 if stops else 18, "shop" if rng.random() < 0.5 else "rent")
    path = write_payments(tmp_path / "p.parquet", payments)
    bundle = pretrain_bundle([path], tmp_path / "bundle", None, SMALL, CONFIG, without=["u0"])
    assert bundle.training["left_out"] == 1
    with pytest.raises(BundleError, match="only pre-trained"):
        Bundle.load(tmp_path / "bundle")
    loaded = Bundle.load(tmp_path / "bundle", pretrained=True)
    found = read_histories([path], None, CONFIG)
    batch = found.batch.select(np.arange(len(found.batch)))
    np.testing.assert_allclose(forecasts(loaded.model, batch), forecasts(bundle.model, batch))
    batch.labels[:] = found.flags[:, 4]
    fit_head(loaded.model, batch, strength=1.0)
    with torch.no_grad():
        scores = loaded.model(batch).numpy()
    assert roc_auc_score(batch.labels, scores) > 0.8
