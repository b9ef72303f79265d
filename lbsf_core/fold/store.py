"""The folded store on disk: open it, read one user, or stream batches.

STORE/payments.parquet   one row a kept payment, sorted by (sample, segment, timestamp)
STORE/added-0001.parquet the same for samples that `append.py` gave new payments, with all they
                         have; what they had before lies unread where it was
STORE/samples.parquet    one row a sample, sorted by (user, cutoff); `row_start` says where
                         its payments begin, so one user is a read of one row group; `file`
                         in which file that is, 0 = payments.parquet
STORE/manifest.json      versions, window, caps, fields, SHA-256 of the files and of the sources
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lbsf_core.config import FoldConfig
from lbsf_core.errors import LbsfError, StoreError, UnknownUserError
from lbsf_core.files import check_hashes, read_json, recover, sha256
from lbsf_core.fold.batch import FoldedBatch, Ints, Strings, expand
from lbsf_core.payments.schema import Field, FieldKind

STORE_VERSION = 1
PAYMENTS, SAMPLES, MANIFEST = "payments.parquet", "samples.parquet", "manifest.json"
ADDED = "added-{:04d}.parquet"
_AGAIN = "Make the store again with `lbsf fold`."

#: Payments that are read from disk at a time when batches are streamed.
CHUNK = 2_000_000


@dataclass(frozen=True)
class StoreManifest:
    """What a store says about itself."""

    store_version: int
    fold: dict[str, Any]
    extra_fields: tuple[Field, ...]
    currency: str
    timezone: str
    simulated: bool
    label: str
    proxy: bool
    sources: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> StoreManifest:
        """From plain JSON values."""
        fields = tuple(Field(**entry) for entry in data["extra_fields"])
        return cls(**(data | {"extra_fields": fields}))


@dataclass(frozen=True)
class FoldedStore:
    """A folded store, opened for reading. Make one with `lbsf_core.fold.fold.fold`."""

    path: Path
    manifest: StoreManifest
    #: Of a part of a store: which samples of the whole it holds.
    first: int = 0
    end: int | None = None

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = True) -> FoldedStore:
        """Open a store.

        Args:
            path: its folder.
            verify: compare every file with the SHA-256 in the manifest (reads all bytes once).

        Raises:
            StoreError: missing, damaged, or of another schema version.
        """
        path = Path(path)
        recover(path)
        if not (path / MANIFEST).is_file():
            raise StoreError(f"{path}: is no folded store (no {MANIFEST}). {_AGAIN}")
        data = read_json(path / MANIFEST)
        version = data.get("store_version") if isinstance(data, dict) else None
        if version != STORE_VERSION:
            raise StoreError(
                f"{path}: store version {version}, this lbsf reads {STORE_VERSION}. {_AGAIN}"
            )
        try:
            manifest = StoreManifest.from_dict(data)
            FoldConfig.from_dict(manifest.fold)
        except (LbsfError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"{path / MANIFEST}: does not hold together ({error}). {_AGAIN}"
            ) from error
        if not manifest.files or set(manifest.files) != {SAMPLES, *_payment_files(manifest)}:
            raise StoreError(
                f"{path}: the manifest must name {PAYMENTS}, {SAMPLES}, what was added and nothing "
                f"else; refused. {_AGAIN}"
            )
        if verify:
            check_hashes(path, manifest.files, StoreError, _AGAIN)
        return cls(path, manifest)

    @property
    def config(self) -> FoldConfig:
        """Window and caps that the store was folded with."""
        return FoldConfig.from_dict(self.manifest.fold)

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest: names the store's content."""
        return sha256(self.path / MANIFEST)

    @property
    def content(self) -> str:
        """SHA-256 over what is folded, whatever wrote it: samples, cutoffs, counts and sums."""
        money = ["money_in", "money_out"]
        frame = self.samples[["user_id", "cutoff", "payments", "segments", *money]]
        frame = frame.assign(**{name: frame[name].round(2) for name in money})
        rows = pd.util.hash_pandas_object(frame, index=False).to_numpy()
        return hashlib.sha256(rows.tobytes()).hexdigest()

    @cached_property
    def samples(self) -> pd.DataFrame:
        """One row a sample, in store order.

        Columns: sample, user_id, cutoff, label, window_start, payments, segments, row_start,
        money_in, money_out, first_payment, last_payment, dropped_payments, dropped_merchants,
        dropped_amount; and file, where payments were added since the fold.
        """
        frame: pd.DataFrame = self._about().to_pandas()
        return frame

    @cached_property
    def _places(self) -> pa.Table:
        """Whose each sample is and where its payments lie: all that reading some of them needs.

        A server over a million samples reads a few at a time; the whole rows of all would be three
        times as much.
        """
        columns = ["user_id", "cutoff", "label", "payments", "row_start"]
        file = ["file"] if len(self.payment_files) > 1 else []
        return self._about(columns + file).combine_chunks()

    def _about(self, columns: list[str] | None = None) -> pa.Table:
        """Rows of the samples; of a part, from the row groups that hold them."""
        if self.end is None:
            return pq.read_table(self.path / SAMPLES, columns=columns)
        end = int(self.end)
        with pq.ParquetFile(self.path / SAMPLES) as file:
            rows = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            starts = np.concatenate([[0], np.cumsum(rows)])
            low = max(int(np.searchsorted(starts, self.first, side="right")) - 1, 0)
            high = int(np.searchsorted(starts, end, side="left"))
            table = file.read_row_groups(list(range(low, high)), columns=columns)
        return table.slice(self.first - int(starts[low]), end - self.first)

    def parts(self, most: int) -> Iterator[FoldedStore]:
        """The store cut into parts of at most so many samples, in store order; one at least.

        A part is read as a store is, its samples numbered from 0 (`find` still gives the number in
        the whole), so that work on a store of any size holds the rows of one part only.
        """
        size = pq.read_metadata(self.path / SAMPLES).num_rows
        for first in range(0, max(size, 1), most):
            yield replace(self, first=first, end=min(first + most, size))

    @property
    def payment_files(self) -> tuple[Path, ...]:
        """Where payments lie, by the number that `file` gives."""
        return tuple(self.path / name for name in _payment_files(self.manifest))

    @cached_property
    def _files(self) -> tuple[_PaymentsFile, ...]:
        texts = ["merchant", "description"]
        texts += [f.name for f in self.manifest.extra_fields if f.is_string]
        return tuple(_PaymentsFile.open(path, texts) for path in self.payment_files)

    def find(self, user_id: str, cutoff: pd.Timestamp | None = None) -> int:
        """Number of the sample of a user: the one at `cutoff`, or the latest.

        Raises:
            UnknownUserError: the user, or that cutoff of the user, is not in the store.
        """
        table = pq.read_table(
            self.path / SAMPLES,
            columns=["sample", "cutoff"],
            filters=[("user_id", "=", user_id)],
        ).to_pandas()
        if table.empty:
            raise UnknownUserError(f"user '{user_id}' is not in {self.path}.")
        if cutoff is None:
            return int(table.sort_values("cutoff")["sample"].iloc[-1])
        match = table[table["cutoff"] == cutoff]
        if match.empty:
            known = ", ".join(str(c.date()) for c in table["cutoff"])
            raise UnknownUserError(
                f"user '{user_id}' has no sample at cutoff {cutoff}; cutoffs in the store: {known}."
            )
        return int(match["sample"].iloc[0])

    def read(self, samples: npt.ArrayLike) -> FoldedBatch:
        """The batch of these samples (numbers in the store, any order): a small read for a few."""
        numbers = np.asarray(samples, dtype=np.int64)
        unknown = numbers[(numbers < 0) | (numbers >= self._places.num_rows)]
        if len(unknown):
            raise StoreError(f"{self.path}: has no sample {unknown[0]}.")
        places = self._places.take(pa.array(numbers))
        about = places.select(["user_id", "cutoff", "label"]).to_pandas().assign(sample=numbers)
        counts = places["payments"].to_numpy()
        return make_batch(self.manifest, about, counts, self._rows(places))

    def rows(self, samples: npt.ArrayLike) -> pa.Table:
        """All payments of some samples (numbers in the store, any order), sample by sample.

        Columns: sample, segment, merchant, description, timestamp, amount and the extra fields, as
        they lie on the disk, texts as numbers of words.
        """
        numbers = np.asarray(samples, dtype=np.int64)
        return self._rows(self._places.take(pa.array(numbers)))

    def _rows(self, places: pa.Table) -> pa.Table:
        starts, counts = (places[name].to_numpy() for name in ("row_start", "payments"))
        if len(self._files) == 1:
            return self._files[0].rows(starts, counts)
        file = places["file"].to_numpy()
        used = np.unique(file)
        tables = [self._files[f].rows(starts[file == f], counts[file == f]) for f in used]
        if len(tables) < 2:
            return tables[0] if tables else self._files[0].rows(starts, counts)
        # Where each sample's rows lie in what was read, one file after another.
        order = np.argsort(file, kind="stable")
        base = np.empty(len(counts), dtype=np.int64)
        base[order] = np.cumsum(counts[order]) - counts[order]
        return pa.concat_tables(tables).take(pa.array(expand(base, counts)))

    def batches(self, max_payments: int = 32_768, chunk: int = CHUNK) -> Iterator[FoldedBatch]:
        """Every sample once, in batches of at most `max_payments` payments (one sample at least).

        Neighbouring samples are read together (`chunk` payments at a time) and handed out in
        order of their number of segments, so that a batch holds samples of like size.
        """
        counts = self._places["payments"].to_numpy()
        for begin, end in cut_by_sum(counts, chunk):
            part = self.read(np.arange(begin, end))
            order = np.argsort(part.segment_counts, kind="stable")
            for low, high in cut_by_sum(part.payment_counts[order], max_payments):
                yield part.select(order[low:high])


def make_batch(
    manifest: StoreManifest, about: pd.DataFrame, counts: Ints, table: pa.Table
) -> FoldedBatch:
    """A batch from the rows of whole samples; segment borders come from run boundaries.

    Args:
        manifest: of their store.
        about: one row a sample: sample, user_id, cutoff, label.
        counts: (B,) payments of each.
        table: their payments, one sample after another, as `FoldedStore.rows` gives them.
    """
    total = table.num_rows
    sample = np.repeat(np.arange(len(about)), counts)
    segment = table["segment"].to_numpy()
    begins = np.ones(total, dtype=bool)
    begins[1:] = (segment[1:] != segment[:-1]) | (sample[1:] != sample[:-1])
    first_rows = np.flatnonzero(begins)
    segments = np.bincount(sample[first_rows], minlength=len(about))
    merchants = _strings(table["merchant"]).take(first_rows)
    texts = {"description": _strings(table["description"])}
    numeric: dict[str, npt.NDArray[np.float64]] = {}
    for extra in manifest.extra_fields:
        if extra.is_string:
            texts[extra.name] = _strings(table[extra.name])
        elif extra.kind is FieldKind.TIMESTAMP:
            column = table[extra.name]
            values = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
            numeric[extra.name] = values.cast(pa.float64()).to_numpy()
        else:
            numeric[extra.name] = table[extra.name].cast(pa.float64()).to_numpy()
    times = table["timestamp"].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    cutoffs = pd.DatetimeIndex(about["cutoff"]).as_unit("us").asi8
    return FoldedBatch(
        samples=about["sample"].to_numpy(dtype=np.int64),
        user_ids=tuple(about["user_id"]),
        cutoffs=cutoffs,
        labels=about["label"].to_numpy(dtype=np.float64),
        user_offsets=np.concatenate([[0], np.cumsum(segments)]).astype(np.int64),
        offsets=np.append(first_rows, total).astype(np.int64),
        merchants=merchants,
        timestamps=times.to_numpy(),
        amounts=table["amount"].to_numpy(),
        texts=texts,
        numbers=numeric,
        timezone=manifest.timezone,
    )


def _payment_files(manifest: StoreManifest) -> tuple[str, ...]:
    """Names of the files with payments that a manifest should hold beside the samples."""
    return (PAYMENTS, *(ADDED.format(n) for n in range(1, len(manifest.files) - 1)))


@dataclass(frozen=True)
class _PaymentsFile:
    """One file of payments, and at which rows its row groups start.

    Two threads must not read from one reader at a time: its cache of ranges is theirs together, and
    a page of one session failed while another's was opened.
    """

    file: pq.ParquetFile
    group_starts: Ints
    reading: threading.Lock = field(default_factory=threading.Lock, compare=False, repr=False)

    @classmethod
    def open(cls, path: Path, texts: list[str]) -> _PaymentsFile:
        file = pq.ParquetFile(path, read_dictionary=texts)
        rows = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        return cls(file, np.concatenate([[0], np.cumsum(rows)]).astype(np.int64))

    def rows(self, starts: Ints, counts: Ints) -> pa.Table:
        """Rows starts[i]:starts[i] + counts[i], one run after another."""
        wanted = counts > 0
        first = np.searchsorted(self.group_starts, starts[wanted], side="right") - 1
        last = np.searchsorted(self.group_starts, (starts + counts)[wanted] - 1, side="right") - 1
        groups = np.unique(expand(first, last - first + 1))
        with self.reading:
            table = self.file.read_row_groups(groups.tolist())
        # Where each wanted row lies in what was read: rows of earlier groups not read are missing.
        widths = np.diff(self.group_starts)[groups]
        base = np.zeros(len(self.group_starts), dtype=np.int64)
        base[groups] = np.cumsum(widths) - widths
        rows = expand(starts, counts)
        group = np.searchsorted(self.group_starts, rows, side="right") - 1
        local = rows - self.group_starts[group] + base[group]
        begin = int(local[0]) if len(local) else 0
        if np.array_equal(local, np.arange(begin, begin + len(local))):
            return table.slice(begin, len(local))  # nothing is copied
        return table.take(pa.array(local))


def cut_by_sum(counts: Ints, limit: int) -> Iterator[tuple[int, int]]:
    """Cut a row of counts into runs whose sums stay within `limit` (one entry at least)."""
    begin = 0
    ends = np.cumsum(counts)
    while begin < len(counts):
        before = ends[begin - 1] if begin else 0
        end = int(np.searchsorted(ends, before + limit, side="right"))
        end = min(max(end, begin + 1), len(counts), begin + 100_000)
        yield begin, end
        begin = end


def _strings(column: pa.ChunkedArray) -> Strings:
    """A dictionary-encoded Arrow column as codes and words; null reads as an empty text."""
    array = (
        column.unify_dictionaries().combine_chunks()
        if column.num_chunks
        else pa.array([], pa.dictionary(pa.int32(), pa.string()))
    )
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], array.type)
    if not pa.types.is_dictionary(array.type):
        array = pc.dictionary_encode(array)
    codes = array.indices
    count = len(array.dictionary)
    numbers = codes.fill_null(count).to_numpy(zero_copy_only=False).astype(np.int64)
    # A row group's dictionary holds thousands of texts; one sample uses a few of them, and what
    # comes after asks for every word that it is given.
    used = np.zeros(count + 1, dtype=bool)
    used[numbers] = True
    kept = np.flatnonzero(used[:count])
    words = array.dictionary.take(pa.array(kept)).to_pylist()
    place = np.zeros(count + 1, dtype=np.int64)
    place[kept] = np.arange(len(kept))
    if used[count]:  # null
        if "" not in words:
            words.append("")
        place[count] = words.index("")
    return Strings(place[numbers], tuple(words))
