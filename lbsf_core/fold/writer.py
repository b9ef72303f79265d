"""Write folded payments: row groups of one size, each with a dictionary of its own texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lbsf_core.fold.source import TIME
from lbsf_core.payments.schema import Field

#: Rows of a Parquet row group: small enough that one user is a small read, large enough to scan.
ROW_GROUP = 61_440


class PaymentsWriter:
    """Writes payments in row groups of one size, whatever the parts they come in."""

    def __init__(self, path: Path, extra: tuple[Field, ...], row_group: int) -> None:
        self.row_group = row_group
        kinds = {"sample": pa.int32(), "segment": pa.int32()}
        kinds |= {"merchant": pa.string(), "description": pa.string()}
        kinds |= {"timestamp": TIME, "amount": pa.float64()}
        for field in extra:
            other = TIME if field.sql_type == "TIMESTAMPTZ" else pa.float64()
            kinds[field.name] = pa.string() if field.is_string else other
        self.texts = [name for name, kind in kinds.items() if kind == pa.string()]
        self.schema = pa.schema(
            [
                (name, pa.dictionary(pa.int32(), kind) if name in self.texts else kind)
                for name, kind in kinds.items()
            ]
        )
        self.pending = self.schema.empty_table()
        self.file = pq.ParquetWriter(
            path,
            self.schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=self.texts,
            column_encoding={"timestamp": "DELTA_BINARY_PACKED"},
            # Of texts nobody asks for the first and the last, which take a third of the writing.
            write_statistics=[name for name in kinds if name not in self.texts],
            store_schema=False,
        )

    def __enter__(self) -> PaymentsWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and len(self.pending):
                self._write(self.pending)
        finally:
            self.file.close()

    def add(self, table: pa.Table) -> None:
        """Take some rows; whole row groups go to the file."""
        if len(self.pending):
            table = pa.concat_tables([self.pending, table.cast(self.schema)])
            table = table.unify_dictionaries().combine_chunks()
        done = len(table) - len(table) % self.row_group
        for start in range(0, done, self.row_group):
            self._write(table.slice(start, self.row_group))
        self.pending = table.slice(done).cast(self.schema)

    def _write(self, table: pa.Table) -> None:
        for place, name in enumerate(self.schema.names):
            if name in self.texts:
                table = table.set_column(place, name, _compact(table[name].chunk(0)))
        self.file.write_table(table.cast(self.schema), row_group_size=self.row_group)


def _compact(column: pa.DictionaryArray) -> pa.DictionaryArray:
    """The same texts with a dictionary of those used, in order of first appearance."""
    size = len(column.dictionary)
    codes = column.indices.fill_null(size).to_numpy(zero_copy_only=False)
    first = np.full(size + 1, -1, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]  # of equal codes the last written stays
    first[size] = -1
    used = np.flatnonzero(first >= 0)
    used = used[np.argsort(first[used])]
    number = np.zeros(size + 1, dtype=np.int32)
    number[used] = np.arange(len(used), dtype=np.int32)
    indices = pa.array(number[codes], mask=codes == size)
    return pa.DictionaryArray.from_arrays(indices, column.dictionary.take(pa.array(used)))
