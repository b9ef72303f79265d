"""Payments on the disk: where samples lie is told of each row group, of texts nothing is."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lbsf_core.fold.source import TIME
from lbsf_core.fold.writer import PaymentsWriter

ROWS = 10


def part(first: int) -> pa.Table:
    names = pa.array(["café", None, "shop", "café", "bank"])
    return pa.table(
        {
            "sample": pa.array([first] * 5, pa.int32()),
            "segment": pa.array(range(5), pa.int32()),
            "merchant": names.dictionary_encode(),
            "description": names.dictionary_encode(),
            "timestamp": pa.array(range(first, first + 5), pa.int64()).cast(TIME),
            "amount": pa.array([-1.5, 2.0, -3.0, 0.0, 9.0]),
        }
    )


def test_row_groups_say_which_samples_they_hold(tmp_path: Path) -> None:
    with PaymentsWriter(tmp_path / "payments.parquet", (), ROWS) as writer:
        for first in range(5):
            writer.add(part(first))
    file = pq.ParquetFile(tmp_path / "payments.parquet")
    groups = [file.metadata.row_group(at) for at in range(file.num_row_groups)]
    assert [group.num_rows for group in groups] == [10, 10, 5]
    for at, group in enumerate(groups):
        known = {group.column(c).path_in_schema: group.column(c) for c in range(6)}
        sample = known["sample"].statistics
        assert (sample.min, sample.max) == (2 * at, min(2 * at + 1, 4))
        assert known["merchant"].statistics is known["description"].statistics is None
    whole = pa.concat_tables([part(first) for first in range(5)])
    for name in whole.column_names:
        assert file.read()[name].to_pylist() == whole[name].to_pylist()
