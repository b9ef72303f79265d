"""`lbsf bench fold`: our fold against pandas doing the same work, Parquet to Parquet."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb

from lbsf_core.bench.contestants import CONTESTANTS, WINDOW_DAYS
from lbsf_core.bench.data import write_payments
from lbsf_core.errors import LbsfError
from lbsf_core.machine import machine


def bench_fold(
    payments: int,
    *,
    users: int | None = None,
    seed: int = 0,
    rounds: int = 1,
    workdir: str | Path | None = None,
) -> dict[str, Any]:
    """Fold invented payments with lbsf and with pandas, and see that both give the same.

    The payments lie by user, then time, as `lbsf ingest` writes them: merchants come mixed, and
    all grouping is left to the fold. Every contestant runs in a process of its own, in turn.

    Args:
        payments: payments in the file that is folded.
        users: by default one for every 500 payments.
        seed: of the payments.
        rounds: times that each contestant folds; the median counts.
        workdir: where the files are made and removed again; by default the temporary folder.

    Returns:
        payments_per_s, pandas_payments_per_s (payments read per second), ratio, peak_rss_gb and
        pandas_peak_rss_gb (GiB), cpu_seconds and pandas_cpu_seconds (over all cores: on a busy
        machine they say more than the clock), equal (always true), and what was folded.

    Raises:
        LbsfError: a contestant failed, or the two outputs differ.
    """
    if payments < 1 or (users is not None and not 1 <= users <= payments) or rounds < 1:
        raise LbsfError("bench fold needs a payment, a round, and no more users than payments.")
    users = users or max(1, payments // 500)
    with tempfile.TemporaryDirectory(prefix="lbsf-bench-", dir=workdir) as name:
        folder = Path(name)
        write_payments(folder, payments, users, seed)
        runs: dict[str, list[dict[str, float]]] = {contestant: [] for contestant in CONTESTANTS}
        for _ in range(rounds):
            for contestant, found in runs.items():
                found.append(_run(contestant, folder))
        kept = _same(folder)
    seconds = {who: statistics.median(r["seconds"] for r in found) for who, found in runs.items()}
    cpu = {who: statistics.median(r["cpu_seconds"] for r in found) for who, found in runs.items()}
    rss = {who: max(r["peak_rss_gb"] for r in found) for who, found in runs.items()}
    return {
        "payments_per_s": round(payments / seconds["lbsf"]),
        "pandas_payments_per_s": round(payments / seconds["pandas"]),
        "ratio": round(seconds["pandas"] / seconds["lbsf"], 2),
        "peak_rss_gb": round(rss["lbsf"], 3),
        "pandas_peak_rss_gb": round(rss["pandas"], 3),
        "cpu_seconds": round(cpu["lbsf"], 2),
        "pandas_cpu_seconds": round(cpu["pandas"], 2),
        "equal": True,
        "payments": payments,
        "payments_kept": kept,
        "users": users,
        "window_days": WINDOW_DAYS,
        "rounds": rounds,
        "seed": seed,
        "machine": machine(),
    }


def _run(contestant: str, folder: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "lbsf_core.bench.contestants", contestant, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"it was ended ({done.returncode})"])[-1]
        raise LbsfError(f"bench fold: {contestant} failed: {reason}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


#: Every row with its place in the file: equal sums mean equal rows in equal order.
_PAYMENTS = """
    SELECT count(*), sum(hash(file_row_number, sample, segment, merchant, description,
                              epoch_us(timestamp), amount)::HUGEINT)
    FROM read_parquet($path, file_row_number = true)"""
#: Sums of money may differ in the last bits with the order of adding: to the cent here.
_SAMPLES = """
    SELECT count(*), sum(hash(file_row_number, sample, user_id, epoch_us(cutoff), label,
        epoch_us(window_start), payments, segments, row_start, round(money_in, 2),
        round(money_out, 2), epoch_us(first_payment), epoch_us(last_payment))::HUGEINT)
    FROM read_parquet($path, file_row_number = true)"""


def _same(folder: Path) -> int:
    """Compare both outputs row for row; gives the payments kept."""
    kept = 0
    for name, query in (("samples.parquet", _SAMPLES), ("payments.parquet", _PAYMENTS)):
        found = {}
        for who in CONTESTANTS:
            with duckdb.connect() as connection:
                path = str(folder / who / name)
                found[who] = connection.execute(query, {"path": path}).fetchall()[0]
        if found["lbsf"] != found["pandas"]:
            raise LbsfError(f"bench fold: {name} differs between lbsf and pandas: {found}.")
        kept = int(found["lbsf"][0])
    return kept
