"""What payments and labels share: sources read into a scratch table, rejects written or refused."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from lbsf_core.errors import IngestError
from lbsf_core.files import atomic_write
from lbsf_core.payments.cells import TIME_MACROS
from lbsf_core.payments.inspection import inspect
from lbsf_core.payments.merchants import create_macros
from lbsf_core.payments.parse import BY_RULE
from lbsf_core.payments.rules import FileRule
from lbsf_core.payments.sources import Source, batches, too_many
from lbsf_core.payments.sql import literal, open_scratch

Progress = Callable[[str, int], None]
"""Called with what is being done and the rows done so far."""

_EXAMPLES = 5


@contextmanager
def scratch(out: Path, memory_limit: str | None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB that spills beside `out` and is thrown away afterwards, whatever happens.

    Beside `out`, because the system's temporary folder is often small or in memory.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=".lbsf-ingest-", dir=out.parent)
    except OSError as error:
        raise IngestError(f"{out.parent}: can't write here ({error.strerror}).") from error
    with folder as name, open_scratch(Path(name), memory_limit) as connection:
        create_macros(connection)
        cursor = connection.cursor()
        for macro in TIME_MACROS:
            cursor.execute(macro)
        try:
            yield connection
        except duckdb.OutOfMemoryException as error:
            raise IngestError(f"Not enough memory ({error}). Raise the memory limit.") from error
        except duckdb.IOException as error:
            raise IngestError(
                f"{out.parent}: can't be written ({error}). Free some space, then run the "
                "command again; what was there before is untouched."
            ) from error


def look_at(raw: Sequence[Path], rule: FileRule, max_rows: int) -> tuple[list[Source], int]:
    """The sources in an order that does not depend on how they were given, and how many came twice.

    Raises:
        IngestError: no file was given, or one can't be read.
    """
    if not raw:
        raise IngestError("No raw file was given; name at least one CSV, TSV or Parquet file.")
    found = [inspect(Path(path), rule, max_rows) for path in raw]
    found.sort(key=lambda source: (source.name, source.sha256, str(source.path)))
    first = {source.sha256: source for source in reversed(found)}
    sources = [source for source in found if first[source.sha256] is source]
    return sources, len(found) - len(sources)


def stage(
    connection: duckdb.DuckDBPyConnection,
    sources: Sequence[Source],
    *,
    rule: FileRule,
    wanted: Sequence[str],
    name: str,
    select: Callable[[Mapping[str, pa.DataType]], str],
    max_rows: int,
    progress: Progress | None,
) -> list[int]:
    """Read every source into the table `staged`; give the rows of each.

    Raises:
        IngestError: a record can't be cut into cells, a column is missing, too many rows.
    """
    counts: list[int] = []
    done = 0
    for number, source in enumerate(sources):
        reader = batches(source, rule, wanted, name, max_rows - done)
        types = {column: reader.schema.field(i + 2).type for i, column in enumerate(wanted)}
        query = f"SELECT {number} AS _file, * FROM ({select(types)})"  # noqa: S608 - see parse
        verb = "INSERT INTO staged" if number else "CREATE TABLE staged AS"
        cursor = connection.cursor()
        failure: list[IngestError] = []
        cursor.register("raw", _watched(reader, source, done, failure, progress))
        try:
            cursor.execute(f"{verb} {query}")
        except duckdb.Error:
            if failure:
                raise failure[0] from None
            raise
        finally:
            cursor.unregister("raw")
        row = cursor.execute("SELECT count(*) FROM staged WHERE _file = ?", [number]).fetchone()
        counts.append(row[0] if row else 0)
        done += counts[-1]
        if done > max_rows:
            raise too_many(source, max_rows)
        cursor.close()
    return counts


def _watched(
    reader: pa.RecordBatchReader,
    source: Source,
    before: int,
    failure: list[IngestError],
    progress: Progress | None,
) -> pa.RecordBatchReader:
    """The reader, keeping the error that DuckDB would only quote, and telling the progress."""

    def read() -> Iterator[pa.RecordBatch]:
        rows = before
        try:
            for batch in reader:
                rows += batch.num_rows
                if progress is not None:
                    progress(f"reading {source.name}", rows)
                yield batch
        except IngestError as error:
            failure.append(error)
            raise
        except (pa.ArrowException, OSError) as error:
            failure.append(IngestError(f"{source.path}: can't be read on ({error})."))
            raise

    return pa.RecordBatchReader.from_batches(reader.schema, read())


def rejects(
    connection: duckdb.DuckDBPyConnection,
    sources: Sequence[Source],
    read: int,
    max_reject_share: float,
) -> tuple[dict[str, int], dict[str, int]]:
    """Rows by reason: rejected, and left out by a rule.

    Raises:
        IngestError: the share of rejects is beyond `max_reject_share`; with examples.
    """
    cursor = connection.cursor()
    rows = cursor.execute(
        "SELECT _reject.reason, count(*) FROM staged WHERE _reject IS NOT NULL "
        "GROUP BY 1 ORDER BY 1"
    ).fetchall()
    rejected = {reason: count for reason, count in rows if not reason.startswith(BY_RULE)}
    left_out = {reason: count for reason, count in rows if reason.startswith(BY_RULE)}
    total = sum(rejected.values())
    if total > max_reject_share * read:
        examples = cursor.execute(
            "SELECT _file, _line, _reject.column, _reject.value, _reject.reason FROM staged "
            "WHERE _reject IS NOT NULL AND NOT starts_with(_reject.reason, ?) "
            "ORDER BY 1, 2 LIMIT ?",
            [BY_RULE, _EXAMPLES],
        ).fetchall()
        shown = "".join(
            f"\n  {sources[file].name}, line {line}, column '{column}': {value!r}: {reason}"
            for file, line, column, value, reason in examples
        )
        raise IngestError(
            f"{total:,} of {read:,} rows ({total / read:.1%}) are rejects, more than the "
            f"{max_reject_share:.1%} allowed; nothing was written. The first of them:{shown}\n"
            "Mend the mapping or the files, or allow a larger share of rejects."
        )
    return rejected, left_out


def rejects_path(out: Path) -> Path:
    """Where the rejects of `out` go."""
    return out.with_name(f"{out.stem}.rejects.parquet")


def write_rejects(
    connection: duckdb.DuckDBPyConnection, sources: Sequence[Source], out: Path
) -> Path:
    """Write file, line, column, value, reason of every row that is not in the output.

    The file is made even when it is empty: an old one beside a new output would mislead.
    """
    target = rejects_path(out)
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE source_names (_file INTEGER, name VARCHAR)")
    for number, source in enumerate(sources):
        cursor.execute("INSERT INTO source_names VALUES (?, ?)", [number, source.name])
    with atomic_write(target) as temporary:
        cursor.execute(
            'COPY (SELECT name AS "file", _line AS "line", _reject.column AS "column", '  # noqa: S608
            '_reject.value AS "value", _reject.reason AS "reason" '
            "FROM staged JOIN source_names USING (_file) WHERE _reject IS NOT NULL "
            f"ORDER BY _file, _line) TO {literal(str(temporary))} "
            "(FORMAT parquet, COMPRESSION zstd)"
        )
    return target
