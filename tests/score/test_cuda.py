"""The model on a GPU: the scores of the CPU, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from lbsf_core.cli import app
from lbsf_core.errors import LbsfError
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.score import stream
from lbsf_core.score.stream import score_stream

THERE = torch.cuda.is_available()


def score(*words: object) -> BaseException | None:
    """Run `lbsf score`; what it raised."""
    return CliRunner().invoke(app, ["score", *map(str, words)]).exception


@pytest.mark.skipif(not THERE, reason="torch reaches no CUDA device on this machine")
def test_scores_are_those_of_the_cpu(
    tiny_store: Path, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "LEAN_FROM", 1)  # compiled loops are the CPU's
    expected = score_stream(FoldedStore.open(tiny_store), Bundle.load(tiny_bundle))
    out = tmp_path / "scores.parquet"
    assert score(tiny_store, tiny_bundle, "--out", out, "--device", "cuda") is None
    found = pq.read_table(out)
    assert np.ptp(found["logit"].to_numpy()) > 0.1
    np.testing.assert_allclose(found["logit"], expected["logit"], atol=1e-4)
    np.testing.assert_allclose(found["pd"], expected["pd"], atol=1e-4)


@pytest.mark.skipif(THERE, reason="a GPU is there, so nothing is refused")
def test_without_a_gpu_it_says_what_to_do(
    tiny_store: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scores.parquet"
    refused = score(tiny_store, tiny_bundle, "--out", out, "--device", "cuda")
    assert isinstance(refused, LbsfError) and "Leave the device out" in str(refused)
    assert not out.exists()


def test_the_cpu_is_a_device_and_spark_has_no_other(
    tiny_store: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    plain, asked = tmp_path / "plain.parquet", tmp_path / "asked.parquet"
    assert score(tiny_store, tiny_bundle, "--out", plain) is None
    assert score(tiny_store, tiny_bundle, "--out", asked, "--device", "cpu") is None
    assert pq.read_table(asked).equals(pq.read_table(plain))
    words = ("--engine", "spark", "--device", "cuda")
    refused = score(tiny_store, tiny_bundle, "--out", tmp_path / "none.parquet", *words)
    assert isinstance(refused, LbsfError) and "score on CPUs" in str(refused)
