"""Fold: group each sample's payments by merchant, some users at a time.

    payments.parquet + labels.parquet -> STORE/payments.parquet   one row a kept payment
                                         STORE/samples.parquet    one row a sample
                                         STORE/manifest.json

Payments as `lbsf ingest` writes them lie by user. So some users at a time are read (`source.py`)
and grouped (`group.py`) while those before are written, and memory does not grow with the file.
A file that does not lie by user is sorted first, by DuckDB, out of core. The tests hold this fold
against the same one written as one SQL statement.
"""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from lbsf_core.config import FoldConfig
from lbsf_core.errors import IngestError, LbsfError, StoreError
from lbsf_core.files import atomic_write, code_hash, dump_json, link, sha256
from lbsf_core.fold.batch import DAY, Floats, Ints
from lbsf_core.fold.group import Grouped, group_payments
from lbsf_core.fold.source import (
    TIME,
    Runs,
    Samples,
    Source,
    codes_in_order,
    find_runs,
    read_samples,
    sort_by_user,
    tie_keys,
)
from lbsf_core.fold.store import (
    ADDED,
    MANIFEST,
    PAYMENTS,
    SAMPLES,
    STORE_VERSION,
    FoldedStore,
    StoreManifest,
)
from lbsf_core.fold.writer import ROW_GROUP, PaymentsWriter
from lbsf_core.payments.schema import Field, PaymentsMetadata, read_metadata

#: Payments that are grouped at a time (a user with more is grouped whole).
PART = 1_000_000
#: Payments of a file of the store. A fold of more is kept file by file, and goes on after a kill.
BUCKET = 100_000_000

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class FoldSummary:
    """What a fold kept and dropped."""

    samples: int
    payments: int
    segments: int
    empty_samples: int
    dropped_payments: int
    dropped_merchants: int
    dropped_amount: float

    def rows(self) -> list[tuple[str, str]]:
        """Label and figure, for a table."""
        return [
            ("samples", f"{self.samples:,}"),
            ("samples without a payment", f"{self.empty_samples:,}"),
            ("payments kept", f"{self.payments:,}"),
            ("segments", f"{self.segments:,}"),
            ("payments dropped by the caps", f"{self.dropped_payments:,}"),
            ("merchants dropped by the caps", f"{self.dropped_merchants:,}"),
            ("absolute amount dropped by the caps", f"{self.dropped_amount:,.2f}"),
        ]


def fold(
    payments: str | Path,
    labels: str | Path,
    out: str | Path,
    config: FoldConfig | None = None,
    *,
    memory_limit: str | None = None,
    spill: str | Path | None = None,
    progress: Progress | None = None,
) -> FoldSummary:
    """Fold payments at the cutoffs of the labels into a store (written atomically).

    Segment order: most recent payment first, ties by merchant. Inside a segment: by time, ties by
    amount, description and the extra fields, so that the order of the input never matters.

    Args:
        payments: `payments.parquet` (see `lbsf_core.payments.schema`).
        labels: `labels.parquet`: user_id, cutoff, label (may be null: score only).
        out: folder of the new store; an existing one is replaced.
        config: window and caps; by default all history and no caps.
        memory_limit: e.g. "2GB", for the sort of a file that does not lie by user; beyond it
            DuckDB spills to a temporary folder.
        spill: where that folder lies; by default where the system has its temporary files.
        progress: called with (payments done, payments in all).

    A fold of more than `BUCKET` payments that was killed goes on when it is called again with the
    same files and settings: finished buckets of users are kept in a hidden folder beside `out`.

    Raises:
        IngestError: a file is missing, unreadable, or lacks a column.
        StoreError: a sample stands twice in the labels, or the disk is full.
    """
    config = config or FoldConfig()
    payments, labels, out = Path(payments), Path(labels), Path(out)
    about, about_labels = read_metadata(payments), read_metadata(labels)
    work: Path | None = None  # of a fold that is large enough to be kept as it goes
    with (
        atomic_write(out) as folder,
        tempfile.TemporaryDirectory(prefix="lbsf-fold-", dir=spill) as sorting,
        ThreadPoolExecutor(max_workers=os.cpu_count()) as pool,
    ):
        folder.mkdir()
        hashes = [pool.submit(sha256, path) for path in (payments, labels)]
        try:
            samples = read_samples(labels)
            source = Source(payments, about.extra_fields)
            runs = find_runs(source.open(), samples.users)
            if runs is None:
                ordered = Path(sorting) / "by_user.parquet"
                sort_by_user(payments, labels, about.extra_fields, ordered, memory_limit)
                source = Source(ordered, about.extra_fields)
                runs = find_runs(source.open(), samples.users)
                assert runs is not None  # noqa: S101 - sorted a line before
            per_user = np.bincount(samples.user, minlength=len(samples.users))
            buckets = list(runs.parts(per_user[runs.user], BUCKET)) or [(0, 0)]
            if len(buckets) > 1:
                work = _working_folder(out, (payments, labels), config)
            files, counted = _fold_buckets(
                source, samples, runs, buckets, config, work or folder, pool, progress
            )
            for number, file in enumerate(files):
                name = ADDED.format(number) if number else PAYMENTS
                if work is None:
                    file.rename(folder / name)
                else:  # what is kept stays until the store is there, should a kill come first
                    link(file, folder / name)
        except (duckdb.Error, pa.ArrowException, LbsfError, KeyError, OSError) as error:
            if isinstance(error, StoreError):
                raise
            reason = str(error).splitlines()[0]
            # Writing, not reading, failed: Arrow's error for damaged bytes has no number.
            written = isinstance(error, LbsfError) and not isinstance(error, IngestError)
            if written or getattr(error, "errno", None) or sorting in reason:
                raise StoreError(
                    f"{out}: can't be written ({reason}); what was there before is untouched. "
                    "Free some space or choose another folder, then run the command again."
                ) from error
            raise IngestError(
                f"{payments} with {labels}: can't be folded ({reason}). "
                "Make both with `lbsf ingest` and `lbsf ingest-labels`."
            ) from error
        names = [ADDED.format(number) if number else PAYMENTS for number in range(len(files))]
        finish_store(
            folder,
            samples_table(samples, counted, config),
            config,
            (about, about_labels),
            sources={
                path.name: found.result()
                for path, found in zip((payments, labels), hashes, strict=True)
            },
            files={name: sha256(folder / name) for name in names},
        )
    if work is not None:
        shutil.rmtree(work, ignore_errors=True)
    return summary_of(FoldedStore.open(out, verify=False))


def finish_store(
    folder: Path,
    samples: pa.Table,
    config: FoldConfig,
    about: tuple[PaymentsMetadata, PaymentsMetadata],
    *,
    sources: dict[str, str],
    files: dict[str, str],
) -> None:
    """Write the samples table and the manifest of a store whose payments lie in its folder.

    Args:
        folder: of the store.
        samples: of `samples_table`.
        config: window and caps.
        about: what the payments and the labels say of themselves.
        sources: name -> SHA-256 of what was folded.
        files: name -> SHA-256 of the store's files of payments.
    """
    pq.write_table(
        samples,
        folder / SAMPLES,
        compression="zstd",
        compression_level=1,
        row_group_size=ROW_GROUP,
        store_schema=False,
    )
    payments, labels = about
    manifest = StoreManifest(
        store_version=STORE_VERSION,
        fold=config.to_dict(),
        extra_fields=payments.extra_fields,
        currency=payments.currency,
        timezone=payments.timezone,
        simulated=payments.simulated,
        label=labels.label,
        proxy=labels.proxy,
        sources=sources,
        files=files | {SAMPLES: sha256(folder / SAMPLES)},
    )
    (folder / MANIFEST).write_text(dump_json(manifest.to_dict()), encoding="utf-8")


@dataclass(frozen=True)
class Part:
    """Some users' folded payments, and what is known of each of their samples."""

    table: pa.Table
    first: int  # number of the first sample
    read: int  # payments that were looked at
    counts: dict[str, npt.NDArray[np.generic]]


Counted = dict[str, npt.NDArray[np.generic]]


def _working_folder(out: Path, inputs: Sequence[Path], config: FoldConfig) -> Path:
    """Where finished buckets are kept: named by all that they depend on; others' are removed."""
    stats = [
        (str(path.absolute()), about.st_size, about.st_mtime_ns)
        for path, about in ((path, path.stat()) for path in inputs)
    ]
    facts = {"inputs": stats, "config": config.to_dict(), "code": code_hash(), "bucket": BUCKET}
    key = hashlib.sha256(dump_json(facts).encode()).hexdigest()[:16]
    work = out.with_name(f".{out.name}.{key}.folding")
    for other in out.parent.glob(f".{glob.escape(out.name)}.*.folding"):
        if other != work:
            shutil.rmtree(other, ignore_errors=True)
    work.mkdir(exist_ok=True)
    return work


def _fold_buckets(
    source: Source,
    samples: Samples,
    runs: Runs,
    buckets: Sequence[tuple[int, int]],
    config: FoldConfig,
    work: Path,
    pool: ThreadPoolExecutor,
    progress: Progress | None,
) -> tuple[list[Path], Counted]:
    """Fold all runs, a file of `work` a bucket; of several, those that are there stay.

    Returns:
        The files, and the columns of the samples table that are counted.
    """
    counted: Counted = {n: np.zeros(len(samples.user), kind) for n, kind in COUNTED.items()}
    counted["row_start"] = np.zeros(len(samples.user), dtype=np.int64)
    counted["file"] = np.zeros(len(samples.user), dtype=np.int16)
    files, done, total = [], 0, int((runs.stop - runs.start).sum())
    for number, (begin, end) in enumerate(buckets):
        some = Runs(runs.user[begin:end], runs.start[begin:end], runs.stop[begin:end])
        file = work / f"{number:06d}.parquet"
        told = partial(_told, progress, done, total)
        if len(buckets) == 1:
            counted |= _fold_parts(source, samples, some, config, file, pool, told)
            own = counted["payments"].astype(np.int64)
            counted["row_start"] = np.cumsum(own) - own
            return [file], {name: counted[name] for name in counted if name != "file"}
        low = int(np.searchsorted(samples.user, some.user[0], side="left"))
        high = int(np.searchsorted(samples.user, some.user[-1], side="right"))
        known = file.with_suffix(".npz")
        if not (known.is_file() and file.is_file()):
            with atomic_write(file) as target:
                found = _fold_parts(source, samples, some, config, target, pool, told)
            columns: dict[str, Any] = {name: found[name][low:high] for name in COUNTED}
            with atomic_write(known) as target, target.open("wb") as stream:
                np.savez(stream, **columns)
        with np.load(known) as kept:
            for name in COUNTED:
                counted[name][low:high] = kept[name]
        own = counted["payments"][low:high].astype(np.int64)
        counted["row_start"][low:high] = np.cumsum(own) - own
        counted["file"][low:high] = number
        files.append(file)
        done += int((some.stop - some.start).sum())
        told(int((some.stop - some.start).sum()))
    return files, counted


def _told(progress: Progress | None, before: int, total: int, rows: int) -> None:
    if progress:
        progress(before + rows, total)


def _fold_parts(
    source: Source,
    samples: Samples,
    runs: Runs,
    config: FoldConfig,
    target: Path,
    pool: ThreadPoolExecutor,
    told: Callable[[int], None],
) -> Counted:
    """Fold some runs into `target`; gives the counted columns, and tells of payments read."""
    size = len(samples.user)
    counted: Counted = {name: np.zeros(size, dtype) for name, dtype in COUNTED.items()}
    done = 0
    with PaymentsWriter(target, source.extra, ROW_GROUP) as writer:
        for part in _ahead(pool, source, samples, runs, config):
            for name, values in part.counts.items():
                counted[name][part.first : part.first + len(values)] = values
            writer.add(part.table)
            done += part.read
            told(done)
    return counted


#: Columns of the samples table that the fold counts.
COUNTED = {
    "payments": np.int64,
    "segments": np.int64,
    "money_in": np.float64,
    "money_out": np.float64,
    "first_payment": np.int64,  # microseconds UTC; meaningless without a payment
    "last_payment": np.int64,
    "dropped_payments": np.int64,
    "dropped_merchants": np.int64,
    "dropped_amount": np.float64,
}


def _ahead(
    pool: ThreadPoolExecutor, source: Source, samples: Samples, runs: Runs, config: FoldConfig
) -> Iterator[Part]:
    """The parts in order, folded by threads while the caller writes those before."""
    per_user = np.bincount(samples.user, minlength=len(samples.users))
    waiting: deque[Future[Part]] = deque()
    for begin, end in runs.parts(per_user[runs.user], PART):
        if len(waiting) >= (os.cpu_count() or 1):
            yield waiting.popleft().result()
        some = Runs(runs.user[begin:end], runs.start[begin:end], runs.stop[begin:end])
        waiting.append(pool.submit(fold_part, source, samples, some, config))
    while waiting:
        yield waiting.popleft().result()


def fold_part(source: Source, samples: Samples, runs: Runs, config: FoldConfig) -> Part:
    """Read and fold the rows of neighbouring runs."""
    start, stop = int(runs.start[0]), int(runs.stop[-1])
    columns = source.read(start, stop)
    # Rows of users that no sample asks for may lie between: their user is -1 and drops out.
    lengths = runs.stop - runs.start
    user = np.repeat(np.arange(len(runs.user)), lengths)
    if len(user) < stop - start:
        rows = np.repeat(runs.start - start - (np.cumsum(lengths) - lengths), lengths)
        taken = pa.array(rows + np.arange(len(rows)))
        columns = {name: column.take(taken) for name, column in columns.items()}
    return fold_columns(columns, user, runs.user, samples, config, source.extra)


def fold_columns(
    columns: dict[str, pa.Array],
    user: Ints,
    users: Ints,
    samples: Samples,
    config: FoldConfig,
    extra: tuple[Field, ...],
) -> Part:
    """Fold the payments of some neighbouring users.

    Args:
        columns: merchant, description, timestamp, amount and the extra fields, N rows each, by
            user; as `Source.read` gives them.
        user: (N,) whose row it is: place in `users`, never falling.
        users: numbers of the users in `samples`, ascending.
        samples: theirs, and maybe others'.
        config: window and caps.
        extra: fields beside the core ones.
    """
    time = columns["timestamp"].cast(pa.int64()).fill_null(np.iinfo(np.int64).max).to_numpy()
    amount = columns["amount"].to_numpy(zero_copy_only=False)
    merchant, merchants = codes_in_order(columns["merchant"])
    low = int(np.searchsorted(samples.user, users[0], side="left"))
    high = int(np.searchsorted(samples.user, users[-1], side="right"))
    owner = samples.user[low:high]
    # Samples in between whose user has no payment in the file see no row.
    local = np.searchsorted(users, owner)
    present = users[np.minimum(local, len(users) - 1)] == owner
    numbers = np.flatnonzero(present)
    ties = ["amount", "description", *(field.name for field in extra)]
    found = group_payments(
        user,
        time,
        merchant,
        amount,
        sample_user=local[present],
        cutoff=samples.cutoff[low:high][present],
        config=config,
        tie_keys=lambda rows: tie_keys([columns[name] for name in ties], rows),
    )
    sample = numbers[found.sample] + low
    taken = pa.array(found.rows)
    out = {
        "sample": pa.array(sample.astype(np.int32)),
        "segment": pa.array(found.segment.astype(np.int32)),
        "merchant": pa.DictionaryArray.from_arrays(
            pa.array(merchant[found.rows].astype(np.int32)), merchants
        ),
    }
    for name, column in columns.items():
        if name != "merchant":
            out[name] = column.take(taken)
    counts = _counts(found, time, amount, numbers, high - low)
    return Part(pa.table(out), low, len(time), counts)


def _counts(
    found: Grouped, time: Ints, amount: Floats, numbers: Ints, size: int
) -> dict[str, npt.NDArray[np.generic]]:
    """What is counted for each of `size` samples; `numbers` says which of them were grouped."""
    counts = {name: np.zeros(size, dtype) for name, dtype in COUNTED.items()}
    sample = numbers[found.sample]
    money, when = amount[found.rows], time[found.rows]
    counts["payments"] = np.bincount(sample, minlength=size)
    if len(sample):
        starts = np.flatnonzero(np.append(True, sample[1:] != sample[:-1]))
        of = sample[starts]
        counts["segments"][of] = found.segment[np.append(starts[1:], len(sample)) - 1] + 1
        for name, ufunc, values in (
            ("money_in", np.add, np.maximum(money, 0)),
            ("money_out", np.add, np.maximum(-money, 0)),
            ("first_payment", np.minimum, when),
            ("last_payment", np.maximum, when),
        ):
            counts[name][of] = ufunc.reduceat(values, starts)
    counts["dropped_payments"][numbers] = found.dropped_payments
    counts["dropped_merchants"][numbers] = found.dropped_merchants
    counts["dropped_amount"][numbers] = found.dropped_amount
    return counts


def samples_table(
    samples: Samples, counted: dict[str, npt.NDArray[np.generic]], config: FoldConfig
) -> pa.Table:
    """The samples table of the store."""
    size = len(samples.user)
    empty = counted["payments"] == 0
    window = np.zeros(size, dtype=np.int64)
    if config.window_days:
        window = samples.cutoff - config.window_days * DAY

    def times(values: npt.NDArray[np.generic], missing: npt.NDArray[np.bool_]) -> pa.Array:
        return pa.array(values, mask=missing).cast(TIME)

    payments = counted["payments"].astype(np.int64)
    before = counted.get("row_start", np.cumsum(payments) - payments)
    table = pa.table(
        {
            "sample": pa.array(np.arange(size, dtype=np.int32)),
            "user_id": samples.table["user_id"],
            "cutoff": samples.table["cutoff"],
            "label": samples.table["label"],
            "window_start": times(window, np.full(size, not config.window_days)),
            "payments": counted["payments"],
            "segments": counted["segments"],
            "row_start": before,
            "money_in": counted["money_in"],
            "money_out": counted["money_out"],
            "first_payment": times(counted["first_payment"], empty),
            "last_payment": times(counted["last_payment"], empty),
            "dropped_payments": counted["dropped_payments"],
            "dropped_merchants": counted["dropped_merchants"],
            "dropped_amount": counted["dropped_amount"],
        }
    )
    return table.append_column("file", pa.array(counted["file"])) if "file" in counted else table


def summary_of(store: FoldedStore) -> FoldSummary:
    """What a store kept and dropped."""
    samples = store.samples
    return FoldSummary(
        samples=len(samples),
        payments=int(samples["payments"].sum()),
        segments=int(samples["segments"].sum()),
        empty_samples=int((samples["payments"] == 0).sum()),
        dropped_payments=int(samples["dropped_payments"].sum()),
        dropped_merchants=int(samples["dropped_merchants"].sum()),
        dropped_amount=float(samples["dropped_amount"].sum()),
    )
