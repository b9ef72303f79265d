"""Read payments by runs of users: where each user's rows lie, and some users' rows as columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lbsf_core.errors import IngestError, StoreError
from lbsf_core.fold.batch import Ints
from lbsf_core.payments.schema import Field, quote_identifier

TIME = pa.timestamp("us", "UTC")
WORDS = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True)
class Samples:
    """The samples of a labels file, sorted by user, then cutoff.

    Attributes:
        table: user_id, cutoff (microseconds UTC), label (null = unknown).
        users: every user once, sorted.
        user: (K,) number of each sample's user.
    """

    table: pa.Table
    users: pa.StringArray
    user: Ints

    @property
    def cutoff(self) -> Ints:
        """(K,) microseconds UTC."""
        found: Ints = self.table["cutoff"].cast(pa.int64()).to_numpy()
        return found


def read_samples(path: Path) -> Samples:
    """The samples of `labels.parquet`.

    Raises:
        StoreError: a sample stands twice, or lacks its user or its cutoff.
    """
    raw = pq.read_table(path)
    table = pa.table(
        {
            "user_id": column_of(raw, "user_id", pa.string()),
            "cutoff": column_of(raw, "cutoff", TIME),
            "label": column_of(raw, "label", pa.float64()),
        }
    )
    if table["user_id"].null_count or table["cutoff"].null_count:
        raise StoreError(f"{path}: a row has no user or no cutoff. Give each row both.")
    table = table.sort_by([("user_id", "ascending"), ("cutoff", "ascending")])
    user_id, cutoff = table["user_id"].combine_chunks(), table["cutoff"].combine_chunks()
    fresh = np.ones(len(table), dtype=bool)
    if len(table) > 1:
        fresh[1:] = pc.not_equal(user_id[1:], user_id[:-1]).to_numpy(zero_copy_only=False)
        again = pc.equal(cutoff[1:], cutoff[:-1]).to_numpy(zero_copy_only=False) & ~fresh[1:]
        if again.any():
            row = int(np.argmax(again))
            when = f"{cutoff[row].as_py():%Y-%m-%d %H:%M:%S}"
            raise StoreError(
                f"{path}: user '{user_id[row]}' stands more than once at cutoff {when}. "
                "Keep one row for each (user, cutoff)."
            )
    users = user_id.filter(pa.array(fresh))
    return Samples(table, users, np.cumsum(fresh) - 1)


def samples_between(path: Path, first: str, last: str) -> tuple[Samples, int]:
    """The samples of users from `first` to `last`, and the number of the first of them.

    Args:
        path: Parquet file of `Samples.table` and a column "sample", their numbers.
        first, last: user ids, both included.
    """
    table = pq.read_table(path, filters=[("user_id", ">=", first), ("user_id", "<=", last)])
    user_id = table["user_id"].combine_chunks()
    fresh = np.ones(len(table), dtype=bool)
    fresh[1:] = pc.not_equal(user_id[1:], user_id[:-1]).to_numpy(zero_copy_only=False)
    found = Samples(table, user_id.filter(pa.array(fresh)), np.cumsum(fresh) - 1)
    return found, table["sample"][0].as_py() if len(table) else 0


def column_of(table: pa.Table, name: str, kind: pa.DataType) -> pa.ChunkedArray:
    """A column as one kind; a time without a zone reads as UTC.

    Raises:
        IngestError: there is no such column.
    """
    if name not in table.column_names:
        raise IngestError(f"it has no column {name}")
    column = table[name]
    if pa.types.is_timestamp(kind) and getattr(column.type, "tz", "") is None:
        column = column.cast(pa.timestamp("us")).cast(TIME)  # a time without zone reads as UTC
    return column.cast(kind)


@dataclass(frozen=True)
class Runs:
    """Where the wanted users' rows lie: R runs in order of the file and of the users.

    Attributes:
        user: (R,) number in `Samples.users`.
        start, stop: (R,) rows in the file, half-open.
    """

    user: Ints
    start: Ints
    stop: Ints

    def parts(self, weight: Ints, limit: int) -> Iterator[tuple[int, int]]:
        """Ranges of runs, each of at most `limit` rows times `weight`, or of one user."""
        size = np.cumsum((self.stop - self.start) * weight)
        begin = 0
        while begin < len(size):
            before = size[begin - 1] if begin else 0
            end = max(int(np.searchsorted(size, before + limit, side="right")), begin + 1)
            yield begin, end
            begin = end


def find_runs(file: pq.ParquetFile, users: pa.StringArray) -> Runs | None:
    """The runs of these users, or None where the file does not lie by user.

    Reads the user column alone, a row group at a time.
    """
    names, starts, at, last = [], [], 0, None
    for group in range(file.num_row_groups):
        column = file.read_row_group(group, columns=["user_id"])["user_id"]
        for chunk in column.cast(WORDS).chunks:
            words = chunk.dictionary
            codes = chunk.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
            begins = np.flatnonzero(np.append(True, codes[1:] != codes[:-1])[: len(codes)])
            name = pa.concat_arrays([words, pa.array([None], words.type)]).take(
                pa.array(codes[begins])
            )
            begins = begins + at
            at += len(codes)
            if len(name) and last is not None and name[0].equals(last):
                name, begins = name[1:], begins[1:]
            if len(name):
                last = name[-1]
                names.append(name)
                starts.append(begins)
    if not names:
        empty = np.zeros(0, dtype=np.int64)
        return Runs(empty, empty, empty)
    name = pa.concat_arrays(names)
    if len(name) > 1 and not pc.all(pc.less(name[:-1], name[1:]), skip_nulls=False).as_py():
        return None
    start = np.concatenate(starts).astype(np.int64)
    stop = np.append(start[1:], at)
    user = pc.index_in(name, value_set=users).fill_null(-1).to_numpy(zero_copy_only=False)
    wanted = user >= 0
    return Runs(user[wanted].astype(np.int64), start[wanted], stop[wanted])


def sort_by_user(
    payments: Path, labels: Path, extra: tuple[Field, ...], target: Path, memory_limit: str | None
) -> None:
    """Write the payments of the labelled users by user and time, out of core."""
    columns = ["user_id", "merchant", "description", "timestamp", "amount"]
    columns += [quote_identifier(field.name) for field in extra]
    with duckdb.connect(config={"temp_directory": str(target.parent)}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        if memory_limit:
            connection.execute("SET memory_limit = $limit", {"limit": memory_limit})
        connection.execute(
            f"""COPY (SELECT {", ".join(columns)} FROM read_parquet($payments)
                      WHERE user_id IN (SELECT user_id FROM read_parquet($labels))
                      ORDER BY user_id, timestamp)
                TO $target (FORMAT parquet, COMPRESSION lz4)""",  # noqa: S608
            {"payments": str(payments), "labels": str(labels), "target": str(target)},
        )


class Source:
    """A payments file that lies by user, read by ranges of rows. Safe to use from threads."""

    def __init__(self, path: Path, extra: tuple[Field, ...]) -> None:
        self.path, self.extra = path, extra
        self.metadata = pq.read_metadata(path)
        rows = [self.metadata.row_group(i).num_rows for i in range(self.metadata.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)

    def open(self) -> pq.ParquetFile:
        """The file, texts read as numbers of words where it stores them so."""
        texts = ["user_id", "merchant", "description"]
        texts += [field.name for field in self.extra if field.is_string]
        return pq.ParquetFile(self.path, metadata=self.metadata, read_dictionary=texts)

    def read(self, start: int, stop: int) -> dict[str, pa.Array]:
        """Rows start:stop: merchant, description, timestamp, amount and the extra fields.

        Texts come as one dictionary array each, amounts without negative zeros.
        """
        first, last = np.searchsorted(self._starts, [start, stop - 1], side="right") - 1
        names = ["merchant", "description", "timestamp", "amount", *(f.name for f in self.extra)]
        raw = self.open().read_row_groups(
            list(range(first, last + 1)), columns=names, use_threads=False
        )
        raw = raw.slice(start - self._starts[first], stop - start)
        columns = {name: words(raw[name]) for name in names[:2]}
        columns["timestamp"] = column_of(raw, "timestamp", TIME).combine_chunks()
        amount = column_of(raw, "amount", pa.float64()).combine_chunks()
        columns["amount"] = pc.add(amount, 0.0)
        for field in self.extra:
            if field.is_string:
                columns[field.name] = words(raw[field.name])
            else:
                kind = TIME if field.sql_type == "TIMESTAMPTZ" else pa.float64()
                columns[field.name] = column_of(raw, field.name, kind).combine_chunks()
        return columns


def words(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """A text column as one dictionary array."""
    if not column.num_chunks:
        return pa.array([], WORDS)
    joined = column.cast(WORDS).unify_dictionaries().combine_chunks()
    return joined.chunk(0) if isinstance(joined, pa.ChunkedArray) else joined


def codes_in_order(column: pa.DictionaryArray) -> tuple[Ints, pa.StringArray]:
    """(N,) number of each text in the order of the texts (null = -1), and the texts in order."""
    order = pc.sort_indices(column.dictionary)
    rank = np.empty(len(order) + 1, dtype=np.int64)
    rank[order.to_numpy()] = np.arange(len(order))
    rank[-1] = -1
    codes = column.indices.fill_null(len(order)).to_numpy(zero_copy_only=False)
    return rank[codes], column.dictionary.take(order)


def tie_keys(columns: list[pa.Array], rows: Ints) -> list[npt.NDArray[np.generic]]:
    """What tells payments of one merchant at one instant apart: each field, then its nulls last."""
    keys: list[npt.NDArray[np.generic]] = []
    for column in columns:
        some = column.take(pa.array(rows))
        null = some.is_null().to_numpy(zero_copy_only=False)
        if pa.types.is_dictionary(some.type):
            value = codes_in_order(some)[0]
        else:
            kind = pa.int64() if pa.types.is_timestamp(some.type) else pa.float64()
            value = some.cast(kind).fill_null(0).to_numpy(zero_copy_only=False)
        keys += [null, value]
    return keys
