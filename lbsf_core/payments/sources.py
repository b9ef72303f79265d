"""Raw files, once they are inspected: their cells as Arrow batches.

Every source gives batches of the same shape: `_line` (the 1-based line of the file on which the
row begins; for Parquet the 1-based row), `_problem` (why the row could not be cut into cells, or
null), then one column per wanted column. Text files give text; Parquet files keep their types.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from lbsf_core.errors import IngestError
from lbsf_core.payments.rules import FileRule

MAX_LINE = 1 << 17  # characters in one line, and csv's own limit of one cell
MAX_ROWS = 1_000_000_000  # rows in all files together, unless the caller says otherwise
MAX_EXPANSION = 200  # decompressed bytes per compressed byte; real CSV stays below 50
FREE_EXPANSION = 64 << 20  # decompressed bytes below which the ratio does not matter
BATCH_ROWS = 50_000
_ARROW_BLOCK = 4 << 20  # a line of MAX_LINE characters fits, at four bytes each


@dataclass(frozen=True)
class Source:
    """One raw file that was looked at once, from its first byte to its last.

    Attributes:
        path: where it is.
        name: its file name, as shown to the user.
        sha256: of the bytes on disk.
        kind: "text", "gzip" (text inside) or "parquet".
        header: its column names, in order.
        lines: lines of text; for Parquet rows.
        plain: every line is one record that any reader cuts in the same way: UTF-8, no blank
            line, no line end inside a cell, every quote in its place. Such a file is read by
            Arrow, many times faster than by Python's careful reader, with the same result.
    """

    path: Path
    name: str
    sha256: str
    kind: str
    header: tuple[str, ...]
    lines: int
    plain: bool = False


def open_source(source: Source) -> io.BufferedReader | gzip.GzipFile:
    """The bytes of a source, decompressed."""
    if source.kind == "gzip":
        return gzip.GzipFile(source.path, "rb")
    return source.path.open("rb")


def codec_of(rule: FileRule) -> str:
    """The codec; a byte-order mark at the start of UTF-8 is no part of the first column's name."""
    name = codecs.lookup(rule.encoding).name
    return "utf-8-sig" if name == "utf-8" else name


def separator_of(source: Source, rule: FileRule) -> str:
    """The separator: the mapping's, else tab for `.tsv`, comma for everything else."""
    if rule.separator:
        return rule.separator
    return "\t" if ".tsv" in Path(source.name).suffixes else ","


def records_of(source: Source, rule: FileRule) -> Generator[tuple[int, list[str]], None, None]:
    """Cells of every record with the line it begins on; blank lines are passed over."""
    with open_source(source) as file:
        # Lines end at line feeds only, whatever else Unicode calls a line end.
        text = io.TextIOWrapper(file, encoding=codec_of(rule), newline="\n")
        reader = csv.reader(
            text,
            delimiter=separator_of(source, rule),
            quotechar=rule.quote or None,
            quoting=csv.QUOTE_MINIMAL if rule.quote else csv.QUOTE_NONE,
            strict=True,
        )
        begin = 1
        try:
            for cells in reader:
                if cells:
                    yield begin, cells
                begin = reader.line_num + 1
        except csv.Error as error:
            raise IngestError(
                f"{source.path}, line {begin}: the record that begins here can't be read "
                f"({error}): most likely a quote that is opened and not closed, or one inside a "
                "cell that is not doubled. Mend the line, or set `quote` under [file]."
            ) from error


def positions(source: Source, wanted: Sequence[str], where: str) -> list[int]:
    """Where the wanted columns stand in the file.

    Raises:
        IngestError: a column is missing, or stands there twice.
    """
    for column in wanted:
        count = source.header.count(column)
        if count != 1:
            problem = "has no column" if count == 0 else f"has {count} columns called"
            raise IngestError(
                f"{source.path}: {problem} '{column}', which the mapping {where} names; it has "
                f"{list(source.header)[:50]}. Name the column as the file does, or check "
                "`separator` under [file]."
            )
    return [source.header.index(column) for column in wanted]


def batches(
    source: Source, rule: FileRule, wanted: Sequence[str], where: str, max_rows: int
) -> pa.RecordBatchReader:
    """The wanted columns of a source, in bounded memory.

    Returns:
        `_line` int64, `_problem` text, then `_c0`, `_c1`, ... in the order of `wanted`.

    Raises:
        IngestError: a column is missing; while reading: a record can't be cut into cells at all,
            or there are more than `max_rows` rows.
    """
    at = positions(source, wanted, where)
    if source.kind == "parquet":
        return _parquet_batches(source, wanted)
    fields: list[tuple[str, Any]] = [("_line", pa.int64()), ("_problem", pa.string())]
    fields += [(f"_c{i}", pa.string()) for i in range(len(wanted))]
    schema = pa.schema(fields)
    if source.plain:
        return _plain_batches(source, rule, at, schema, max_rows)
    cells = _text_batches(source, rule, at, schema, max_rows)
    return pa.RecordBatchReader.from_batches(schema, cells)


def _text_batches(
    source: Source, rule: FileRule, at: list[int], schema: pa.Schema, max_rows: int
) -> Iterator[pa.RecordBatch]:
    width = len(source.header)
    blank = [""] * width
    lines: list[int] = []
    problems: list[str | None] = []
    rows: list[list[str]] = []
    total = 0
    records = records_of(source, rule)
    if not rule.columns:
        next(records, None)
    for line, cells in records:
        lines.append(line)
        if len(cells) == width:
            problems.append(None)
            rows.append(cells)
        else:
            problems.append(_ragged(len(cells), width))
            rows.append(blank)
        if len(rows) == BATCH_ROWS:
            total += len(rows)
            if total > max_rows:
                raise too_many(source, max_rows)
            yield _batch(lines, problems, rows, at, schema=schema)
            lines, problems, rows = [], [], []
    if total + len(rows) > max_rows:
        raise too_many(source, max_rows)
    if rows:
        yield _batch(lines, problems, rows, at, schema=schema)


def _batch(
    lines: list[int],
    problems: list[str | None],
    rows: list[list[str]],
    at: list[int],
    *,
    schema: pa.Schema,
) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True))
    cells = [pa.array(columns[i], pa.string()) for i in at]
    head = [pa.array(lines, pa.int64()), pa.array(problems, pa.string())]
    return pa.RecordBatch.from_arrays([*head, *cells], schema=schema)


def too_many(source: Source, max_rows: int) -> IngestError:
    """The error for a source beyond the row cap."""
    return IngestError(
        f"{source.path}: holds more than {max_rows:,} rows; stopped. Raise the row cap if the "
        "file is meant to be that long."
    )


def _parquet_batches(source: Source, wanted: Sequence[str]) -> pa.RecordBatchReader:
    file = pq.ParquetFile(source.path)
    fields: list[Any] = [pa.field("_line", pa.int64()), pa.field("_problem", pa.string())]
    for i, column in enumerate(wanted):
        kind = file.schema_arrow.field(column).type
        fields.append(pa.field(f"_c{i}", kind.value_type if pa.types.is_dictionary(kind) else kind))
    schema = pa.schema(fields)

    def read() -> Iterator[pa.RecordBatch]:
        row = 0
        with file:
            for batch in file.iter_batches(BATCH_ROWS, columns=list(dict.fromkeys(wanted))):
                count = batch.num_rows
                head = [
                    pa.array(range(row + 1, row + count + 1), pa.int64()),
                    pa.nulls(count, pa.string()),
                ]
                cells = [
                    batch.column(column).cast(schema.field(i + 2).type)
                    for i, column in enumerate(wanted)
                ]
                row += count
                yield pa.RecordBatch.from_arrays([*head, *cells], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, read())


def _plain_batches(
    source: Source, rule: FileRule, at: list[int], schema: pa.Schema, max_rows: int
) -> pa.RecordBatchReader:
    """A plain file through Arrow: record i stands on line i + 1, the header on line 1."""
    names = [f"_h{i}" for i in range(len(source.header))]
    wanted = [names[i] for i in at]
    ragged: list[tuple[int, int]] = []

    def note(row: pa_csv.InvalidRow) -> str:
        ragged.append((row.number, row.actual_columns))
        return "skip"

    def open_csv(file: io.BufferedReader | gzip.GzipFile) -> pa_csv.CSVStreamingReader:
        return pa_csv.open_csv(
            file,
            read_options=pa_csv.ReadOptions(
                use_threads=False, block_size=_ARROW_BLOCK, skip_rows=1, column_names=names
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=separator_of(source, rule),
                quote_char=rule.quote or False,
                invalid_row_handler=note,
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=wanted,
                strings_can_be_null=False,
            ),
        )

    def read() -> Iterator[pa.RecordBatch]:
        line, rows = 2, 0
        with open_source(source) as file, open_csv(file) as reader:
            # Arrow reads ahead: ragged rows of later batches may be noted already.
            for batch in reader:
                count = batch.num_rows
                lines, line = _next_lines(line, count, {number for number, _ in ragged})
                rows += count
                if rows > max_rows:
                    raise too_many(source, max_rows)
                head = [pa.array(lines, pa.int64()), pa.nulls(count, pa.string())]
                yield pa.RecordBatch.from_arrays([*head, *batch.columns], schema=schema)
        if rows + len(ragged) > max_rows:
            raise too_many(source, max_rows)
        if ragged:
            blank = [""] * len(source.header)
            yield _batch(
                [number for number, _ in ragged],
                [_ragged(cells, len(source.header)) for _, cells in ragged],
                [blank] * len(ragged),
                at,
                schema=schema,
            )

    return pa.RecordBatchReader.from_batches(schema, read())


def _next_lines(line: int, count: int, left_out: set[int]) -> tuple[list[int], int]:
    """The next `count` lines from `line` on that are not left out, and the line after them."""
    if not left_out:
        return list(range(line, line + count)), line + count
    lines: list[int] = []
    while len(lines) < count:
        if line not in left_out:
            lines.append(line)
        line += 1
    return lines, line


def _ragged(cells: int, width: int) -> str:
    return f"{cells} cells, the header has {width}"
