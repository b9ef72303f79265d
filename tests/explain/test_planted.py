"""Planted causes: counted by hand on users whose model reads the cause off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lbsf_core.errors import LbsfError
from lbsf_core.explain import planted as module
from lbsf_core.explain.faithfulness import METHODS
from lbsf_core.explain.planted import planted
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle


def causes_of(store: FoldedStore, path: Path, pick: int, pair: bool = False) -> Path:
    """The merchant with the `pick`-th most recent payment as every user's cause."""
    rows = []
    for at, sample in store.samples.iterrows():
        names = store.read([int(at)]).merchants.decode()
        rows.append(
            {
                "user_id": sample["user_id"],
                "cutoff": sample["cutoff"],
                "cause": "made up",
                "merchant": names[pick],
                "merchant_2": names[pick + 1] if pair else None,
            }
        )
    pd.DataFrame(rows).to_parquet(path)
    return path


def ranked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every method but one names segments in order, that one in reverse."""

    def rank(coalitions, *, budget, seed, risky):
        assert risky
        count = coalitions.merchants
        orders = np.tile(-np.arange(count), (len(METHODS), 1))
        orders[METHODS.index("attention")] *= -1
        return orders, None

    monkeypatch.setattr(module, "rank", rank)


def test_counted_by_hand(
    tiny_store: Path, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, bundle = FoldedStore.open(tiny_store), Bundle.load(tiny_bundle)
    ranked(monkeypatch)
    for pick, share in ((2, 1.0), (3, 0.0)):
        found = planted(store, bundle, causes_of(store, tmp_path / "c.parquet", pick))
        assert found["samples"] >= 1
        assert found["methods"]["removal"]["found"] == share
        assert found["methods"]["removal"]["recall"] == share  # third of three, never first
        assert found["methods"]["removal"]["precision"] == 0.0
        assert found["methods"]["attention"]["found"] == 0.0
        assert found["causes"]["made up"]["samples"] == found["samples"]
        assert found["pairs"] == {"samples": 0, "first": {"found": None, "lo": None, "hi": None}}


def test_of_a_pair_both_must_be_named_and_interact_most(
    tiny_store: Path, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, bundle = FoldedStore.open(tiny_store), Bundle.load(tiny_bundle)
    ranked(monkeypatch)

    def interactions(self) -> np.ndarray:
        found = np.zeros((self.merchants, self.merchants))
        found[1, 2] = found[2, 1] = -5.0
        return found

    monkeypatch.setattr(module.Coalitions, "interactions", interactions)
    for pick, named, first, recall, precision in ((1, 1.0, 1.0, 1.0, 0.5), (2, 0.0, 0.0, 0.5, 0)):
        path = causes_of(store, tmp_path / "c.parquet", pick, pair=True)
        found = planted(store, bundle, path)
        assert found["methods"]["removal"]["found"] == named
        assert found["methods"]["removal"]["recall"] == recall
        assert found["methods"]["removal"]["precision"] == precision
        assert found["pairs"]["samples"] == found["samples"]
        assert found["pairs"]["first"]["found"] == first


def test_causes_of_another_simulation_are_refused(
    tiny_store: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    store, bundle = FoldedStore.open(tiny_store), Bundle.load(tiny_bundle)
    path = causes_of(store, tmp_path / "c.parquet", 0)
    pd.read_parquet(path).assign(user_id="somebody else").to_parquet(path)
    with pytest.raises(LbsfError, match="same simulation"):
        planted(store, bundle, path)
