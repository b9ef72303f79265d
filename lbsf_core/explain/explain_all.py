"""`lbsf explain-all`: every sample of a store explained on all cores, and kept in one file.

Work is cut into chunks of neighbouring samples. Each that is finished is kept in a hidden folder
beside the file until all are, so that a run that was killed goes on where it was.
"""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from importlib import resources
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import torch
from filelock import FileLock, Timeout

from lbsf_core.cores import cores
from lbsf_core.errors import AttributionsError
from lbsf_core.explain.attributions import VERSION, join, merge
from lbsf_core.explain.baselines import CHECK, Baseline
from lbsf_core.explain.batch import (
    BATCH_PAYMENTS,
    CHUNK_PAYMENTS,
    Progress,
    asked_reasons,
    explain_chunk,
    runs_of,
    typical_user,
)
from lbsf_core.files import atomic_write, code_hash, dump_json
from lbsf_core.fold.store import FoldedStore, StoreManifest
from lbsf_core.model.bundle import Bundle, versions

#: Samples that are asked for their reason codes where nobody says how many: enough for the shares
#: of a cohort of a tenth of them.
REASONED = 500
Run = tuple[int, int]


class Also(NamedTuple):
    """What is told of samples besides their attributions, in values that any process can be sent.

    Attributes:
        reasons: how many are asked for their reason codes.
        check: the typical user (`Baseline.to_dict`), or None.
    """

    reasons: int
    check: dict[str, Any] | None


#: Explains and keeps chunks of a store (bundle, chunks, folder, what else is told); gives each when
#: it is done.
Explained = Callable[[FoldedStore, Bundle, Sequence[Run], Path, Also], Iterator[Run]]


def write_attributions(
    store: FoldedStore,
    bundle: Bundle,
    out: str | Path,
    progress: Progress | None = None,
    *,
    reasons: int = REASONED,
    workers: int | None = None,
    chunk: int = CHUNK_PAYMENTS,
    explained: Explained | None = None,
) -> Path:
    """Explain every sample and keep the result in the Parquet file `out` (written atomically).

    A run that was killed goes on when it is started again with the same store, weights and code;
    what others left for the same `out` is removed. Values don't depend on `workers` but for
    rounding.

    Args:
        store: the samples.
        bundle: the model.
        out: the file.
        progress: called with (payments done, payments in all).
        reasons: samples, drawn at random, whose reason codes are told too; each takes several times
            as long as its attributions.
        workers: processes at most, among which the cores are shared out; by default one a core,
            which is far faster than more threads in one process.
        chunk: payments of a chunk, about.
        explained: explains and keeps chunks elsewhere than in processes of this machine.

    Raises:
        AttributionsError: `out` is a folder, another run is writing it, or a process was ended.
    """
    out = Path(out)
    if out.is_dir():
        raise AttributionsError(f"{out}: is a folder; name a file, such as {out.name}.parquet.")
    typical = typical_user(store, bundle)
    also = Also(reasons, typical.to_dict() if typical else None)
    about = {"version": VERSION, "store": store.content, "bundle": bundle.weights_digest()}
    about |= {"check": also.check}
    counts = store.samples["payments"].to_numpy()
    with _working_folder(out, _run_key(store, about, [chunk, reasons])) as work:
        files = {run: work / f"{run[0]}-{run[1]}.parquet" for run in runs_of(counts, chunk)}
        missing = [run for run, file in files.items() if not file.is_file()]
        total = int(counts.sum())
        done = total - sum(int(counts[slice(*run)].sum()) for run in missing)
        if explained is None:
            explained = partial(_explained, workers=workers)
        for run in explained(store, bundle, missing, work, also):
            done += int(counts[slice(*run)].sum())
            if progress:
                progress(done, total)
        merge(list(files.values()), about, out)
    shutil.rmtree(work, ignore_errors=True)
    return out


def _run_key(store: FoldedStore, about: Mapping[str, Any], sizes: Sequence[int]) -> str:
    """Names everything that a finished chunk depends on."""
    catalogue = resources.files("lbsf_core.explain") / "catalogue"
    facts = {
        **about,
        "folded": store.digest,
        "code": code_hash(),
        "catalogue": [
            hashlib.sha256((catalogue / name).read_bytes()).hexdigest()
            for name in ("kinds.toml", "reasons.toml")
        ],
        "versions": versions(),
        "sizes": [*sizes, BATCH_PAYMENTS],
    }
    return hashlib.sha256(dump_json(facts).encode()).hexdigest()[:16]


@contextmanager
def _working_folder(out: Path, key: str) -> Iterator[Path]:
    """The folder of finished chunks, locked; folders of other runs for the same file are removed.

    A lock goes with the process that holds it, however that ends; a folder that is in use by
    another is left alone.
    """
    work = out.with_name(f".{out.name}.{key}.explaining")
    work.mkdir(parents=True, exist_ok=True)
    for other in out.parent.glob(f".{glob.escape(out.name)}.*.explaining"):
        if other != work and (other / "lock").is_file():
            try:
                with FileLock(other / "lock", blocking=False):
                    shutil.rmtree(other, ignore_errors=True)
            except Timeout:
                continue
    try:
        with FileLock(work / "lock", blocking=False):
            yield work
    except Timeout as error:
        raise AttributionsError(
            f"{out}: another run is writing it; wait until it is done, or stop it."
        ) from error


def _explained(
    store: FoldedStore,
    bundle: Bundle,
    runs: Sequence[tuple[int, int]],
    work: Path,
    also: Also,
    *,
    workers: int | None,
) -> Iterator[tuple[int, int]]:
    """Explain and keep these chunks; gives each when it is done."""
    # A process takes seconds to start: one for a single chunk would not be worth it.
    processes = min(workers or cores(), len(runs) // 2)
    if processes < 2:
        for run in runs:
            keep_chunk(store, bundle, also, run, work)
            yield run
        return
    threads = cores() // processes
    start = (store.path, store.manifest, bundle.save(work / "bundle"), also, threads)
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _start, start)
    try:
        waiting = {pool.submit(_work, run, work): run for run in runs}
        for future in as_completed(waiting):
            future.result()
            yield waiting[future]
    except BrokenProcessPool as error:
        raise AttributionsError(
            f"{work}: a process was ended from outside (out of memory?). What is finished is kept: "
            "run the command again, with fewer --workers."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def keep_chunk(
    store: FoldedStore, bundle: Bundle, also: Also, run: tuple[int, int], work: Path
) -> None:
    """Explain one chunk and keep it in its file."""
    asked = asked_reasons(len(store.samples), also.reasons)
    check = Baseline.from_dict(CHECK, also.check, store) if also.check else None
    segments, samples = explain_chunk(store, bundle, *run, asked, check)
    with atomic_write(work / f"{run[0]}-{run[1]}.parquet") as path:
        pq.write_table(join(segments, samples), path, compression="zstd")


_OPENED: tuple[FoldedStore, Bundle, Also] | None = None


def _start(store: Path, manifest: StoreManifest, bundle: Path, also: Also, threads: int) -> None:
    global _OPENED  # noqa: PLW0603 - once in every worker process
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(max(1, threads))
    _OPENED = FoldedStore(store, manifest), Bundle.load(bundle), also


def _end_with_parent() -> None:
    """A killed parent can't end its workers, which would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(run: tuple[int, int], work: Path) -> None:
    assert _OPENED is not None  # noqa: S101 - set when the worker started
    keep_chunk(*_OPENED, run, work)
