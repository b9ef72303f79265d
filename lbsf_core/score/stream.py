"""Score a whole store: batches read, encoded and scored side by side, a core each.

The numbers are those of `scorer.score_store`, which does one thing after the other. Cores that
share a small matrix product wait for each other; here each has a batch of its own and the next ones
are read meanwhile. Each distinct text is hashed and read once, as long as the texts fit. A large
store is scored by compiled loops (`lean.py`), whose logits are the same to 2e-5.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from lbsf_core.files import atomic_write
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.fold.store import SAMPLES as SAMPLES_FILE
from lbsf_core.fold.store import FoldedStore
from lbsf_core.memory import give_back_freed_memory
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.fields import TextEncoder
from lbsf_core.model.lbsf import LBSF
from lbsf_core.score.scorer import batch_logits
from lbsf_core.score.table import score_table

if TYPE_CHECKING:
    from lbsf_core.score.lean import Lean

#: Texts that are remembered while a store is scored: about 160 MB for each field of texts.
TEXTS = 262_144
#: Payments in one forward pass: a thread's share of the time that Python takes is then small.
PASS_PAYMENTS = 32_768
#: Payments that are read from the disk at a time.
CHUNK = 262_144
#: Payments from which on it is worth loading compiled loops (half a second, and some seconds when
#: they are compiled for the first time), which then take half the time.
LEAN_FROM = 1_000_000
#: Samples whose rows, logits and PDs are held at a time.
SAMPLES = 65_536
#: Payments after which memory is given back; it costs a little each time.
GIVEN_BACK = 500_000

Progress = Callable[[int, int], None]
#: What a batch is answered: one row a sample.
Answer = npt.NDArray[np.floating[Any]]
Ask = Callable[[FoldedBatch], Answer]
Answers = Iterator[tuple[FoldedBatch, Answer]]


def score_stream(
    store: FoldedStore,
    bundle: Bundle,
    progress: Progress | None = None,
    *,
    prior: float | None = None,
) -> pa.Table:
    """Scores of every sample of a store, in store order. See `score_parts`.

    Returns:
        Columns: sample, user_id, cutoff, label, logit, pd.
    """
    return pa.concat_tables(list(score_parts(store, bundle, progress, prior=prior)))


def score_parts(
    store: FoldedStore,
    bundle: Bundle,
    progress: Progress | None = None,
    *,
    prior: float | None = None,
) -> Iterator[pa.Table]:
    """The same, one table a part of the store: memory depends on the part, not on the store.

    Args:
        store: folded with the same mapping as the bundle's training store.
        bundle: the model; where it lies on a GPU, batches go there one after another.
        progress: called with (payments done, payments in all).
        prior: default rate of these samples, where it differs from that of training.
    """
    score = scoring(bundle.model, _payments(store))
    for part, batches in in_batches(store, bundle.model, score, progress):
        logits = np.full(len(part.samples), np.nan)
        for batch, found in batches:
            logits[batch.samples] = found
        yield score_table(part, bundle, logits, prior=prior)


def in_batches(
    store: FoldedStore, model: LBSF, ask: Ask, progress: Progress | None = None
) -> Iterator[tuple[FoldedStore, Answers]]:
    """Every batch of a store and what is asked of it, several at once, each on a core of its own.

    Args:
        store: the samples.
        model: which is asked; nobody else may ask it meanwhile.
        ask: of a batch, in any thread.
        progress: called with (payments done, payments in all).

    Yields:
        A part of the store, and its batches in the order they were read, whose `samples` count from
        the part's first; take all of them before the next part.
    """
    total, done, given = _payments(store), 0, 0

    def counted(found: Answers) -> Answers:
        nonlocal done, given
        for batch, answer in found:
            yield batch, answer
            done += len(batch.amounts)
            if done - given >= GIVEN_BACK:
                give_back_freed_memory()
                given = done
            if progress:
                progress(done, total)

    with _alone(model) as workers, threads_of_one_core(workers) as pool:
        for part in store.parts(SAMPLES):
            yield part, counted(_asked(part, ask, pool, workers))


def scoring(model: LBSF, payments: int) -> Ask:
    """What gives the logits of a batch, where so many payments are scored in all."""
    loops = compiled(model, payments)
    return loops.logits if loops else lambda batch: batch_logits(model, [batch])


def compiled(model: LBSF, payments: int) -> Lean | None:
    """The model as compiled loops; None where it, or so many payments, had better do without."""
    if payments < LEAN_FROM or model.device.type != "cpu" or model.gates.dtype != torch.float32:
        return None
    from lbsf_core.score.lean import Lean  # loads a compiler

    return Lean(model)


def write_score_parts(parts: Iterable[pa.Table], out: str | Path) -> int:
    """Write `scores.parquet` atomically, part by part.

    Returns:
        How many samples there were.
    """
    written = 0
    with atomic_write(out) as path, ExitStack() as opened:
        writer: pq.ParquetWriter | None = None
        for part in parts:
            if writer is None:
                writer = pq.ParquetWriter(path, part.schema, compression="zstd")
                opened.enter_context(writer)
            writer.write_table(part)
            written += len(part)
    return written


def _payments(store: FoldedStore) -> int:
    """Payments of all samples of a store."""
    column = pq.read_table(store.path / SAMPLES_FILE, columns=["payments"])["payments"]
    return int(pc.sum(column).as_py() or 0)


def _asked(store: FoldedStore, ask: Ask, pool: ThreadPoolExecutor, workers: int) -> Answers:
    """Every batch and the answer, in the order they were read."""
    waiting: deque[tuple[FoldedBatch, Future[Answer]]] = deque()
    for batch in store.batches(PASS_PAYMENTS, CHUNK):
        if len(waiting) > workers:
            first, found = waiting.popleft()
            yield first, found.result()
        waiting.append((batch, pool.submit(ask, batch)))
    for batch, found in waiting:
        yield batch, found.result()


def threads_of_one_core(workers: int) -> ThreadPoolExecutor:
    """Threads whose matrix products take one core each.

    torch's setting reaches another thread only with the first operation there that could be shared
    out; products before it take all cores, and threads of them wait for each other.
    """
    return ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))


@contextmanager
def _alone(model: LBSF) -> Iterator[int]:
    """How many batches may be scored at once; each then has one core, and texts have room."""
    cores = torch.get_num_threads()
    caches = [part.cache for part in model.modules() if isinstance(part, TextEncoder)]
    before = [cache.limit for cache in caches]
    model.eval()
    try:
        for cache in caches:
            cache.limit = max(cache.limit, TEXTS)
        if model.device.type == "cpu":
            torch.set_num_threads(1)
        yield cores if model.device.type == "cpu" else 1
    finally:
        torch.set_num_threads(cores)
        for cache, limit in zip(caches, before, strict=True):
            cache.limit = limit
            cache.clear()
