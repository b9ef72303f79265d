"""`lbsf bench fold`: our fold against pandas and Polars doing the same work, Parquet to Parquet."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from lbsf_core.bench.contestants import CONTESTANTS, LIMIT_ENV, WINDOW_DAYS
from lbsf_core.bench.data import write_payments
from lbsf_core.errors import LbsfError
from lbsf_core.fold.store import PAYMENTS
from lbsf_core.machine import limits, machine


def bench_fold(
    payments: int,
    *,
    users: int | None = None,
    seed: int = 0,
    rounds: int = 1,
    alone: bool = False,
    memory_limit: str | None = None,
    workdir: str | Path | None = None,
) -> dict[str, Any]:
    """Fold invented payments with lbsf, pandas and Polars, and see that all give the same.

    The payments lie by user, then time, as `lbsf ingest` writes them: merchants come mixed, and
    all grouping is left to the fold. Every contestant runs in a process of its own, in turn.

    Args:
        payments: payments in the file that is folded.
        users: by default one for every 500 payments.
        seed: of the payments.
        rounds: times that each contestant folds; the median counts.
        alone: only our fold, for sizes that the others have no memory for.
        memory_limit: given to our fold, e.g. "2GB".
        workdir: where the files are made and removed again; by default the temporary folder.

    Returns:
        payments_per_s (read per second), peak_rss_gb (GiB), cpu_seconds (over all cores: on a busy
        machine they say more than the clock), bytes_per_payment (of both files, decompressed) and
        memory_share (of the rate at which this machine copies memory, the share that they take),
        the same with "pandas_" and "polars_" before, ratio and polars_ratio (of the seconds), equal
        (always true), and what was folded.

    Raises:
        LbsfError: a contestant failed, or the two outputs differ.
    """
    if payments < 1 or (users is not None and not 1 <= users <= payments) or rounds < 1:
        raise LbsfError("bench fold needs a payment, a round, and no more users than payments.")
    users = users or max(1, payments // 500)
    with tempfile.TemporaryDirectory(prefix="lbsf-bench-", dir=workdir) as name:
        folder = Path(name)
        write_payments(folder, payments, users, seed)
        who = ["lbsf"] if alone else list(CONTESTANTS)
        runs: dict[str, list[dict[str, float]]] = {contestant: [] for contestant in who}
        for _ in range(rounds):
            for contestant, figures in runs.items():
                figures.append(_run(contestant, folder, memory_limit))
        kept = _same(folder, who)
        moved = _bytes(folder / PAYMENTS) + _bytes(folder / "lbsf" / PAYMENTS)
    found: dict[str, Any] = {}
    for contestant, figures in runs.items():
        seconds, cpu = (
            statistics.median(r[name] for r in figures) for name in ("seconds", "cpu_seconds")
        )
        prefix = "" if contestant == "lbsf" else f"{contestant}_"
        found[f"{prefix}payments_per_s"] = round(payments / seconds)
        found[f"{prefix}peak_rss_gb"] = round(max(r["peak_rss_gb"] for r in figures), 3)
        found[f"{prefix}cpu_seconds"] = round(cpu, 2)
    if not alone:
        ours = found["payments_per_s"]
        found["ratio"] = round(ours / found["pandas_payments_per_s"], 2)
        found["polars_ratio"] = round(ours / found["polars_payments_per_s"], 2)
        found["equal"] = True
    most = limits()
    share = found["payments_per_s"] * moved / payments / most["memory_gb_per_s"] / 1e9
    return found | {
        "bytes_per_payment": round(moved / payments, 1),
        "memory_share": float(f"{share:.2g}"),
        "payments": payments,
        "payments_kept": kept,
        "users": users,
        "window_days": WINDOW_DAYS,
        "rounds": rounds,
        "seed": seed,
        "memory_limit": memory_limit,
        "machine": machine() | most,
    }


def _run(contestant: str, folder: Path, memory_limit: str | None) -> dict[str, float]:
    if hasattr(os, "sync"):
        os.sync()  # what the one before left unwritten would be on this one's clock
    done = subprocess.run(
        [sys.executable, "-m", "lbsf_core.bench.contestants", contestant, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {LIMIT_ENV: memory_limit or ""},
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


def _bytes(path: Path) -> int:
    """Bytes of a Parquet file's rows, encoded and not compressed: what must be read or written."""
    about = pq.read_metadata(path)
    return sum(about.row_group(at).total_byte_size for at in range(about.num_row_groups))


def _same(folder: Path, who: Sequence[str]) -> int:
    """Compare all outputs row for row; gives the payments kept."""
    kept = 0
    for name, query in (("samples.parquet", _SAMPLES), ("payments.parquet", _PAYMENTS)):
        found = {}
        for contestant in who:
            with duckdb.connect() as connection:
                path = str(folder / contestant / name)
                found[contestant] = connection.execute(query, {"path": path}).fetchall()[0]
        if len(set(found.values())) > 1:
            raise LbsfError(f"bench fold: {name} differs between contestants: {found}.")
        kept = int(found["lbsf"][0])
    return kept
