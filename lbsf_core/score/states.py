"""Segment states on the disk: what is known of every merchant of every sample, to score again from.

DIR/vectors.bin, sums.bin, days.bin   rows of `model.lbsf.States`, one a segment, sample by sample
DIR/index.parquet                     one row a sample: where its block starts, how long, its logit
DIR/manifest.json                     bundle and code they were made by, widths of the rows

Blocks are only ever added; a sample whose payments changed gets a new block at the end and a new
line in the index, which is replaced as a whole. So a run that is killed leaves what was there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from lbsf_core.errors import StoreError
from lbsf_core.files import atomic_write, code_hash, dump_json, read_json
from lbsf_core.fold.batch import Floats, FoldedBatch, Ints, expand
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.lbsf import LBSF, States
from lbsf_core.score.live import check_by_merchant
from lbsf_core.score.scorer import BATCH_PAYMENTS

INDEX, MANIFEST = "index.parquet", "manifest.json"
#: Arrays of `States`, and how their numbers are stored.
ARRAYS = {"vectors": np.float32, "sums": np.float64, "days": np.float32}
_KEY = b"lbsf-states"
#: Rows on the disk for each that is in use, above which all are made anew.
MOST_DEAD = 3.0

Progress = Callable[[int, int], None]


@dataclass
class SegmentStates:
    """The states of a store's segments for one bundle.

    Attributes:
        path: their folder.
        widths: array -> numbers in a row.
        starts, counts: (samples,) block of each sample.
        logits: (samples,).
        store: digest of the store as it was when they were last written.
    """

    path: Path
    widths: dict[str, int]
    starts: Ints
    counts: Ints
    logits: Floats
    store: str

    @classmethod
    def open(cls, path: str | Path, store: FoldedStore, bundle: Bundle) -> SegmentStates | None:
        """The states in a folder, if they are this store's and this bundle's; else None."""
        path = Path(path)
        if not (path / MANIFEST).is_file() or not (path / INDEX).is_file():
            return None
        about = read_json(path / MANIFEST)
        index = pq.read_table(path / INDEX)
        known = json.loads((index.schema.metadata or {}).get(_KEY, b"{}"))
        if about.get("made") != _made_by(bundle) or known.get("store") != store.digest:
            return None
        starts, counts, logits = (
            index[name].to_numpy().copy() for name in ("start", "count", "logit")
        )
        if counts.sum() * MOST_DEAD < known["rows"]:
            return None
        return cls(path, about["widths"], starts, counts, logits, known["store"])

    @classmethod
    def make(
        cls,
        path: str | Path,
        store: FoldedStore,
        bundle: Bundle,
        progress: Progress | None = None,
    ) -> SegmentStates:
        """Encode every segment of a store and write the states (atomically).

        Args:
            path: folder; an earlier one is replaced.
            store: the samples.
            bundle: the model.
            progress: called with (payments done, payments in all).

        Raises:
            LbsfError: the model's merchants depend on each other (`ModelConfig.user_gap`).
        """
        path, model = Path(path), bundle.model.eval()
        check_by_merchant(model)
        size = len(store.samples)
        starts, counts, logits = np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size)
        total, done, rows = int(store.samples["payments"].sum()), 0, 0
        widths = dict.fromkeys(ARRAYS, 0)
        with atomic_write(path) as folder:
            folder.mkdir()
            for batch in store.batches(BATCH_PAYMENTS):
                states, found = encode(model, batch)
                widths = _add(folder, states)
                starts[batch.samples] = rows + batch.user_offsets[:-1]
                counts[batch.samples], logits[batch.samples] = batch.segment_counts, found
                rows, done = rows + len(states), done + len(batch.amounts)
                if progress:
                    progress(done, total)
            about = {"made": _made_by(bundle), "widths": widths}
            (folder / MANIFEST).write_text(dump_json(about), encoding="utf-8")
            made = cls(folder, widths, starts, counts, logits, store.digest)
            made._write_index(rows)
        made.path = path
        return made

    def read(self, samples: Ints) -> States:
        """The states of some samples, block after block."""
        rows = expand(self.starts[samples], self.counts[samples])
        return States(**{name: torch.from_numpy(self._rows(name, rows)) for name in ARRAYS})

    def replace(
        self, samples: Ints, counts: Ints, states: States, logits: Floats, store: FoldedStore
    ) -> None:
        """Give some samples new states, in blocks one after another.

        Args:
            samples: their numbers.
            counts: segments of each.
            states: of their segments.
            logits: of the samples.
            store: as it is now.
        """
        rows = self._cut()
        _add(self.path, states)
        self.starts[samples] = rows + np.cumsum(counts) - counts
        self.counts[samples], self.logits[samples] = counts, logits
        self.store = store.digest
        self._write_index(rows + len(states))

    def _rows(self, name: str, rows: Ints) -> npt.NDArray[np.generic]:
        width, kind = self.widths[name], np.dtype(ARRAYS[name])
        file = self.path / f"{name}.bin"
        whole = file.stat().st_size // max(1, width * kind.itemsize)
        if not width or not whole:
            return np.zeros((len(rows), width), dtype=kind)
        return np.memmap(file, dtype=kind, mode="r", shape=(whole, width))[rows]

    def _cut(self) -> int:
        """Rows that the index knows; what a killed run left behind them is cut off."""
        known = json.loads((pq.read_schema(self.path / INDEX).metadata or {})[_KEY])
        rows = int(known["rows"])
        for name, kind in ARRAYS.items():
            size = rows * self.widths[name] * np.dtype(kind).itemsize
            file = self.path / f"{name}.bin"
            if file.stat().st_size < size:
                raise StoreError(f"{file}: is shorter than its index says. Delete {self.path}.")
            os.truncate(file, size)
        return rows

    def _write_index(self, rows: int) -> None:
        columns = {"start": self.starts, "count": self.counts, "logit": self.logits}
        about = {_KEY: json.dumps({"rows": rows, "store": self.store})}
        with atomic_write(self.path / INDEX) as target:
            pq.write_table(pa.table(columns).replace_schema_metadata(about), target)


def encode(model: LBSF, batch: FoldedBatch) -> tuple[States, Floats]:
    """States of the S segments of a batch, and the (B,) logits that they give."""
    with torch.inference_mode():
        states = model.segment_states(batch)
    return states, logits_of(model, states, batch.user_offsets)


def logits_of(model: LBSF, states: States, user_offsets: Ints) -> Floats:
    """(B,) logits of samples from the states of their segments, sample after sample."""
    device = model.device
    with torch.inference_mode():
        offsets = torch.from_numpy(user_offsets).to(device)
        sample = torch.repeat_interleave(
            torch.arange(len(user_offsets) - 1, device=device), offsets.diff()
        )
        sums = states.sums.to(device)
        totals = sums.new_zeros(len(user_offsets) - 1, sums.shape[1]).index_add_(0, sample, sums)
        logits = model.logits_of_segments(
            states.vectors.to(device), states.days.to(device), offsets, totals
        )
    found: Floats = logits.cpu().double().numpy()
    return found


def _made_by(bundle: Bundle) -> dict[str, str]:
    return {"bundle": bundle.weights_digest(), "code": code_hash()}


def _add(folder: Path, states: States) -> dict[str, int]:
    """Write rows behind those that are there; gives the width of a row of each array."""
    widths = {}
    for name, kind in ARRAYS.items():
        array = getattr(states, name).cpu().numpy().astype(kind)
        widths[name] = array.shape[1]
        with (folder / f"{name}.bin").open("ab") as file:
            file.write(array.tobytes())
            file.flush()
            os.fsync(file.fileno())
    return widths


def joined(parts: Sequence[States], order: Ints) -> States:
    """Rows of several states, counted through, in another order."""
    whole = States.concat(parts)
    taken = torch.from_numpy(order)
    return States(*(getattr(whole, name)[taken] for name in ARRAYS))
