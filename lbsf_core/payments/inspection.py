"""Is a raw file what the mapping says? One look at it, from its first byte to its last.

What can go wrong with a whole file is found here, before a row is read: a wrong encoding, a line
that never ends, a compressed bomb, a damaged archive. Memory stays bounded throughout.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import hashlib
import re
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lbsf_core.errors import IngestError
from lbsf_core.payments.rules import FileRule
from lbsf_core.payments.sources import (
    FREE_EXPANSION,
    MAX_EXPANSION,
    MAX_LINE,
    Source,
    codec_of,
    open_source,
    records_of,
    separator_of,
)

# No longer than a line may be: then a line too long always spans a whole piece, and is seen.
_PIECE = MAX_LINE


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


def _check_text(source: Source, rule: FileRule) -> tuple[int, bool]:
    """Decode the whole file once; give its number of lines and whether it is plain."""
    check = _TextCheck(source, rule)
    bound = max(FREE_EXPANSION, MAX_EXPANSION * source.path.stat().st_size)
    size = 0
    try:
        with open_source(source) as file:
            piece = b"?"
            while piece:
                piece = file.read(_PIECE)
                size += len(piece)
                if source.kind == "gzip" and size > bound:
                    raise IngestError(
                        f"{source.path}: decompresses to more than {MAX_EXPANSION} times its "
                        "size, as no file of payments does; stopped. Decompress it yourself if "
                        "you trust it."
                    )
                check.add(piece)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise IngestError(
            f"{source.path}: is damaged or cut short ({error}); get the file again."
        ) from error
    return check.result()


class _TextCheck:
    """Takes a text file piece by piece and stops at the first thing that can't be right."""

    def __init__(self, source: Source, rule: FileRule) -> None:
        self._source, self._rule = source, rule
        codec = codec_of(rule)
        utf8 = codec == "utf-8-sig"
        self._codec = codec
        self._decoder = codecs.getincrementaldecoder(codec)("strict")
        # UTF-8 read as something else gives mojibake without an error: so both are tried.
        other = None if utf8 else codecs.getincrementaldecoder("utf-8")("strict")
        self._as_utf8: codecs.IncrementalDecoder | None = other
        self._odd_line = 0
        self._plain = PlainLines(separator_of(source, rule), rule.quote) if utf8 else None
        self._lines = 0
        self._length = 0  # characters of the line that is not at its end yet

    def add(self, piece: bytes) -> None:
        """Look at the next piece; an empty one is the end."""
        try:
            text = self._decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            raise self._wrong_encoding(error) from error
        self._watch_utf8(piece, text)
        first = text.find("\n")
        if self._length + (first if first >= 0 else len(text)) > MAX_LINE:
            raise IngestError(
                f"{self._source.path}, line {self._lines + 1}: is longer than {MAX_LINE:,} "
                "characters; a quote that is opened and never closed, or not a file of payments."
            )
        if self._plain is not None and not self._plain.holds(text, final=not piece):
            self._plain = None
        self._lines += text.count("\n")
        self._length = len(text) - text.rfind("\n") - 1 + (self._length if first < 0 else 0)

    def result(self) -> tuple[int, bool]:
        """Lines, and whether every one is one record."""
        if self._odd_line and self._as_utf8 is not None:
            raise IngestError(
                f"{self._source.path}, line {self._odd_line}: this file is UTF-8, the mapping says "
                f'{self._rule.encoding}; write `encoding = "utf-8"` under [file].'
            )
        return self._lines + bool(self._length), self._plain is not None

    def _watch_utf8(self, piece: bytes, text: str) -> None:
        if self._as_utf8 is None:
            return
        try:
            self._as_utf8.decode(piece, final=not piece)
        except UnicodeDecodeError:
            self._as_utf8 = None
            return
        if not self._odd_line and not piece.isascii():
            at = next((i for i, character in enumerate(text) if not character.isascii()), 0)
            self._odd_line = self._lines + text.count("\n", 0, at) + 1

    def _wrong_encoding(self, error: UnicodeDecodeError) -> IngestError:
        before = error.object[: error.start].decode(self._codec, "replace")
        line = self._lines + before.count("\n") + 1
        column = len(before) - before.rfind("\n") + (0 if "\n" in before else self._length)
        bad = error.object[error.start : error.end].hex(" ")
        return IngestError(
            f"{self._source.path}, line {line}, character {column}: the bytes {bad} are not "
            f"{self._rule.encoding}. Name the file's encoding under [file] in the mapping, "
            'e.g. `encoding = "cp1252"`.'
        )


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


def _read_header(source: Source, rule: FileRule) -> tuple[str, ...]:
    with contextlib.closing(records_of(source, rule)) as records:
        for _, cells in records:
            return tuple(cell.strip() for cell in cells)
    raise IngestError(f"{source.path}: is empty; a header line with column names was expected.")
