"""Two processes train what one trains: the same losses and weights, also after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.score.scorer import score_store
from lbsf_core.train import parallel
from tests.builders import random_batch, small_model

SETTINGS = """
[model]
width = 8
heads = 2
text_buckets = 64
text_width = 8
bins = 5
dropout = 0.0
text_dropout = 0.0
[train]
epochs = 5
batch_samples = 7
patience = 9
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("settings") / "small.toml"
    path.write_text(SETTINGS)
    return path


def command(store: Path, settings: Path, out: Path) -> list[str]:
    lbsf = str(Path(sys.executable).with_name("lbsf"))
    return [
        lbsf,
        "train",
        str(store),
        "--settings",
        str(settings),
        "--seed",
        "3",
        "--out",
        str(out),
    ]


def together(processes: int) -> list[str]:
    torchrun = str(Path(sys.executable).with_name("torchrun"))
    return [torchrun, "--standalone", "--nproc-per-node", str(processes), "--no-python"]


def run(line: list[str]) -> None:
    done = subprocess.run(line, capture_output=True, text=True, timeout=200, check=False,
                          env=os.environ | {"OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def by_one(tiny_store: Path, settings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one") / "bundle"
    run(command(tiny_store, settings, out))
    return out


def curves(bundle: Path) -> np.ndarray:
    history = json.loads((bundle / "manifest.json").read_text())["training"]["history"]
    return np.array([[h["loss"], h["validation_loss"]] for h in history])


def same(found: Path, expected: Path, store: Path) -> None:
    np.testing.assert_allclose(curves(found), curves(expected), atol=2e-4)
    logits = [
        score_store(FoldedStore.open(store), Bundle.load(b))["logit"] for b in (found, expected)
    ]
    np.testing.assert_allclose(*logits, atol=2e-3)


@pytest.mark.parametrize("in_memory", ["2000000", "0"])
def test_two_processes_train_as_one(
    tiny_store: Path, settings: Path, by_one: Path, tmp_path: Path, in_memory: str
) -> None:
    """With all payments in memory, or each process reading its share from the disk."""
    out = tmp_path / "bundle"
    run([*together(2), *command(tiny_store, settings, out), "--in-memory", in_memory])
    assert len(curves(out)) == 5
    assert np.ptp(curves(out)[:, 0]) > 0.01  # it learns something
    same(out, by_one, tiny_store)
    assert not out.with_name("bundle.training").exists()


def test_a_killed_pair_goes_on(
    tiny_store: Path, settings: Path, by_one: Path, tmp_path: Path
) -> None:
    out = tmp_path / "bundle"
    line = [*together(2), *command(tiny_store, settings, out)]
    running = subprocess.Popen(
        line, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    work = out.with_name("bundle.training")
    deadline = time.monotonic() + 150
    while not list(work.glob("*/state.json")) and time.monotonic() < deadline:
        assert running.poll() is None
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    kept = [json.loads(p.read_text())["epoch"] for p in work.glob("*/state.json")]
    assert kept and min(kept) >= 1
    assert not out.exists()
    run(line)
    same(out, by_one, tiny_store)


def test_without_torchrun_nothing_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with parallel.group() as among:
        assert among is None
    assert parallel.rank() == 0


def test_shares_of_a_batch_put_together_are_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """One process after another, as a group of three: the logits of all, also of two samples."""
    batch, model = random_batch(4, 8), small_model(random_batch(9, 20))
    with torch.no_grad():
        expected = model(batch).numpy()
    order = np.argsort(-batch.payment_counts, kind="stable")
    shares = [torch.from_numpy(expected[order[r::3]]) for r in range(3)]

    def all_gather(found: list[torch.Tensor], _: torch.Tensor) -> None:
        for target, share in zip(found, shares, strict=True):
            target[: len(share)] = share

    monkeypatch.setattr(parallel.dist, "all_gather", all_gather)
    among = parallel.Group(1, 3, torch.device("cpu"))
    whole = parallel._gathered(shares[1], order, among)
    np.testing.assert_array_equal(whole.numpy(), expected)
