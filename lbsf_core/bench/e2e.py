"""`lbsf bench e2e`: from a Parquet file of payments to scores, by the commands that a user runs."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from lbsf_core.bench.contestants import WINDOW_DAYS
from lbsf_core.bench.data import folded_users, write_payments
from lbsf_core.config import ModelConfig
from lbsf_core.errors import LbsfError
from lbsf_core.machine import limits, machine
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.lbsf import LBSF


def bench_e2e(
    payments: int, *, users: int | None = None, seed: int = 0, workdir: str | Path | None = None
) -> dict[str, Any]:
    """`lbsf fold`, then `lbsf score`, each a process of its own, its start included.

    The payments are validated ones, as `lbsf ingest` writes them. The model has the default size;
    its weights are random, which cost the same.

    Args:
        payments: payments in the file.
        users: by default one for every 500 payments.
        seed: of payments and weights.
        workdir: where the files are made and removed again; by default the temporary folder.

    Returns:
        payments_per_s (from the first command's start to the last one's end), fold_s, score_s,
        peak_rss_gb (of the larger of both), what was scored and the machine.

    Raises:
        LbsfError: a command failed.
    """
    users = users or max(1, payments // 500)
    with tempfile.TemporaryDirectory(prefix="lbsf-bench-", dir=workdir) as name:
        folder = Path(name)
        write_payments(folder, payments, users, seed)
        bundle = random_bundle(seed).save(folder / "bundle")
        fold = ["fold", "payments.parquet", "--labels", "labels.parquet", "--out", "store"]
        folding = run_command([*fold, "--window-days", str(WINDOW_DAYS)], folder)
        scoring = run_command(["score", "store", bundle.name, "--out", "scores.parquet"], folder)
    return {
        "payments_per_s": round(payments / (folding.seconds + scoring.seconds)),
        "fold_s": round(folding.seconds, 2),
        "score_s": round(scoring.seconds, 2),
        "peak_rss_gb": round(max(folding.peak_rss_gb, scoring.peak_rss_gb), 3),
        "payments": payments,
        "users": users,
        "machine": machine() | limits(),
    }


def random_bundle(seed: int) -> Bundle:
    """A bundle of the default size with random weights."""
    torch.manual_seed(seed)
    model = LBSF.fit(ModelConfig(), (), folded_users(512, 8, seed)).eval()
    return Bundle(model, {"slope": 1.0, "intercept": 0.0}, {}, {}, {})


class Ran(NamedTuple):
    """What a command took; of memory, the most that it or a process of its held (GiB)."""

    seconds: float
    peak_rss_gb: float


#: Runs a command and prints the most memory of it. A process of its own: one that is started takes
#: over the peak of who starts it, and a bench holds the payments it has just written.
_WATCH = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def run_command(words: list[str], folder: Path) -> Ran:
    """Run `lbsf WORDS` in a folder.

    Raises:
        LbsfError: it failed.
    """
    start = time.perf_counter()
    ours = [sys.executable, "-c", "from lbsf_core.start import main; main()", *words]
    line = [sys.executable, "-c", _WATCH, *ours]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"it was ended ({done.returncode})"])[-1]
        raise LbsfError(f"lbsf {words[0]} failed: {reason}")
    peak = int(done.stdout.splitlines()[-1])
    units = 2**30 if sys.platform == "darwin" else 2**20
    return Ran(time.perf_counter() - start, peak / units)
