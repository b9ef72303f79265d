"""Score on Spark: each task some samples, the bundle shipped once to every executor."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from lbsf_core.files import sha256
from lbsf_core.fold.store import FoldedStore, cut_by_sum
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.bundle_files import MANIFEST
from lbsf_core.score.scorer import passes
from lbsf_core.score.stream import Ask, scoring
from lbsf_core.score.table import score_table
from lbsf_core.spark import LOCAL, run_tasks, session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: Folders of `_named`.
_held: list[TemporaryDirectory[str]] = []
#: Payments of a task, about.
TASK_PAYMENTS = 2_000_000


def score_on_spark(
    store: FoldedStore,
    bundle: str | Path,
    *,
    master: str = LOCAL,
    prior: float | None = None,
    task_payments: int = TASK_PAYMENTS,
) -> pa.Table:
    """Scores of every sample, as `stream.score_stream` gives them (to 1e-6).

    Args:
        store: where all workers see it.
        bundle: folder of the bundle; only this machine has to see it.
        master: of the cluster.
        prior: default rate of these samples, where it differs from that of training.
        task_payments: payments of a task, about.

    Raises:
        LbsfError: Spark or Java is missing, or the work failed four times.
        BundleError: the bundle is damaged.
    """
    model, payments = Bundle.load(bundle), store.samples["payments"].to_numpy()
    logits = np.full(len(store.samples), np.nan)
    with shipped(master, bundle) as (spark, name):
        same = where(store, name) | {"all": int(payments.sum())}
        tasks = [
            same | {"begin": begin, "end": end}
            for begin, end in cut_by_sum(payments, task_payments)
        ]
        found = run_tasks(spark, tasks, _score, "sample long, logit double")
    if found.num_rows:
        logits[found["sample"].to_numpy()] = found["logit"].to_numpy()
    return score_table(store, model, logits, prior=prior)


@contextmanager
def shipped(master: str, bundle: str | Path) -> Iterator[tuple[SparkSession, str]]:
    """A session whose executors have a bundle, and the name that `opened` knows it by."""
    named = _named(Path(bundle).absolute(), sha256(Path(bundle) / MANIFEST))
    with session(master) as spark:
        spark.sparkContext.addFile(str(named), recursive=True)
        yield spark, named.name


@cache
def _named(bundle: Path, digest: str) -> Path:
    """A copy of a bundle whose folder's name says what is in it, so that a session may see several.

    Spark knows what it ships by its name alone, and refuses another folder of the same name; so
    does `opened`. The copy stays until this process ends: executors that come later fetch it too.
    """
    _held.append(TemporaryDirectory(prefix="lbsf-spark-"))
    return Path(shutil.copytree(bundle, Path(_held[-1].name) / digest))


def where(store: FoldedStore, bundle: str) -> dict[str, str]:
    """What a task says to `opened`: where the store lies, what is in it, the bundle's name."""
    return {"store": str(store.path.absolute()), "digest": store.digest, "bundle": bundle}


@cache
def opened(store: str, digest: str, bundle: str) -> tuple[FoldedStore, Bundle]:
    """On a worker: the store and the bundle, opened once; its cores are shared with others.

    By `digest` another store that was folded into the same folder since is told apart.
    """
    import torch
    from pyspark import SparkFiles

    torch.set_num_threads(1)
    return FoldedStore.open(store, verify=False), Bundle.load(SparkFiles.get(bundle))


@cache
def _scorer(store: str, digest: str, bundle: str, payments: int) -> Ask:
    """On a worker: what scores a batch, made once."""
    return scoring(opened(store, digest, bundle)[1].model, payments)


def _score(task: dict[str, Any]) -> Iterable[pa.RecordBatch]:
    """On a worker: the logits of some samples."""
    named = task["store"], task["digest"], task["bundle"]
    store, _ = opened(*named)
    score = _scorer(*named, task["all"])
    whole = store.read(np.arange(task["begin"], task["end"]))
    order = np.argsort(whole.segment_counts, kind="stable")  # like sizes share a pass
    logits = np.concatenate([score(part) for part in passes(whole, order)])
    yield pa.RecordBatch.from_pydict({"sample": whole.samples[order], "logit": logits})
