"""Attributions of each sample by merchant, and added up by kind of merchant, field and time: what
cohorts compare.

What `lbsf explain-all` keeps has a row a merchant, thirty of a sample; added up once when the
workspace is built, a cohort reads a few numbers of each sample. The file is read in pieces, and
only the columns that are asked for.

    sample     int32, in order
    paid       whether the sample has a payment
    kind       list of places in the names of kinds (in the schema's metadata), ascending
    of_kind    list of what the merchants of each add, logit units
    merchant   list of places in the names of merchants (there too), in the order of segments
    of_merchant   list of what each adds
    field:<name>, time:<days>   the same by field and by days before the cutoff; null where the
                                sample paid nothing in those days
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lbsf_core.cores import cores
from lbsf_core.explain.attributions import BANDS, open_attributions, whole_samples
from lbsf_core.explain.importance import By, Groups

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Found = TypeVar("Found")

#: Samples of a batch, or a few more: what is read of each costs as much as reading a thousand.
BATCH = 16_384
#: Runs that the batches of a file are read in, each by one thread: as many on every machine, so
#: that sums are the same to the last digit.
RUNS = 4
_KINDS, _MERCHANTS = b"kinds", b"merchants"
#: Values of merchants that are held before they are added up.
_HELD = 1 << 20
#: Columns of the attributions that are added up by days before the cutoff.
_TIMES = [f"{what}:{band}" for what in ("time", "payments") for band in BANDS]


def write_groups(attributions: Path, out: Path) -> None:
    """Add up a file of `lbsf explain-all`, a part at a time.

    Args:
        attributions: the file; its rows lie by sample.
        out: written.
    """
    file, _ = open_attributions(attributions)
    fields = [name for name in file.schema_arrow.names if name.startswith("field:")]
    names = {column: _names(file, column) for column in ("kind", "merchant")}
    schema = pa.schema(
        [
            pa.field("sample", pa.int32()),
            pa.field("paid", pa.bool_()),
            pa.field("kind", pa.list_(pa.int32())),
            pa.field("of_kind", pa.list_(pa.float32())),
            pa.field("merchant", pa.list_(pa.int32())),
            pa.field("of_merchant", pa.list_(pa.float32())),
            *(pa.field(name, pa.float32()) for name in (*fields, *(f"time:{b}" for b in BANDS))),
        ],
        metadata={_KINDS: json.dumps(names["kind"]), _MERCHANTS: json.dumps(names["merchant"])},
    )
    columns = ["kind", "merchant", "payments", "attribution", *fields, *_TIMES]
    added = (_added(rows, fields, names, schema) for rows in whole_samples(file, columns))
    with pa.ipc.new_file(str(out), schema) as writer:
        for part in _together(added):
            writer.write_table(part)


def stored_groups(
    path: Path, by: By, samples: Ints | None, user_ids: pa.ChunkedArray
) -> Groups | None:
    """The attributions of some samples by kind, field or time.

    Args:
        path: file of `write_groups`.
        by: what a group is.
        samples: their numbers, ascending; all by default.
        user_ids: of every sample of the workspace.

    Returns:
        Groups without logits and money, whose `payments` are True where there is any; None of no
        sample.
    """
    with pa.OSFile(str(path)) as source:
        whole = pa.ipc.open_file(source).schema
    prefix = f"{by}:"
    columns = ["kind", "of_kind"] if by == "kind" else ["paid"]
    columns += [name for name in whole.names if name.startswith(prefix)]
    names = [name.removeprefix(prefix) for name in columns[1:]]
    if by == "kind":
        names = json.loads(whole.metadata[_KINDS])

    def run(reader: pa.ipc.RecordBatchFileReader, batches: range) -> list[tuple[Any, Any, Any]]:
        found = []
        for at in batches:
            batch = reader.get_batch(at)
            if samples is not None:
                batch = _of_samples(batch, samples)
            if len(batch):
                added = _by_kind(batch, len(names)) if by == "kind" else _by_column(batch)
                found.append((batch["sample"].to_numpy(), *added))
        return found

    parts = [part for found in _in_runs(path, ["sample", *columns], run) for part in found]
    if not parts:
        return None
    every, values, there = (np.concatenate(each) for each in zip(*parts, strict=True))
    if by == "kind":  # of these samples
        used = np.flatnonzero(there.any(axis=0))
        values, there, names = values[:, used], there[:, used], [names[k] for k in used]
    frame = pd.DataFrame({"sample": every, "user_id": user_ids.take(pa.array(every)).to_pandas()})
    unknown = np.broadcast_to(np.float32(np.nan), values.shape)
    return Groups(by, tuple(names), frame, values, there, unknown)


def merchant_sums(path: Path, a: Ints, b: Ints) -> pd.DataFrame:
    """What two cohorts paid at each merchant, and what that added to their scores.

    Args:
        path: file of `write_groups`.
        a, b: numbers of their samples, each ascending.

    Returns:
        One row a merchant, by name: merchant, and of each cohort samples (that paid there), sum and
        square (sum of attributions and of their squares), ending in _a and _b.
    """
    with pa.OSFile(str(path)) as source:
        names = json.loads(pa.ipc.open_file(source).schema.metadata[_MERCHANTS])

    def run(reader: pa.ipc.RecordBatchFileReader, batches: range) -> list[Floats]:
        sums = [_Sums(len(names)), _Sums(len(names))]
        for at in batches:
            batch = reader.get_batch(at)
            for samples, added in zip((a, b), sums, strict=True):
                theirs = _of_samples(batch, samples)
                if len(theirs):
                    added.add(*(pc.list_flatten(theirs[n]) for n in ("merchant", "of_merchant")))
        return [added.all() for added in sums]

    runs = _in_runs(path, ["sample", "merchant", "of_merchant"], run)
    found = {"merchant": names}
    for side, parts in zip("ab", zip(*runs, strict=True), strict=True):
        counts, values, squares = sum(parts)
        counts = counts.astype(np.int64)
        found |= {f"samples_{side}": counts, f"sum_{side}": values, f"square_{side}": squares}
    return pd.DataFrame(found)


class _Sums:
    """Counts, sums and sums of squares by place, of values that come a few at a time."""

    def __init__(self, places: int) -> None:
        self._found = np.zeros((3, places))
        self._held: list[tuple[pa.Array, pa.Array]] = []
        self._count = 0

    def add(self, place: pa.Array, value: pa.Array) -> None:
        """Some more."""
        self._held.append((place, value))
        self._count += len(place)
        if self._count >= _HELD:
            self._add_up()

    def all(self) -> Floats:
        """(3, places) counts, sums and sums of squares."""
        self._add_up()
        return self._found

    def _add_up(self) -> None:
        if not self._held:
            return
        place, value = (np.concatenate(each) for each in zip(*self._held, strict=True))
        value = value.astype(np.float64)
        places = self._found.shape[1]
        for at, weight in enumerate((None, value, value**2)):
            self._found[at] += np.bincount(place, weight, minlength=places)
        self._held, self._count = [], 0


def _reader(source: pa.NativeFile, columns: list[str]) -> pa.ipc.RecordBatchFileReader:
    """Reads these columns of an open file, in the order of the file."""
    whole = pa.ipc.open_file(source).schema
    wanted = [whole.get_field_index(name) for name in columns]
    return pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=wanted))


def _in_runs(
    path: Path,
    columns: list[str],
    run: Callable[[pa.ipc.RecordBatchFileReader, range], Found],
) -> list[Found]:
    """What is found in each of `RUNS` of a file's batches, in their order; cores share them."""
    with pa.OSFile(str(path)) as source:
        batches = _reader(source, columns).num_record_batches

    def read(part: range) -> Found:
        with pa.OSFile(str(path)) as own:
            return run(_reader(own, columns), part)

    ends = [batches * at // RUNS for at in range(RUNS + 1)]
    parts = [range(*ends[at : at + 2]) for at in range(RUNS)]
    parts = [part for part in parts if part] or parts[:1]
    if len(parts) == 1:
        return [read(parts[0])]
    with ThreadPoolExecutor(min(RUNS, cores())) as pool:
        return list(pool.map(read, parts))


def _of_samples(batch: pa.RecordBatch, samples: Ints) -> pa.RecordBatch:
    """Rows of some samples, whose numbers ascend; a batch has each number between its ends."""
    here = batch["sample"].to_numpy()
    first, last = np.searchsorted(samples, [here[0], here[-1] + 1])
    return batch.take(pa.array(samples[first:last] - here[0]))


def _names(file: pq.ParquetFile, column: str) -> list[str]:
    """Every name in a column of a file, in order."""
    found: set[str] = set()
    for number in range(file.num_row_groups):
        values = file.read_row_group(number, columns=[column])[column]
        found |= set(pc.unique(values).drop_null().to_pylist())
    return sorted(found)


def _added(
    rows: pa.Table, fields: list[str], names: dict[str, list[str]], schema: pa.Schema
) -> pa.Table:
    """One row a sample of the rows of its merchants."""
    figures = [(name, "sum") for name in ("payments", *fields, *_TIMES)]
    # One thread: sums are the same each time.
    samples = rows.group_by("sample", use_threads=False).aggregate(figures).sort_by("sample")
    merchants = rows.filter(pc.is_valid(rows["merchant"]))
    of_kind = merchants.select(["sample", "kind", "attribution"])
    of_kind = of_kind.set_column(1, "kind", _places(merchants["kind"], names["kind"]))
    of_kind = of_kind.group_by(["sample", "kind"], use_threads=False).aggregate(
        [("attribution", "sum")]
    )
    of_kind = of_kind.sort_by([("sample", "ascending"), ("kind", "ascending")])
    numbers = samples["sample"].to_numpy()
    paid_at = merchants.select(["sample", "attribution"])
    paid_at = paid_at.append_column("merchant", _places(merchants["merchant"], names["merchant"]))
    found = {
        "sample": samples["sample"],
        "paid": pc.greater(pc.fill_null(samples["payments_sum"], 0), 0),
        "kind": _lists(of_kind, "kind", numbers),
        "of_kind": _lists(of_kind, "attribution_sum", numbers),
        "merchant": _lists(paid_at, "merchant", numbers),
        "of_merchant": _lists(paid_at, "attribution", numbers),
    }
    found |= {name: pc.fill_null(samples[f"{name}_sum"], 0.0) for name in fields}
    for band in BANDS:
        paid = pc.greater(pc.fill_null(samples[f"payments:{band}_sum"], 0), 0)
        found[f"time:{band}"] = pc.if_else(paid, samples[f"time:{band}_sum"], None)
    return pa.table(found).select(schema.names).cast(schema)


def _together(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Tables put together until each has `BATCH` rows or more, the last whatever is left."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(map(len, held)) >= BATCH:
            yield pa.concat_tables(held).combine_chunks()
            held = []
    if held:
        yield pa.concat_tables(held).combine_chunks()


def _places(values: pa.ChunkedArray, names: list[str]) -> pa.ChunkedArray:
    return pc.index_in(values, value_set=pa.array(names, pa.string()))


def _lists(rows: pa.Table, column: str, samples: Ints) -> pa.ListArray:
    """(B,) what a column holds of each sample; the rows lie by sample."""
    ends = np.searchsorted(rows["sample"].to_numpy(), samples, side="right")
    offsets = pa.array(np.concatenate([[0], ends]), pa.int32())
    return pa.ListArray.from_arrays(offsets, rows[column].combine_chunks())


def _by_kind(
    batch: pa.RecordBatch, kinds: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """(B, K) sums, and whether there is any payment."""
    row = pc.list_parent_indices(batch["kind"]).to_numpy()
    place = pc.list_flatten(batch["kind"]).to_numpy()
    values = np.zeros((len(batch), kinds), dtype=np.float32)
    there = np.zeros(values.shape, dtype=bool)
    values[row, place] = pc.list_flatten(batch["of_kind"]).to_numpy()
    there[row, place] = True
    return values, there


def _by_column(batch: pa.RecordBatch) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """The same of columns: of `paid`, and of what is not null."""
    columns = [batch[name] for name in batch.schema.names if ":" in name]
    paid = batch["paid"].to_numpy(zero_copy_only=False)
    there = [paid & pc.is_valid(one).to_numpy(zero_copy_only=False) for one in columns]
    values = [pc.fill_null(one, 0.0).to_numpy(zero_copy_only=False) for one in columns]
    return np.stack(values, axis=1), np.stack(there, axis=1)
