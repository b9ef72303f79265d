"""Fold on Spark: the same fold, each task some users, each task's payments a file of the store.

Payments that lie by user, as `lbsf ingest` writes them, are not moved: a task reads its rows
itself. Others are sorted by Spark so that each task gets neighbouring users (ranges of rows, so
that a user with very many payments has a task nearly to himself); only payments of users with a
sample move.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lbsf_core.config import FoldConfig
from lbsf_core.files import atomic_write, sha256
from lbsf_core.fold.batch import Ints
from lbsf_core.fold.fold import (
    COUNTED,
    PART,
    FoldSummary,
    Part,
    finish_store,
    fold_columns,
    fold_part,
    samples_table,
    summary_of,
)
from lbsf_core.fold.source import (
    TIME,
    Runs,
    Samples,
    Source,
    column_of,
    find_runs,
    read_samples,
    samples_between,
    words,
)
from lbsf_core.fold.store import ADDED, PAYMENTS, SAMPLES, FoldedStore
from lbsf_core.fold.writer import ROW_GROUP, PaymentsWriter
from lbsf_core.payments.schema import Field, quote_identifier, read_metadata
from lbsf_core.spark import LOCAL, run_tasks, session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: Payments of a task, about: a few hundred MB in a worker.
TASK_PAYMENTS = 5_000_000
_KINDS = {np.int64: "long", np.float64: "double"}
#: What a task gives back of every sample.
_SCHEMA = ", ".join(
    ["sample int", "part int", "digest string", "row_start long"]
    + [f"{name} {_KINDS[kind]}" for name, kind in COUNTED.items()]
)


def fold_on_spark(
    payments: str | Path,
    labels: str | Path,
    out: str | Path,
    config: FoldConfig | None = None,
    *,
    master: str = LOCAL,
    task_payments: int = TASK_PAYMENTS,
) -> FoldSummary:
    """Fold payments at the cutoffs of the labels, as `fold.fold` does, on Spark.

    Args:
        payments: `payments.parquet`, where all workers see it.
        labels: `labels.parquet`.
        out: folder of the new store, where all workers can write.
        config: window and caps.
        master: of the cluster.
        task_payments: payments of a task, about.

    Returns:
        What was kept and dropped. The store has a file of payments for each task;
        `fold.append.compact` makes it one, the same bytes as the local fold's.

    Raises:
        LbsfError: Spark or Java is missing, or the work failed four times.
        IngestError, StoreError: as `fold.fold`.
    """
    config = config or FoldConfig()
    payments, labels, out = Path(payments).absolute(), Path(labels), Path(out).absolute()
    about, about_labels = read_metadata(payments), read_metadata(labels)
    samples = read_samples(labels)
    with atomic_write(out) as folder, session(master) as spark:
        folder.mkdir()
        known = samples.table.append_column("sample", pa.array(np.arange(len(samples.user))))
        pq.write_table(known, folder / SAMPLES, row_group_size=ROW_GROUP)
        todo = {
            "payments": str(payments),
            "samples": str(folder / SAMPLES),
            "folder": str(folder),
            "config": config.to_dict(),
            "extra": [asdict(field) for field in about.extra_fields],
        }
        source = Source(payments, about.extra_fields)
        runs = find_runs(source.open(), samples.users)
        if runs is None:
            rows = source.metadata.num_rows
            found = _sorted_by_spark(spark, todo, max(1, -(-rows // task_payments)))
        else:
            found = _read_by_tasks(spark, todo, runs, samples, task_payments)
        counted, files = _gathered(found, len(samples.user), folder)
        finish_store(
            folder,
            samples_table(samples, counted, config),
            config,
            (about, about_labels),
            sources={path.name: sha256(path) for path in (payments, labels)},
            files=files,
        )
    return summary_of(FoldedStore.open(out, verify=False))


def _read_by_tasks(
    spark: SparkSession, todo: dict[str, Any], runs: Runs, samples: Samples, limit: int
) -> pa.Table:
    """Each task reads the rows of its users."""
    per_user = np.bincount(samples.user, minlength=len(samples.users))
    tasks = [
        todo | {
            "part": part,
            "start": runs.start[begin:end].tolist(),
            "stop": runs.stop[begin:end].tolist(),
            "first": samples.users[int(runs.user[begin])].as_py(),
            "last": samples.users[int(runs.user[end - 1])].as_py(),
            "user": (runs.user[begin:end] - runs.user[begin]).tolist(),
        }
        for part, (begin, end) in enumerate(runs.parts(per_user[runs.user], limit))
    ]  # fmt: skip
    return run_tasks(spark, tasks, _fold_rows, _SCHEMA)


def _fold_rows(task: dict[str, Any]) -> Iterable[pa.RecordBatch]:
    """On a worker: fold the rows of neighbouring users."""
    extra = tuple(Field(**entry) for entry in task["extra"])
    config = FoldConfig.from_dict(task["config"])
    source = Source(Path(task["payments"]), extra)
    samples, base = samples_between(Path(task["samples"]), task["first"], task["last"])
    runs = Runs(*(np.array(task[name], dtype=np.int64) for name in ("user", "start", "stop")))
    per_user = np.bincount(samples.user, minlength=len(samples.users))

    def parts() -> Iterator[tuple[Part, int]]:
        for begin, end in runs.parts(per_user[runs.user], PART):
            some = Runs(runs.user[begin:end], runs.start[begin:end], runs.stop[begin:end])
            yield fold_part(source, samples, some, config), base

    yield from _written(parts(), Path(task["folder"]), task["part"], extra)


def _sorted_by_spark(spark: SparkSession, todo: dict[str, Any], parts: int) -> pa.Table:
    """Spark sorts by user; each task folds what it gets."""
    extra = [Field(**entry) for entry in todo["extra"]]
    names = ["user_id", "merchant", "description", "timestamp", "amount"]
    names += [quote_identifier(field.name).replace('"', "`") for field in extra]
    users = spark.read.parquet(todo["samples"]).select("user_id").distinct()
    rows = spark.read.parquet(todo["payments"]).select(*names).join(users, "user_id", "left_semi")
    ordered = rows.repartitionByRange(parts, "user_id").sortWithinPartitions("user_id", "timestamp")
    return ordered.mapInArrow(partial(_fold_stream, todo), _SCHEMA).toArrow()


def _fold_stream(
    todo: dict[str, Any], batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """On a worker: fold rows as they come, by user, some whole users at a time."""
    from pyspark import TaskContext

    context = TaskContext.get()
    assert context is not None  # noqa: S101 - this runs in a task
    extra = tuple(Field(**entry) for entry in todo["extra"])
    config, samples = FoldConfig.from_dict(todo["config"]), Path(todo["samples"])

    def parts() -> Iterator[tuple[Part, int]]:
        for table in _whole_users(batches):
            yield _fold_table(table, samples, config, extra)

    yield from _written(parts(), Path(todo["folder"]), context.partitionId(), extra)


def _whole_users(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The rows in tables of about `PART`, none of which ends inside a user."""
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        held.append(batch)
        size += len(batch)
        if size < PART:
            continue
        table = pa.Table.from_batches(held)
        last = table["user_id"][-1]
        own = pc.equal(table["user_id"], last).to_numpy(zero_copy_only=False)
        cut = int(np.argmax(own))
        if cut:
            yield table.slice(0, cut)
        held = table.slice(cut).to_batches()
        size = len(table) - cut
    if size:
        yield pa.Table.from_batches(held)


def _fold_table(
    table: pa.Table, path: Path, config: FoldConfig, extra: tuple[Field, ...]
) -> tuple[Part, int]:
    """Fold the rows of whole users."""
    user_id = table["user_id"].cast(pa.string()).combine_chunks()
    samples, base = samples_between(path, user_id[0].as_py(), user_id[-1].as_py())
    number = pc.index_in(user_id, value_set=samples.users).to_numpy(zero_copy_only=False)
    begins = np.append(True, number[1:] != number[:-1])
    users = number[begins].astype(np.int64)
    columns: dict[str, pa.Array] = {
        name: words(table[name].cast(pa.string())) for name in ("merchant", "description")
    }
    columns["timestamp"] = column_of(table, "timestamp", TIME).combine_chunks()
    columns["amount"] = pc.add(column_of(table, "amount", pa.float64()).combine_chunks(), 0.0)
    for field in extra:
        if field.is_string:
            columns[field.name] = words(table[field.name].cast(pa.string()))
        else:
            kind = TIME if field.sql_type == "TIMESTAMPTZ" else pa.float64()
            columns[field.name] = column_of(table, field.name, kind).combine_chunks()
    row_user = (np.cumsum(begins) - 1).astype(np.int64)
    return fold_columns(columns, row_user, users, samples, config, extra), base


def _written(
    parts: Iterator[tuple[Part, int]], folder: Path, number: int, extra: tuple[Field, ...]
) -> Iterator[pa.RecordBatch]:
    """Write a task's payments; gives what is known of its samples.

    Whoever does the task last, it writes the same bytes: a file stands under its name when it is
    whole.
    """
    temporary = folder / f".part-{number:06d}-{os.getpid()}"
    gathered, at = [], 0
    with PaymentsWriter(temporary, extra, ROW_GROUP) as writer:
        for part, base in parts:
            table = part.table
            if base:
                sample = pc.add(table["sample"], pa.scalar(base, pa.int32()))
                table = table.set_column(0, "sample", sample)
            writer.add(table)
            counts = part.counts["payments"].astype(np.int64)
            start = at + np.cumsum(counts) - counts
            at += int(counts.sum())
            gathered.append((part, base, start))
    if not at:
        temporary.unlink()
    digest = sha256(temporary) if at else ""
    if at:
        temporary.replace(folder / f"part-{number:06d}")
    for part, base, start in gathered:
        size = len(start)
        first = base + part.first
        columns: dict[str, Any] = {
            "sample": pa.array(np.arange(first, first + size, dtype=np.int32)),
            "part": pa.array(np.full(size, number, dtype=np.int32)),
            "digest": pa.array([digest] * size, pa.string()),
            "row_start": pa.array(start),
        }
        columns |= {name: pa.array(part.counts[name]) for name in COUNTED}
        yield from pa.table(columns).to_batches()


def _gathered(
    found: pa.Table, size: int, folder: Path
) -> tuple[dict[str, npt.NDArray[np.generic]], dict[str, str]]:
    """The counted columns of all samples, and name -> SHA-256 of the files of payments."""
    counted: dict[str, npt.NDArray[np.generic]] = {
        name: np.zeros(size, dtype) for name, dtype in COUNTED.items()
    }
    counted["row_start"] = np.zeros(size, dtype=np.int64)
    files: dict[str, str] = {}
    if found.num_rows:
        sample: Ints = found["sample"].to_numpy()
        part = found["part"].to_numpy()
        digests = found["digest"].to_pylist()
        wrote = {one for one, digest in zip(part.tolist(), digests, strict=True) if digest}
        number = {one: at for at, one in enumerate(sorted(wrote))}
        for one, at in number.items():
            name = PAYMENTS if at == 0 else ADDED.format(at)
            (folder / f"part-{one:06d}").rename(folder / name)
            files[name] = digests[int(np.argmax(part == one))]
        if len(files) > 1:
            counted["file"] = np.zeros(size, dtype=np.int16)
            counted["file"][sample] = [number.get(one, 0) for one in part.tolist()]
        counted["row_start"][sample] = found["row_start"].to_numpy()
        for name in COUNTED:
            counted[name][sample] = found[name].to_numpy()
    for left in folder.glob(".part-*"):  # of workers that were killed
        left.unlink()
    if not files:
        with PaymentsWriter(folder / PAYMENTS, (), ROW_GROUP):
            pass
        files[PAYMENTS] = sha256(folder / PAYMENTS)
    return counted, files
