"""A large fold: bucket by bucket, told as it goes, and going on after a kill."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lbsf_core.config import FoldConfig
from lbsf_core.fold import fold as module
from lbsf_core.fold.append import compact
from lbsf_core.fold.fold import fold
from lbsf_core.fold.store import FoldedStore


@pytest.fixture
def raw(tiny_store: Path) -> tuple[Path, Path]:
    folder = tiny_store.parent / "raw"
    return folder / "payments.parquet", folder / "labels.parquet"


@pytest.fixture
def small_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUCKET", 9_000)
    monkeypatch.setattr(module, "PART", 2_000)


def same(found: Path, expected: Path, tmp_path: Path) -> None:
    one = compact(FoldedStore.open(found), tmp_path / "compact")
    for name in ("payments.parquet", "samples.parquet"):
        assert (one.path / name).read_bytes() == (expected / name).read_bytes()


def test_buckets_hold_the_same(
    raw: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = FoldConfig(120, max_payments=30)
    fold(*raw, tmp_path / "whole", config)
    monkeypatch.setattr(module, "BUCKET", 9_000)
    told: list[tuple[int, int]] = []
    fold(*raw, tmp_path / "cut", config, progress=lambda *at: told.append(at))
    store = FoldedStore.open(tmp_path / "cut")
    assert len(store.payment_files) > 2
    same(store.path, tmp_path / "whole", tmp_path)
    done = [at for at, _ in told]
    assert done == sorted(done) and told[-1][0] == told[-1][1]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("after", [1, 2])
def test_a_killed_fold_goes_on(
    raw: tuple[Path, Path], tmp_path: Path, after: int, small_buckets: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    fold(*raw, tmp_path / "whole")
    original, folded = module._fold_parts, []

    def killed(*args: object) -> dict[str, np.ndarray]:
        if len(folded) == after:
            raise KeyboardInterrupt
        folded.append(args[2])
        return original(*args)

    monkeypatch.setattr(module, "_fold_parts", killed)
    with pytest.raises(KeyboardInterrupt):
        fold(*raw, tmp_path / "cut")
    assert not (tmp_path / "cut").exists()
    again = []
    monkeypatch.setattr(
        module, "_fold_parts", lambda *args: (again.append(args[2]), original(*args))[1]
    )
    fold(*raw, tmp_path / "cut")
    buckets = len(FoldedStore.open(tmp_path / "cut").payment_files)
    assert len(again) == buckets - after  # finished ones were not folded again
    monkeypatch.setattr(module, "BUCKET", 10**9)
    fold(*raw, tmp_path / "one")
    same(tmp_path / "cut", tmp_path / "one", tmp_path)
    assert not list(tmp_path.glob(".*folding"))


def test_a_kill_at_the_very_end_loses_no_bucket(
    raw: tuple[Path, Path], tmp_path: Path, small_buckets: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, parts = module.samples_table, module._fold_parts
    monkeypatch.setattr(
        module, "samples_table", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        fold(*raw, tmp_path / "cut")
    monkeypatch.setattr(module, "samples_table", table)
    monkeypatch.setattr(module, "_fold_parts", lambda *_: pytest.fail("a bucket is folded again"))
    fold(*raw, tmp_path / "cut")
    monkeypatch.setattr(module, "_fold_parts", parts)
    monkeypatch.setattr(module, "BUCKET", 10**9)
    fold(*raw, tmp_path / "whole")
    same(tmp_path / "cut", tmp_path / "whole", tmp_path)


def test_what_was_kept_for_other_settings_is_not_used(
    raw: tuple[Path, Path], tmp_path: Path, small_buckets: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = module._fold_parts
    monkeypatch.setattr(module, "_fold_parts", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        fold(*raw, tmp_path / "cut", FoldConfig(90))
    (before,) = tmp_path.glob(".cut.*.folding")
    monkeypatch.setattr(module, "_fold_parts", original)
    fold(*raw, tmp_path / "cut", FoldConfig(120))
    assert not before.exists()
    monkeypatch.setattr(module, "BUCKET", 10**9)
    fold(*raw, tmp_path / "whole", FoldConfig(120))
    same(tmp_path / "cut", tmp_path / "whole", tmp_path)
