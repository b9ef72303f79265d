"""All measurements together, and what is kept of them in the bundle."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lbsf_core.explain import stability
from lbsf_core.explain import truth as module
from lbsf_core.explain.truth import keep, truth
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle


@pytest.fixture(scope="module")
def found(tiny_store: Path, tiny_bundle: Path) -> dict:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SANITY_USERS", 2)
        patch.setattr(module, "RANDOM_USERS", 1)
        patch.setattr(stability, "RANK_BUDGET", 20)
        return truth(FoldedStore.open(tiny_store), Bundle.load(tiny_bundle), users=3)


def test_every_part_is_there_and_says_on_how_many(found: dict) -> None:
    assert {"methods", "differences", "default", "payments", "shares"} <= set(found)
    assert found["users"] <= 3
    assert found["sensitivity"]["users"] == 2
    assert found["randomisation"]["users"] == 1
    assert found["stability"]["users"] == 3
    assert found["attention_uniform"]["samples"] > 0
    json.dumps(found, allow_nan=False)


def test_the_bundle_keeps_what_was_found_and_where(
    found: dict, tiny_store: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "bundle")
    store, before = FoldedStore.open(tiny_store), Bundle.load(tmp_path / "bundle")
    keep(found, tmp_path / "bundle", before, store, seed=7)
    kept = Bundle.load(tmp_path / "bundle")
    about = {"store", "samples", "date", "seed"}
    assert {k: v for k, v in kept.faithfulness.items() if k not in about} == found
    assert kept.faithfulness["store"] == store.content
    assert kept.faithfulness["samples"] == found["users"]
    assert kept.faithfulness["seed"] == 7
    day = datetime.fromisoformat(kept.faithfulness["date"]).replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - day).days) <= 1
    assert kept.weights_digest() == before.weights_digest()
    assert kept.training == before.training
