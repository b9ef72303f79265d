"""The file of `lbsf explain-all`: one Parquet file, one row a merchant of a sample, in order.

    sample, user_id, cutoff, logit, baseline_logit, delta,  of the sample, repeated in its rows; how
    disagreement                                            far both methods disagree, 0 to 1
    risk, protective                                        reason codes ("code|kind") of samples
                                                            that were asked; null = was not
    steps                                                   of the integral
    segment, merchant, kind, payments, money_in, money_out  what is folded
    attribution, removed, weight                            logits, by gradients and by taking the
                                                            merchant out (NaN: left in); attention
    field:<name>, time:<days>                               the attribution, by field and by days
    payments:<days>                                         before the cutoff; payments in each band
    checked                                                 the attribution held against the typical
                                                            user; NaN where nobody is one
    values                                                  of its payments, one after another, what
                                                            each field adds: the names of
                                                            field:<name>, in that order

A sample without a payment has one row, with nothing from `segment` on. The file names the store and
the weights it was made from; before it is used, some samples are explained again and compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lbsf_core.errors import AttributionsError
from lbsf_core.files import atomic_write

#: Rows that are written together.
GROUP_ROWS = 65_536
#: Whole days before the cutoff, last of each band; the band after them is open.
LAST_DAYS = (7, 30, 90, 180, 365)
BANDS = ("0-7", "8-30", "31-90", "91-180", "181-365", "older")
#: Where the file says what it was made of, and the version of its columns.
KEY, VERSION = b"lbsf-attributions", 4
SAMPLE_COLUMNS = ["sample", "user_id", "cutoff", "logit", "baseline_logit", "delta"]
SAMPLE_COLUMNS += ["disagreement", "steps"]
REASON_COLUMNS = ["risk", "protective"]
SEGMENT_COLUMNS = ["sample", "segment", "merchant", "payments", "money_in", "money_out"]
SEGMENT_COLUMNS += ["attribution", "removed", "weight"]
_UNEQUAL = ["attribution", "removed", "weight", "checked"]
#: The numbers in a list, as Parquet names them.
_VALUES = "values.list.element"


def join(segments: pa.Table, samples: pa.Table) -> pa.Table:
    """One row a segment, with what is known of its sample before it; one row an empty sample."""
    numbers = samples["sample"].to_numpy()
    counts = np.bincount(
        np.searchsorted(numbers, segments["sample"].to_numpy()), minlength=len(numbers)
    )
    rows = np.maximum(counts, 1)
    empty = np.repeat(counts == 0, rows)
    place = pa.array(np.cumsum(~empty) - 1, mask=empty)
    table = samples.take(pa.array(np.repeat(np.arange(len(numbers)), rows)))
    for name in segments.column_names[1:]:
        table = table.append_column(name, segments[name].take(place))
    return table


def merge(files: Sequence[Path], about: Mapping[str, Any], out: Path) -> None:
    """The chunks one after another, some at a time."""
    if not files:
        raise AttributionsError(f"{out}: the store holds no sample.")
    schema = pq.read_schema(files[0]).with_metadata({KEY: json.dumps(about)})
    # Hardly two of these values are equal: a dictionary of them only takes room.
    many = [n for n in schema.names if n in _UNEQUAL or n.startswith(("field:", "time:"))]
    kept: dict[str, Any] = {"compression": "zstd", "use_byte_stream_split": [*many, _VALUES]}
    kept["use_dictionary"] = [n for n in schema.names if n not in (*many, "values")]
    with atomic_write(out) as path, pq.ParquetWriter(path, schema, **kept) as writer:
        held: list[pa.Table] = []
        for file in files:
            held.append(pq.read_table(file))
            if file == files[-1] or sum(len(table) for table in held) >= GROUP_ROWS:
                writer.write_table(pa.concat_tables(held).cast(schema))
                held = []


def open_attributions(path: str | Path) -> tuple[pq.ParquetFile, dict[str, Any]]:
    """A file of `write_attributions`, and what it says it was made of.

    Raises:
        AttributionsError: it is no such file, or one of another version.
    """
    try:
        file = pq.ParquetFile(path)
        about = json.loads((file.schema_arrow.metadata or {})[KEY])
    except (OSError, KeyError, ValueError, pa.ArrowInvalid) as error:
        raise AttributionsError(
            f"{path}: holds no attributions. Make them with `lbsf explain-all`."
        ) from error
    if about.get("version") != VERSION:
        raise AttributionsError(
            f"{path}: attributions of version {about.get('version')}, this lbsf reads {VERSION}. "
            "Run `lbsf explain-all` again."
        )
    return file, about


def whole_samples(file: pq.ParquetFile, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The rows of some samples at a time; what a part of the file cuts in two is put together.

    Args:
        file: of `open_attributions`.
        columns: that are read besides `sample`.
    """
    left: pa.Table | None = None
    for number in range(file.num_row_groups):
        rows = file.read_row_group(number, columns=["sample", *columns])
        rows = rows if left is None else pa.concat_tables([left, rows])
        sample = rows["sample"].to_numpy()
        last = number == file.num_row_groups - 1
        cut = len(rows) if last else int(np.searchsorted(sample, sample[-1]))
        left = rows.slice(cut)
        if cut:
            yield rows.slice(0, cut)
