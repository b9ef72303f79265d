"""`lbsf bench spark`: the Spark engine against the local one on the same payments."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from lbsf_core.bench.contestants import WINDOW_DAYS
from lbsf_core.bench.data import write_payments
from lbsf_core.bench.e2e import random_bundle, run_command
from lbsf_core.config import FoldConfig
from lbsf_core.errors import LbsfError
from lbsf_core.files import sha256
from lbsf_core.fold.append import compact
from lbsf_core.fold.spark import fold_on_spark
from lbsf_core.fold.store import PAYMENTS, SAMPLES, FoldedStore
from lbsf_core.machine import limits, machine
from lbsf_core.score.spark import score_on_spark
from lbsf_core.spark import LOCAL, session

#: Seconds of a core after which a worker has begun to work.
WORKING = 0.3


def bench_spark(
    payments: int,
    *,
    users: int | None = None,
    master: str = LOCAL,
    seed: int = 0,
    workdir: str | Path | None = None,
) -> dict[str, Any]:
    """Fold and score the same payments by both engines.

    The local engine runs as two commands, its starts included. Spark's session is started first and
    given as `session_s`: a cluster's is up for hours. Afterwards the store is scored once more, and
    a Python worker is killed meanwhile.

    Args:
        payments: payments in the file.
        users: by default one for every 500 payments.
        master: Spark's.
        seed: of payments and weights.
        workdir: where the files are made and removed again; by default the temporary folder.

    Returns:
        fold_equal (the same bytes once put together), score_max_diff (of logits), rate_ratio
        (payments a second, fold and score together: Spark's over the local engine's), the seconds
        of each, session_s, survives_worker_kill (the same logits to the last bit; None where no
        worker of this machine could be killed: on a cluster, or none worked long enough), and the
        machine.

    Raises:
        LbsfError: an engine failed.
    """
    users = users or max(1, payments // 500)
    with tempfile.TemporaryDirectory(prefix="lbsf-bench-", dir=workdir) as name:
        folder = Path(name)
        write_payments(folder, payments, users, seed)
        bundle = random_bundle(seed).save(folder / "bundle")
        words = ["fold", "payments.parquet", "--labels", "labels.parquet", "--out", "local"]
        words += ["--window-days", str(WINDOW_DAYS)]
        seconds = {"fold_s": run_command(words, folder).seconds}
        words = ["score", "local", bundle.name, "--out", "local.parquet"]
        seconds["score_s"] = run_command(words, folder).seconds
        start = time.perf_counter()
        with session(master):
            begun = time.perf_counter()
            paths = (folder / "payments.parquet", folder / "labels.parquet", folder / "spark")
            fold_on_spark(*paths, FoldConfig(window_days=WINDOW_DAYS), master=master)
            folded = time.perf_counter()
            store = FoldedStore.open(folder / "spark", verify=False)
            scores = score_on_spark(store, bundle, master=master)
            scored = time.perf_counter()
            with worker_killed() as killed:
                again = score_on_spark(store, bundle, master=master)
        one = compact(store, folder / "compact")
        equal = all(
            sha256(one.path / file) == sha256(folder / "local" / file)
            for file in (PAYMENTS, SAMPLES)
        )
        expected = pq.read_table(folder / "local.parquet")["logit"].to_numpy()
    local, spark = sum(seconds.values()), scored - begun
    return {
        "fold_equal": equal,
        "score_max_diff": float(np.max(np.abs(scores["logit"].to_numpy() - expected))),
        "rate_ratio": round(local / spark, 3),
        "survives_worker_kill": again.equals(scores) if killed else None,
        "fold_s": round(seconds["fold_s"], 2),
        "score_s": round(seconds["score_s"], 2),
        "spark_fold_s": round(folded - begun, 2),
        "spark_score_s": round(scored - folded, 2),
        "session_s": round(begun - start, 2),
        "master": master,
        "payments": payments,
        "users": users,
        "machine": machine() | limits(),
    }


@contextmanager
def worker_killed() -> Iterator[list[int]]:
    """Kill the first Python worker of this process's Spark that works; gives its number, if any.

    Idle ones, which wait to be used again, are ended first, so that those that work are new.

    Raises:
        LbsfError: psutil is not installed, which finds them.
    """
    try:
        import psutil
    except ImportError as error:
        raise LbsfError("Killing a worker needs psutil: `pip install 'lbsf[dev]'`.") from error
    here = psutil.Process()
    killed: list[int] = []
    stop = Event()

    def is_python(process: psutil.Process | None) -> bool:
        """A worker, or the process whose children they are."""
        return process is not None and any("pyspark.daemon" in part for part in process.cmdline())

    def kill_one() -> None:
        before = {process.pid for process in here.children(recursive=True)}
        while not stop.is_set() and not killed:
            for process in here.children(recursive=True):
                with suppress(psutil.Error):
                    works = process.pid not in before and process.cpu_times().user > WORKING
                    if works and is_python(process) and is_python(process.parent()):
                        process.kill()
                        killed.append(process.pid)
                        break
            time.sleep(0.01)

    for process in here.children(recursive=True):
        with suppress(psutil.Error):
            if is_python(process):
                process.kill()
    thread = Thread(target=kill_one)
    thread.start()
    try:
        yield killed
    finally:
        stop.set()
        thread.join()
