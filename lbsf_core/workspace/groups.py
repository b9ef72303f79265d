"""Attributions of each sample added up by kind of merchant, field and time: what cohorts compare.

What `lbsf explain-all` keeps has a row a merchant, thirty of a sample; added up once when the
workspace is built, a cohort reads a few numbers of each sample. The file is read in pieces, and
only the columns that are asked for.

    sample     int32, in order
    paid       whether the sample has a payment
    kind       list of places in the names of kinds (in the schema's metadata), ascending
    of_kind    list of what the merchants of each add, logit units
    field:<name>, time:<days>   the same by field and by days before the cutoff; null where the
                                sample paid nothing in those days
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lbsf_core.explain.attributions import BANDS, open_attributions, whole_samples
from lbsf_core.explain.importance import By, Groups

Ints = npt.NDArray[np.int64]

_KINDS = b"kinds"
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
    kinds = _kinds(file)
    schema = pa.schema(
        [
            pa.field("sample", pa.int32()),
            pa.field("paid", pa.bool_()),
            pa.field("kind", pa.list_(pa.int32())),
            pa.field("of_kind", pa.list_(pa.float32())),
            *(pa.field(name, pa.float32()) for name in (*fields, *(f"time:{b}" for b in BANDS))),
        ],
        metadata={_KINDS: json.dumps(kinds)},
    )
    with pa.ipc.new_file(str(out), schema) as writer:
        columns = ["kind", "payments", "attribution", *fields, *_TIMES]
        for rows in whole_samples(file, columns):
            writer.write_table(_added(rows, fields, kinds, schema))


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
    parts, held, numbers = [], [], []
    with pa.OSFile(str(path)) as source:
        whole = pa.ipc.open_file(source).schema
        prefix = f"{by}:"
        columns = ["kind", "of_kind"] if by == "kind" else ["paid"]
        columns += [name for name in whole.names if name.startswith(prefix)]
        names = [name.removeprefix(prefix) for name in columns[1:]]
        if by == "kind":
            names = json.loads(whole.metadata[_KINDS])
        wanted = [whole.get_field_index(name) for name in ("sample", *columns)]
        options = pa.ipc.IpcReadOptions(included_fields=wanted)
        reader = pa.ipc.open_file(source, options=options)
        for at in range(reader.num_record_batches):
            batch = reader.get_batch(at)
            here = batch["sample"].to_numpy()
            if samples is not None:
                first, last = np.searchsorted(samples, [here[0], here[-1] + 1])
                rows = samples[first:last] - here[0]
                batch, here = batch.take(pa.array(rows)), here[rows]
            if len(batch):
                found = _by_kind(batch, len(names)) if by == "kind" else _by_column(batch)
                parts.append(found[0])
                held.append(found[1])
                numbers.append(here)
    if not numbers:
        return None
    every, values, there = (np.concatenate(each) for each in (numbers, parts, held))
    if by == "kind":  # of these samples
        used = np.flatnonzero(there.any(axis=0))
        values, there, names = values[:, used], there[:, used], [names[k] for k in used]
    frame = pd.DataFrame({"sample": every, "user_id": user_ids.take(pa.array(every)).to_pandas()})
    unknown = np.broadcast_to(np.float32(np.nan), values.shape)
    return Groups(by, tuple(names), frame, values, there, unknown)


def _kinds(file: pq.ParquetFile) -> list[str]:
    """Every kind of merchant in a file, in order."""
    found: set[str] = set()
    for number in range(file.num_row_groups):
        column = file.read_row_group(number, columns=["kind"])["kind"]
        found |= set(pc.unique(column).drop_null().to_pylist())
    return sorted(found)


def _added(rows: pa.Table, fields: list[str], kinds: list[str], schema: pa.Schema) -> pa.Table:
    """One row a sample of the rows of its merchants."""
    figures = [(name, "sum") for name in ("payments", *fields, *_TIMES)]
    # One thread: sums are the same each time.
    samples = rows.group_by("sample", use_threads=False).aggregate(figures).sort_by("sample")
    of_kind = rows.filter(pc.is_valid(rows["kind"])).select(["sample", "kind", "attribution"])
    place = pc.index_in(of_kind["kind"], value_set=pa.array(kinds, pa.string()))
    of_kind = of_kind.set_column(1, "kind", place)
    of_kind = of_kind.group_by(["sample", "kind"], use_threads=False).aggregate(
        [("attribution", "sum")]
    )
    of_kind = of_kind.sort_by([("sample", "ascending"), ("kind", "ascending")])
    numbers = samples["sample"].to_numpy()
    ends = np.searchsorted(of_kind["sample"].to_numpy(), numbers, side="right")
    offsets = pa.array(np.concatenate([[0], ends]), pa.int32())
    values = of_kind["attribution_sum"].cast(pa.float32())
    found = {
        "sample": samples["sample"],
        "paid": pc.greater(pc.fill_null(samples["payments_sum"], 0), 0),
        "kind": pa.ListArray.from_arrays(offsets, of_kind["kind"].combine_chunks()),
        "of_kind": pa.ListArray.from_arrays(offsets, values.combine_chunks()),
    }
    found |= {name: pc.fill_null(samples[f"{name}_sum"], 0.0) for name in fields}
    for band in BANDS:
        paid = pc.greater(pc.fill_null(samples[f"payments:{band}_sum"], 0), 0)
        found[f"time:{band}"] = pc.if_else(paid, samples[f"time:{band}_sum"], None)
    return pa.table(found).select(schema.names).cast(schema)


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
