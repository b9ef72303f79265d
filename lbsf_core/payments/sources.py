"""Raw files: what they are, whether they can be trusted, and their cells as Arrow batches.

Every source gives batches of the same shape: `_line` (the 1-based line of the file on which the
row begins; for Parquet the 1-based row), `_problem` (why the row could not be cut into cells, or
null), then one column per wanted column. Text files give text; Parquet files keep their types.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from lbsf_core.errors import IngestError
from lbsf_core.payments.mapping import FileRule

MAX_LINE = 1 << 20  # bytes in one line; a longer one is no payment
MAX_ROWS = 1_000_000_000  # rows in all files together, unless the caller says otherwise
MAX_EXPANSION = 200  # decompressed bytes per compressed byte; real CSV stays below 50
FREE_EXPANSION = 64 << 20  # decompressed bytes below which the ratio does not matter
BATCH_ROWS = 50_000
_CHUNK = 1 << 20
_ARROW_BLOCK = 4 * MAX_LINE  # a line of MAX_LINE characters fits, at four bytes each


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


def inspect(path: Path, rule: FileRule, max_rows: int) -> Source:
    """Look at a raw file: its kind, header, SHA-256, and that every byte can be read.

    Raises:
        IngestError: it is missing, empty, damaged, in another encoding, has a line beyond
            `MAX_LINE`, or decompresses beyond `MAX_EXPANSION`; with the line where there is one.
    """
    if not path.is_file():
        raise IngestError(f"{path}: no such file.")
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if start[:2] == b"PK":
        raise IngestError(f"{path}: is a ZIP archive or a workbook; unpack or export it as CSV.")
    if start == b"PAR1":
        header, rows = _inspect_parquet(path, max_rows)
        return Source(path, path.name, digest, "parquet", header, rows)
    kind = "gzip" if start[:2] == b"\x1f\x8b" else "text"
    source = Source(path, path.name, digest, kind, (), 0)
    lines, plain = _check_text(source, rule)
    header = rule.columns or _read_header(source, rule)
    plain = plain and not rule.columns
    return Source(path, path.name, digest, kind, header, lines, plain)


def _inspect_parquet(path: Path, max_rows: int) -> tuple[tuple[str, ...], int]:
    try:
        with pq.ParquetFile(path) as file:
            rows: int = file.metadata.num_rows
            header = tuple(file.schema_arrow.names)
    except (pa.ArrowException, OSError) as error:
        raise IngestError(f"{path}: is no readable Parquet file ({error}).") from error
    if rows > max_rows:
        raise IngestError(f"{path}: holds {rows:,} rows, more than the {max_rows:,} allowed.")
    return header, rows


def _open(source: Source) -> io.BufferedIOBase:
    if source.kind == "gzip":
        return gzip.GzipFile(source.path, "rb")
    return source.path.open("rb")


def _codec(rule: FileRule) -> str:
    """Byte-order marks at the start of UTF-8 are no part of the first column's name."""
    name = codecs.lookup(rule.encoding).name
    return "utf-8-sig" if name == "utf-8" else name


def _check_text(source: Source, rule: FileRule) -> tuple[int, bool]:
    """Decode the whole file once, bounded in memory; give its lines and whether it is plain."""
    codec = _codec(rule)
    utf8 = codec == "utf-8-sig"
    decoder = codecs.getincrementaldecoder(codec)("strict")
    suspicion: codecs.IncrementalDecoder | None = None
    if not utf8:
        suspicion = codecs.getincrementaldecoder("utf-8")("strict")
    bound = max(FREE_EXPANSION, MAX_EXPANSION * source.path.stat().st_size)
    lines = length = size = 0
    odd_line = 0
    last = ""
    plain = PlainLines(separator_of(source, rule), rule.quote) if utf8 else None
    try:
        with _open(source) as file:
            while True:
                chunk = file.read(_CHUNK)
                size += len(chunk)
                if source.kind == "gzip" and size > bound:
                    raise IngestError(
                        f"{source.path}: decompresses to more than {MAX_EXPANSION} times its "
                        "size, as no file of payments does; stopped. Decompress it yourself if "
                        "you trust it."
                    )
                try:
                    text = decoder.decode(chunk, final=not chunk)
                except UnicodeDecodeError as error:
                    raise _wrong_encoding(source, rule, error, lines, codec) from error
                if suspicion is not None:
                    suspicion, odd_line = _suspect(suspicion, chunk, text, lines, odd_line)
                first = text.find("\n")
                if length + (first if first >= 0 else len(text)) > MAX_LINE:
                    raise IngestError(
                        f"{source.path}, line {lines + 1}: is longer than {MAX_LINE:,} characters; "
                        "a quote that is opened and never closed, or not a file of payments."
                    )
                if plain is not None and not plain.holds(text, final=not chunk):
                    plain = None
                lines += text.count("\n")
                length = len(text) - text.rfind("\n") - 1 + (length if first < 0 else 0)
                last = text[-1:] or last
                if not chunk:
                    break
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise IngestError(
            f"{source.path}: is damaged or cut short ({error}); get the file again."
        ) from error
    if odd_line and suspicion is not None:
        raise IngestError(
            f"{source.path}, line {odd_line}: this file is UTF-8, the mapping says "
            f'{rule.encoding}; write `encoding = "utf-8"` under [file].'
        )
    return lines + (last != "\n" and bool(size)), plain is not None


class PlainLines:
    """Watches text in pieces: is every line one record that any reader cuts in the same way?"""

    def __init__(self, separator: str, quote: str) -> None:
        s, q = re.escape(separator), re.escape(quote)
        cell = f"[^{s}\r\n]*+"
        if quote:
            cell = f"(?:{q}[^{q}\r\n]*+(?:{q}{q}[^{q}\r\n]*+)*+{q}|[^{q}{s}\r\n]*+)"
        self._records = re.compile(f"(?:(?!\r?\n){cell}(?:{s}{cell})*+\r?\n)*+")
        self._rest = ""

    def holds(self, text: str, *, final: bool) -> bool:
        """Whether this piece, with those before it, keeps the promise."""
        text = self._rest + text
        end = text.rfind("\n") + 1
        self._rest = text[end:]
        if final and self._rest:
            text, end = text + "\n", len(text) + 1
        return self._records.fullmatch(text, 0, end) is not None


def _suspect(
    utf8: codecs.IncrementalDecoder, chunk: bytes, text: str, lines: int, odd_line: int
) -> tuple[codecs.IncrementalDecoder | None, int]:
    """Watch for UTF-8 read as another encoding: all of the file decodes, and some is not ASCII."""
    try:
        utf8.decode(chunk, final=not chunk)
    except UnicodeDecodeError:
        return None, odd_line
    if not odd_line and not chunk.isascii():
        at = next(i for i, character in enumerate(text) if not character.isascii())
        odd_line = lines + text.count("\n", 0, at) + 1
    return utf8, odd_line


def _wrong_encoding(
    source: Source, rule: FileRule, error: UnicodeDecodeError, lines: int, codec: str
) -> IngestError:
    before = error.object[: error.start].decode(codec, "replace")
    line = lines + before.count("\n") + 1
    column = len(before) - before.rfind("\n")
    bad = error.object[error.start : error.end].hex(" ")
    return IngestError(
        f"{source.path}, line {line}, character {column}: the bytes {bad} are not "
        f"{rule.encoding}. Name the file's encoding under [file] in the mapping, "
        'e.g. `encoding = "cp1252"`.'
    )


def separator_of(source: Source, rule: FileRule) -> str:
    """The separator: the mapping's, else tab for `.tsv`, comma for everything else."""
    if rule.separator:
        return rule.separator
    return "\t" if ".tsv" in Path(source.name).suffixes else ","


def _records(source: Source, rule: FileRule) -> Generator[tuple[int, list[str]], None, None]:
    """Cells of every record with the line it begins on; blank lines are passed over."""
    with _open(source) as file:
        text = codecs.getreader(_codec(rule))(file, "strict")
        reader = csv.reader(
            _physical_lines(text),
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


def _physical_lines(reader: codecs.StreamReader) -> Iterator[str]:
    """Lines cut at line feeds only, in pieces of a bounded size."""
    rest = ""
    while True:
        text = reader.read(_CHUNK)
        if not text:
            break
        pieces = (rest + text).split("\n")
        rest = pieces.pop()
        for piece in pieces:
            yield piece + "\n"
    if rest:
        yield rest


def _read_header(source: Source, rule: FileRule) -> tuple[str, ...]:
    with contextlib.closing(_records(source, rule)) as records:
        for _, cells in records:
            return tuple(cell.strip() for cell in cells)
    raise IngestError(f"{source.path}: is empty; a header line with column names was expected.")


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
    records = _records(source, rule)
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

    def open_csv(file: io.BufferedIOBase) -> pa_csv.CSVStreamingReader:
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
        with _open(source) as file, open_csv(file) as reader:
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
