"""Training samples that stay on the disk: a step reads the payments of its own samples.

A store's Parquet is made for reading in order: one sample of a shuffled step costs a whole row
group. So the payments are written out once, uncompressed and in small pieces (Arrow's IPC file),
beside the checkpoint; a step of 64 samples then reads 64 pieces or a few more. In memory stays some
60 bytes a sample. The training loop knows nothing of it: it is given a `StoredBatch`, and a model
whose `forward` reads (`reading`), as in `parallel.py`, where each process reads its share only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast, overload

import numpy as np
import pyarrow as pa

from lbsf_core.config import ModelConfig
from lbsf_core.files import atomic_write
from lbsf_core.fold.batch import Floats, FoldedBatch, Ints
from lbsf_core.fold.store import FoldedStore, cut_by_sum, make_batch
from lbsf_core.model.lbsf import LBSF
from lbsf_core.payments.schema import Field

#: Payments in a piece of the file at most: a whole piece is read for a sample that has some of it.
PIECE = 256
#: Runs of payments that are held with the pieces they lie in, before they are copied out of them.
HELD = 2_048
#: Payments that vocabularies, knots, scales and the typical payment are learned from: all of the
#: training part, or those of samples drawn at random where it has more.
LEARNED_FROM = 500_000
#: Samples, and payments, that are read at a time while the file is written.
SAMPLES, CHUNK = 65_536, 500_000


@dataclass(frozen=True)
class Unpacked:
    """The payments of a store's labelled samples, one after another in one file.

    Attributes:
        path: the file; `write` makes it.
    """

    path: Path

    def write(self, store: FoldedStore) -> Unpacked:
        """Write the file, unless it is there: its folder belongs to one store and its settings."""
        if self.path.is_file():
            return self
        with atomic_write(self.path) as temporary, pa.OSFile(str(temporary), "wb") as sink:
            schema = _plain(next(store.parts(1)).rows([])).schema
            with pa.ipc.new_file(sink, schema) as writer:
                for part in store.parts(SAMPLES):
                    labelled = np.flatnonzero(np.isfinite(_labels(part)))
                    counts = part.samples["payments"].to_numpy()[labelled]
                    for low, high in cut_by_sum(counts, CHUNK):
                        table = _plain(part.rows(labelled[low:high])).combine_chunks()
                        writer.write_table(table, max_chunksize=PIECE)
        return self

    @cached_property
    def _pieces(self) -> tuple[pa.RecordBatchFileReader, Ints]:
        """The file, and the row at which each piece begins."""
        # Not mapped: what is read of a mapped file would count as this process's memory.
        file = pa.ipc.open_file(pa.OSFile(str(self.path)))
        rows = [file.get_batch(at).num_rows for at in range(file.num_record_batches)]
        return file, np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)

    def rows(self, starts: Ints, counts: Ints) -> pa.Table:
        """Rows starts[i]:starts[i] + counts[i], one run after another."""
        file, begins = self._pieces
        first = np.searchsorted(begins, starts, side="right") - 1
        found: list[pa.RecordBatch] = []
        copied: list[pa.Table] = []
        last, held = -1, cast(Any, None)
        for at, left, piece in zip(starts.tolist(), counts.tolist(), first.tolist(), strict=True):
            while left:
                skipped = at - int(begins[piece])
                if piece != last:  # samples that lie side by side share one
                    last, held = piece, file.get_batch(piece)
                run = held.slice(skipped, left)
                found.append(run)
                at, left, piece = at + run.num_rows, left - run.num_rows, piece + 1  # noqa: PLW2901
            if len(found) >= HELD:  # a run keeps all of its piece
                copied.append(pa.Table.from_batches(found, file.schema).combine_chunks())
                found = []
        return pa.concat_tables([*copied, pa.Table.from_batches(found, file.schema)])


@dataclass(frozen=True)
class StoredBatch:
    """Some of a store's labelled samples, whose payments are read when somebody asks for them.

    Attributes:
        store: where they come from.
        unpacked: their payments.
        known: one row a labelled sample: sample, user_id, cutoff, label, payments, row_start (in
            the file).
        rows: (B,) which of them these are.
    """

    store: FoldedStore
    unpacked: Unpacked
    known: pa.Table
    rows: Ints

    @classmethod
    def of(cls, store: FoldedStore, file: Path) -> StoredBatch:
        """All labelled samples of a store, their payments written out to a file."""
        tables = []
        for part in store.parts(SAMPLES):
            about = part.samples[["sample", "user_id", "cutoff", "label", "payments"]]
            labelled = about[np.isfinite(_labels(part))]
            tables.append(pa.Table.from_pandas(labelled, preserve_index=False))
        known = pa.concat_tables(tables).combine_chunks()
        counts = known["payments"].to_numpy()
        known = known.append_column("row_start", pa.array(np.cumsum(counts) - counts))
        return cls(store, Unpacked(file).write(store), known, np.arange(len(known)))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> Floats:
        """(B,) 1 = bad, 0 = good."""
        found: Floats = self._column("label").astype(np.float64)
        return found

    @property
    def payment_counts(self) -> Ints:
        """(B,) payments of each sample."""
        found: Ints = self._column("payments")
        return found

    @property
    def cutoffs(self) -> Ints:
        """(B,) microseconds UTC."""
        times = self.known["cutoff"].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        found: Ints = times.to_numpy()[self.rows]
        return found

    @property
    def user_ids(self) -> Sequence[str]:
        """B user ids."""
        return _Texts(self.known["user_id"], self.rows)

    def select(self, rows: Ints) -> StoredBatch:
        """These samples (row numbers, any order, repeats allowed)."""
        return replace(self, rows=self.rows[np.asarray(rows, dtype=np.int64)])

    def some(self, payments: int, seed: int) -> StoredBatch:
        """As many of these samples, drawn at random, as have so many payments; one at least.

        All of them in their own order where they have no more.
        """
        if int(self.payment_counts.sum()) <= payments:
            return self
        drawn = np.random.default_rng(seed).permutation(len(self))
        fits = int(np.searchsorted(np.cumsum(self.payment_counts[drawn]), payments, side="right"))
        return self.select(np.sort(drawn[: max(fits, 1)]))

    def read(self) -> FoldedBatch:
        """The samples with their payments."""
        counts = self.payment_counts
        table = self.unpacked.rows(self._column("row_start"), counts)
        about = self.known.take(pa.array(self.rows))
        return make_batch(self.store.manifest, about.to_pandas(), counts, table)

    def _column(self, name: str) -> Any:  # noqa: ANN401 - an array of what the column holds
        return self.known[name].to_numpy()[self.rows]


class _Texts(Sequence[str]):
    """Texts of an Arrow column, made into Python's own a few thousand at a time."""

    def __init__(self, column: pa.ChunkedArray, rows: Ints) -> None:
        self._column, self._rows = column, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[str]: ...
    def __getitem__(self, at: int | slice) -> str | Sequence[str]:
        if isinstance(at, slice):
            return _Texts(self._column, self._rows[at])
        return str(self._column[int(self._rows[at])].as_py())

    def __iter__(self) -> Iterator[str]:
        for begin in range(0, len(self), SAMPLES):
            yield from self._column.take(pa.array(self._rows[begin : begin + SAMPLES])).to_pylist()


def read(batch: FoldedBatch | StoredBatch) -> FoldedBatch:
    """A batch with its payments: read from the disk where they are still there."""
    return batch.read() if isinstance(batch, StoredBatch) else batch


def learned_from(batch: FoldedBatch | StoredBatch, seed: int) -> FoldedBatch:
    """What is learned from before the first step; see `LEARNED_FROM`."""
    if isinstance(batch, StoredBatch):
        return batch.some(LEARNED_FROM, seed).read()
    return batch


def as_folded(batch: StoredBatch) -> FoldedBatch:
    """For `loop.fit`, which only asks for labels, counts and selections of what it is given."""
    return cast(FoldedBatch, batch)


def builder(
    config: ModelConfig, extra: tuple[Field, ...], seed: int
) -> Callable[[FoldedBatch], LBSF]:
    """What makes the model that `loop.fit` trains, from the training part on the disk."""

    def build(part: FoldedBatch) -> LBSF:
        return reading(LBSF.fit(config, extra, learned_from(part, seed)), seed)

    return build


def reading(model: LBSF, seed: int) -> LBSF:
    """The same model, that reads the batches it is given; undone by `parallel.alone`."""
    model.forward = lambda batch: LBSF.forward(model, read(batch))  # type: ignore[method-assign]
    model.fit_typical = (  # type: ignore[method-assign]
        lambda batch: LBSF.fit_typical(model, learned_from(batch, seed))
    )
    return model


def _labels(store: FoldedStore) -> Floats:
    return store.samples["label"].to_numpy(dtype=np.float64)


def _plain(table: pa.Table) -> pa.Table:
    """Texts as they are read, not as numbers of words: a file's dictionary would be in memory."""
    for at, name in enumerate(table.column_names):
        if pa.types.is_dictionary(table.schema.types[at]):
            table = table.set_column(at, name, table[name].cast(pa.string()))
    return table
