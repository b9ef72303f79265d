"""Give a folded store new payments: only the samples that see one of them are folded again.

What such a sample has, old and new, is grouped anew and written to a file of its own beside the
others; the samples table then says where its payments lie now, and what it had before lies unread
where it was. The result reads like a fold of all payments together, late and repeated ones
included. `compact` writes it as one file again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lbsf_core.errors import StoreError
from lbsf_core.files import atomic_write, dump_json, link, sha256
from lbsf_core.fold.batch import Ints, expand
from lbsf_core.fold.group import Grouped, group_payments
from lbsf_core.fold.source import TIME, Source, codes_in_order, column_of, tie_keys, words
from lbsf_core.fold.store import ADDED, MANIFEST, PAYMENTS, SAMPLES, FoldedStore, cut_by_sum
from lbsf_core.fold.writer import ROW_GROUP, PaymentsWriter
from lbsf_core.payments.schema import PaymentsMetadata, read_metadata

#: Payments, old and new, that are folded again at a time.
PART = 1_000_000
#: Columns of the samples table that are instants of its payments; a missing one, in microseconds.
_TIMES = ("first_payment", "last_payment")
_NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Appended:
    """What new payments did to a store.

    Attributes:
        payments: in the file.
        unknown: of users that the store has no sample of.
        outside: of known users, but in the window of none of their samples.
        samples: numbers of the samples that saw one, ascending.
        touched: (sample, merchant) pairs, ascending: the segments that got a payment.
    """

    payments: int
    unknown: int
    outside: int
    samples: Ints
    touched: tuple[tuple[int, str], ...]

    def rows(self) -> list[tuple[str, str]]:
        """Label and figure, for a table."""
        return [
            ("payments", f"{self.payments:,}"),
            ("of users without a sample", f"{self.unknown:,}"),
            ("outside every window", f"{self.outside:,}"),
            ("samples folded again", f"{len(self.samples):,}"),
            ("segments that changed", f"{len(self.touched):,}"),
        ]


def append(store: FoldedStore, payments: str | Path) -> tuple[FoldedStore, Appended]:
    """Add payments to a store, in place (its folder is replaced atomically).

    Args:
        store: an opened one, folded without caps.
        payments: as `lbsf ingest` writes them, by the mapping of the store's own; in any order.

    Returns:
        The store as it is now, and what was done.

    Raises:
        StoreError: the store has caps (what they dropped is gone, so that nobody can say what
            they would drop now), the file was added before, or has other fields, another currency
            or another time zone.
        IngestError: the file can't be read.
    """
    payments = Path(payments)
    digest = _check(store, read_metadata(payments), payments)
    new, about = _seen_by_samples(store, payments)
    if not len(about.samples):
        return store, about
    number = len(store.payment_files)
    name = ADDED.format(number)
    counted = _counted(store.samples)
    with atomic_write(store.path) as folder:
        folder.mkdir()
        for path in store.payment_files:
            link(path, folder / path.name)
        at = 0
        with PaymentsWriter(folder / name, store.manifest.extra_fields, ROW_GROUP) as writer:
            for some, table in _folded(store, new, about.samples):
                writer.add(table)
                _count(counted, some, table, at)
                at += len(table)
        counted["file"][about.samples] = number
        _write_samples(store.samples, counted, folder / SAMPLES)
        files = {path.name: store.manifest.files[path.name] for path in store.payment_files}
        files |= {each: sha256(folder / each) for each in (name, SAMPLES)}
        sources = store.manifest.sources | {f"{digest[:12]} {payments.name}": digest}
        manifest = replace(store.manifest, files=files, sources=sources)
        (folder / MANIFEST).write_text(dump_json(manifest.to_dict()), encoding="utf-8")
    return FoldedStore.open(store.path, verify=False), about


def compact(store: FoldedStore, out: str | Path) -> FoldedStore:
    """Write a store with added payments as one that was folded at once (atomically)."""
    out = Path(out)
    samples = store.samples.drop(columns="file", errors="ignore")
    counts = samples["payments"].to_numpy()
    with atomic_write(out) as folder:
        folder.mkdir()
        with PaymentsWriter(folder / PAYMENTS, store.manifest.extra_fields, ROW_GROUP) as writer:
            for begin, end in cut_by_sum(counts, PART):
                table = store.rows(np.arange(begin, end))
                if len(table):
                    writer.add(_as_words(table))
        _write_samples(samples, {"row_start": np.cumsum(counts) - counts}, folder / SAMPLES)
        files = {name: sha256(folder / name) for name in (PAYMENTS, SAMPLES)}
        manifest = replace(store.manifest, files=files)
        (folder / MANIFEST).write_text(dump_json(manifest.to_dict()), encoding="utf-8")
    return FoldedStore.open(out, verify=False)


def _check(store: FoldedStore, about: PaymentsMetadata, payments: Path) -> str:
    """The file's SHA-256, if its payments may be added."""
    config, known = store.config, store.manifest
    if config.max_merchants or config.max_payments:
        raise StoreError(
            f"{store.path}: was folded with caps, and what they dropped is gone; fold all payments "
            "again with `lbsf fold`."
        )
    for what, ours, theirs in (
        ("extra fields", known.extra_fields, about.extra_fields),
        ("currency", known.currency, about.currency),
        ("time zone", known.timezone, about.timezone),
    ):
        if ours != theirs:
            raise StoreError(
                f"{payments}: its {what} differ from the store's ({theirs} instead of {ours}). "
                "Ingest it by the mapping of the store's payments."
            )
    digest = sha256(payments)
    if digest in known.sources.values():
        raise StoreError(
            f"{payments}: its payments are in {store.path} already. If they happened twice, they "
            "come with other payments in another file."
        )
    return digest


def _seen_by_samples(store: FoldedStore, payments: Path) -> tuple[pa.Table, Appended]:
    """The new payments by the sample that sees them (a row may stand in several), ascending."""
    source = Source(payments, store.manifest.extra_fields)
    columns = source.read(0, source.metadata.num_rows) if source.metadata.num_rows else {}
    total = source.metadata.num_rows
    if not total:
        nothing = np.zeros(0, dtype=np.int64)
        return pa.table({"sample": nothing}), Appended(0, 0, 0, nothing, ())
    raw = pq.read_table(payments, columns=["user_id"])
    user = column_of(raw, "user_id", pa.string()).combine_chunks()
    samples = store.samples
    users = pa.array(samples["user_id"], pa.string())
    # Samples lie by user: each user's are neighbours.
    first = np.flatnonzero(~(samples["user_id"] == samples["user_id"].shift()).to_numpy())
    places = np.append(first, len(samples))
    who = pc.index_in(user, value_set=users.take(pa.array(first)))
    who = who.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    known = np.flatnonzero(who >= 0)
    counts = places[who[known] + 1] - places[who[known]]
    rows, sample = np.repeat(known, counts), expand(places[who[known]], counts)
    time = columns["timestamp"].cast(pa.int64()).fill_null(np.iinfo(np.int64).max).to_numpy()
    cutoff, start = (_microseconds(samples[name]) for name in ("cutoff", "window_start"))
    has_merchant = columns["merchant"].is_valid().to_numpy(zero_copy_only=False)
    seen = (time[rows] < cutoff[sample]) & (time[rows] >= start[sample]) & has_merchant[rows]
    inside = np.unique(rows[seen])
    rows, sample = rows[seen], sample[seen]
    order = np.argsort(sample, kind="stable")
    rows, sample = rows[order], sample[order]
    taken = pa.array(rows)
    table = pa.table({"sample": pa.array(sample)} | {n: c.take(taken) for n, c in columns.items()})
    merchants = table["merchant"].cast(pa.string()).to_pylist()
    touched = sorted(set(zip(sample.tolist(), merchants, strict=True)))
    about = Appended(
        payments=total,
        unknown=total - len(known),
        outside=len(known) - len(inside),
        samples=np.unique(sample),
        touched=tuple(touched),
    )
    return table, about


def _folded(store: FoldedStore, new: pa.Table, affected: Ints) -> Iterator[tuple[Ints, pa.Table]]:
    """Some samples at a time, and all their payments as they are to lie in the file."""
    owner = new["sample"].to_numpy()
    before = store.samples["payments"].to_numpy()[affected]
    low = np.searchsorted(owner, affected, side="left")
    high = np.searchsorted(owner, affected, side="right")
    for begin, end in cut_by_sum(before + high - low, PART):
        some = affected[begin:end]
        own = new.slice(int(low[begin]), int(high[end - 1] - low[begin]))
        old = store.rows(some).drop_columns(["sample", "segment"])
        place = np.concatenate(
            [np.repeat(np.arange(len(some)), before[begin:end]),
             np.searchsorted(some, own["sample"].to_numpy())]
        )  # fmt: skip
        both = _joined(old, own)
        order = pa.array(np.argsort(place, kind="stable"))
        columns = {name: column.take(order) for name, column in both.items()}
        yield some, _grouped(store, some, np.sort(place), columns)


def _joined(old: pa.Table, new: pa.Table) -> dict[str, pa.Array]:
    """Old rows, then new ones, each column as one array."""
    found = {}
    for name in old.column_names:
        kind = TIME if pa.types.is_timestamp(old[name].type) else None
        sides = [side[name].cast(kind) if kind else side[name] for side in (old, new)]
        if pa.types.is_dictionary(sides[0].type):
            found[name] = words(pa.chunked_array([*sides[0].chunks, *sides[1].chunks]))
        else:
            found[name] = pa.concat_arrays([*sides[0].chunks, *sides[1].chunks])
    return found


def _grouped(
    store: FoldedStore, some: Ints, place: Ints, columns: Mapping[str, pa.Array]
) -> pa.Table:
    """Fold these samples' payments; each sample is a payer of its own, its window already cut."""
    about = store.samples.iloc[some]
    merchant, merchants = codes_in_order(columns["merchant"])
    ties = ["amount", "description", *(field.name for field in store.manifest.extra_fields)]
    amount = columns["amount"].to_numpy(zero_copy_only=False)
    found: Grouped = group_payments(
        place,
        columns["timestamp"].cast(pa.int64()).to_numpy(zero_copy_only=False),
        merchant,
        amount,
        sample_user=np.arange(len(some)),
        cutoff=_microseconds(about["cutoff"]),
        config=store.config,
        tie_keys=lambda rows: tie_keys([columns[name] for name in ties], rows),
    )
    taken = pa.array(found.rows)
    out: dict[str, Any] = {
        "sample": pa.array(some[found.sample].astype(np.int32)),
        "segment": pa.array(found.segment.astype(np.int32)),
        "merchant": pa.DictionaryArray.from_arrays(
            pa.array(merchant[found.rows].astype(np.int32)), merchants
        ),
    }
    out |= {name: column.take(taken) for name, column in columns.items() if name != "merchant"}
    return pa.table(out)


def _counted(samples: pd.DataFrame) -> dict[str, npt.NDArray[Any]]:
    """What the samples table counts of payments, to be changed; times in microseconds UTC."""
    names = ("payments", "segments", "row_start", "money_in", "money_out")
    found: dict[str, npt.NDArray[Any]] = {name: samples[name].to_numpy(copy=True) for name in names}
    found |= {name: _microseconds(samples[name]) for name in _TIMES}
    file = np.zeros(len(samples), dtype=np.int16)
    return found | {"file": samples["file"].to_numpy(copy=True) if "file" in samples else file}


def _count(counted: dict[str, npt.NDArray[Any]], some: Ints, table: pa.Table, at: int) -> None:
    """What some samples hold now, whose rows begin at `at` in their file; each holds one."""
    place = np.searchsorted(some, table["sample"].to_numpy())
    amount, time = table["amount"].to_numpy(), table["timestamp"].cast(pa.int64()).to_numpy()
    sizes = np.bincount(place, minlength=len(some))
    starts = np.cumsum(sizes) - sizes
    counted["payments"][some], counted["row_start"][some] = sizes, starts + at
    counted["segments"][some] = table["segment"].to_numpy()[starts + sizes - 1] + 1
    counted["money_in"][some] = np.bincount(place, np.maximum(amount, 0))
    counted["money_out"][some] = np.bincount(place, np.maximum(-amount, 0))
    for name, ufunc in zip(_TIMES, (np.minimum, np.maximum), strict=True):
        counted[name][some] = ufunc.reduceat(time, starts)


def _as_words(table: pa.Table) -> pa.Table:
    """The same rows, each text column as one dictionary array."""
    columns = {
        name: words(table[name])
        if pa.types.is_dictionary(table[name].type)
        else table[name].combine_chunks()
        for name in table.column_names
    }
    return pa.table(columns)


def _write_samples(
    samples: pd.DataFrame, changed: Mapping[str, npt.NDArray[Any]], path: Path
) -> None:
    table = pa.Table.from_pandas(samples, preserve_index=False).replace_schema_metadata(None)
    for name, values in changed.items():
        column = pa.array(values)
        if name in _TIMES:
            column = pa.array(values, mask=values == _NEVER).cast(TIME)
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, column)
        else:
            table = table.append_column(name, column)
    pq.write_table(
        table, path, compression="zstd", compression_level=1, row_group_size=ROW_GROUP,
        store_schema=False,
    )  # fmt: skip


def _microseconds(column: pd.Series) -> Ints:
    """Instants as microseconds UTC; a missing one is before all others."""
    values = pd.DatetimeIndex(column).as_unit("us")
    return np.where(values.isna(), _NEVER, values.asi8).astype(np.int64)
