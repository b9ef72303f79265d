"""`lbsf explain-all` on Spark: each task one chunk of samples, kept in its file as ever."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from lbsf_core.explain.batch import CHUNK_PAYMENTS
from lbsf_core.explain.explain_all import REASONED, Also, Run, keep_chunk, write_attributions
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.score.spark import opened, shipped, where
from lbsf_core.spark import LOCAL, run_tasks


def explain_on_spark(
    store: FoldedStore,
    bundle: str | Path,
    out: str | Path,
    *,
    master: str = LOCAL,
    reasons: int = REASONED,
    chunk: int = CHUNK_PAYMENTS,
) -> Path:
    """Explain every sample and keep the result in `out`, as `explain_all.write_attributions` does.

    Args:
        store: where all workers see it.
        bundle: folder of the bundle; only this machine has to see it.
        out: the file, in a folder that all workers can write; chunks that were finished when a
            run was killed are not made again.
        master: of the cluster.
        reasons: samples, drawn at random, whose reason codes are told too.
        chunk: payments of a chunk, about.

    Raises:
        LbsfError: Spark or Java is missing, or the work failed four times.
    """
    explained = partial(_explained, master=master, folder=Path(bundle))
    model = Bundle.load(bundle)
    return write_attributions(
        store, model, Path(out).absolute(), reasons=reasons, chunk=chunk, explained=explained
    )


def _explained(
    store: FoldedStore,
    bundle: Bundle,
    runs: Sequence[Run],
    work: Path,
    also: Also,
    *,
    master: str,
    folder: Path,
) -> Iterator[Run]:
    """Explain all chunks on the workers; `folder` is where the bundle lies."""
    with shipped(master, folder) as (spark, name):
        about = {**where(store, name), **also._asdict()}
        tasks = [about | {"run": list(run), "work": str(work)} for run in runs]
        run_tasks(spark, tasks, _explain, "done int")
    yield from runs


def _explain(task: dict[str, Any]) -> Iterable[pa.RecordBatch]:
    """On a worker: explain one chunk."""
    store, bundle = opened(task["store"], task["digest"], task["bundle"])
    begin, end = task["run"]
    also = Also(task["reasons"], task["check"])
    keep_chunk(store, bundle, also, (begin, end), Path(task["work"]))
    yield pa.RecordBatch.from_pydict({"done": pa.array([1], pa.int32())})
