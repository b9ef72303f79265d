"""Reading a workspace's tables: one locked DuckDB connection, a cursor per question.

One connection shared by threads gave wrong customers' results (design.md, "Stores"); a cursor per
query gives none. The connection may read the workspace's own tables and nothing else, and its
settings are locked, so that no text from the data can reach a file.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from lbsf_core.workspace.checked import Checked
from lbsf_core.workspace.layout import EMBEDDINGS, MERCHANTS, MONTHS, ROWS
from lbsf_core.workspace.types import SampleFilter

if TYPE_CHECKING:
    import duckdb

#: The condition that every sample meets.
ALL = "true"
#: What a queue may be sorted by -> in SQL.
SORTS = {
    **{
        name: name
        for name in (
            *("pd", "user_id", "cutoff", "payments", "merchants", "money_out", "last_payment"),
        )
    },
    "change": "abs(pd - previous_pd)",
    "expected_loss": "pd * at_stake",
    "disagreement": "disagreement",
}


@dataclass(frozen=True)
class Scores:
    """What is known of some samples' risk.

    Attributes:
        pd: (n,).
        known: (n,) whether there is a label.
        bad: (n,) whether the label is bad.
        at_stake: (n,) amount; NaN where nobody said.
    """

    pd: npt.NDArray[np.float64]
    known: npt.NDArray[np.bool_]
    bad: npt.NDArray[np.bool_]
    at_stake: npt.NDArray[np.float64]

    def take(self, rows: npt.NDArray[Any]) -> Scores:
        """Those of some rows: their numbers in order, or which ones."""
        return Scores(self.pd[rows], self.known[rows], self.bad[rows], self.at_stake[rows])


class Tables:
    """The tables of one workspace, asked through SQL with parameters only.

    The samples are mapped (`ROWS`): of a million, DuckDB goes through them in a quarter of the time
    that it takes to unpack their Parquet file. The others are Parquet.
    """

    def __init__(self, checked: Checked) -> None:
        self.checked = checked
        self._names = {
            "merchants": MERCHANTS,
            "months": MONTHS,
            "embeddings": EMBEDDINGS,
        }
        self.files = {key: str(checked.folder / name) for key, name in self._names.items()}

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        """Made for the first query: the first page asks none, and DuckDB takes a while to load."""
        import duckdb

        connection = duckdb.connect(config={"autoload_known_extensions": "false"})
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET allowed_paths = $paths", {"paths": list(self.files.values())})
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        return connection

    def ask(
        self,
        sql: str,
        *,
        tables: Mapping[str, pa.Table] = MappingProxyType({}),
        **parameters: Any,  # noqa: ANN401 - SQL values
    ) -> pd.DataFrame:
        """Rows of a query.

        Args:
            sql: `samples` is the table of samples; `$merchants`, `$months` and `$embeddings` name
                files.
            tables: more tables, by name.
            parameters: values, by name.
        """
        used = {k: self._file(k) for k in self.files if f"${k}" in sql}
        known = {"samples": self.samples, **tables} if "samples" in sql else tables
        with self._connection.cursor() as cursor:
            for name, table in known.items():
                cursor.register(name, table)  # with this cursor alone
            # Through Arrow: DuckDB's own data frames trip over pandas 3 deprecations.
            found = cursor.sql(sql, params=used | parameters).to_arrow_table()
        self._give_back()
        frame: pd.DataFrame = found.to_pandas()
        return frame

    def _file(self, key: str) -> str:
        return str(self.checked.path(self._names[key]))

    @cached_property
    def _mapped(self) -> mmap.mmap:
        with self.checked.path(ROWS).open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    @cached_property
    def samples(self) -> pa.Table:
        """One row a sample, in the order of samples: mapped, so that only what is asked is read."""
        return pa.ipc.open_file(pa.py_buffer(self._mapped)).read_all()

    def taken(self, samples: pa.Array, columns: Sequence[str]) -> pa.Table:
        """These columns of some samples, copied."""
        found = self.samples.select(columns).take(samples)
        self._give_back()
        return found

    def _give_back(self) -> None:
        """Let the system have the samples' memory again; what is asked next is mapped anew.

        It maps 16 pages around each that is touched: five hundred samples anywhere would come to
        200 MB of a million's.
        """
        if hasattr(mmap, "MADV_DONTNEED"):
            self._mapped.madvise(mmap.MADV_DONTNEED)

    def rows(self, samples: npt.NDArray[np.integer[Any]], columns: Sequence[str]) -> pd.DataFrame:
        """These columns of some samples, in the order given."""
        frame: pd.DataFrame = self.taken(pa.array(samples), columns).to_pandas()
        return frame

    def records(self, samples: Sequence[int], columns: Sequence[str]) -> list[dict[str, Any]]:
        """The same as Python's own values: for a few samples much quicker than a frame."""
        rows = self.taken(pa.array(samples, pa.int64()), columns)
        found: list[dict[str, Any]] = rows.to_pylist()
        return found

    def of_user(self, user_id: str) -> Sequence[int]:
        """Numbers of a user's samples, ascending."""
        ids = self.samples["user_id"]
        if not self._users_ascend:
            found: list[int] = pc.indices_nonzero(pc.equal(ids, user_id)).to_pylist()
            return found
        rows = range(len(ids))
        first = bisect_left(rows, user_id, key=lambda row: str(ids[row]))
        end = bisect_right(rows, user_id, first, key=lambda row: str(ids[row]))
        return rows[first:end]

    @cached_property
    def _users_ascend(self) -> bool:
        """Whether samples lie by user id, as `lbsf fold` writes them: looked at once."""
        ids = self.samples["user_id"].combine_chunks()
        return bool(pc.all(pc.less_equal(ids[:-1], ids[1:])).as_py())

    def order(self, chosen: SampleFilter, sort: str, *, descending: bool) -> npt.NDArray[np.int32]:
        """Numbers of the samples that a filter keeps, sorted; the last few answers are kept."""
        return self._orders(chosen, sort, descending)

    def kept(self, chosen: SampleFilter) -> npt.NDArray[np.int64]:
        """Numbers of the samples that a filter keeps, ascending; asked once, with the queue."""
        return np.sort(self.order(chosen, "pd", descending=True)).astype(np.int64)

    @cached_property
    def _orders(self) -> Callable[[SampleFilter, str, bool], npt.NDArray[np.int32]]:
        def ordered(chosen: SampleFilter, sort: str, descending: bool) -> npt.NDArray[np.int32]:
            if (sort, descending) == ("pd", True) and chosen == SampleFilter():
                found = self._by_rank()
            else:
                condition, parameters = where(chosen)
                sql = order_query(condition, sort, descending=descending)
                found = self.ask(sql, **parameters)["sample"].to_numpy()
            found.flags.writeable = False
            return found

        return lru_cache(maxsize=8)(ordered)

    def _by_rank(self) -> npt.NDArray[np.int32]:
        """Samples from the highest PD down; ranks are 1 to N, each once."""
        ranks = self.samples["rank"].to_numpy()
        found = np.empty(len(ranks), dtype=np.int32)
        found[ranks - 1] = np.arange(len(ranks), dtype=np.int32)
        return found

    @cached_property
    def scores(self) -> Scores:
        """Scores and labels of every sample, in the order of samples."""
        pd, label, stake = (self.samples[name] for name in ("pd", "label", "at_stake"))
        return Scores(
            pd=pd.to_numpy(),
            known=pc.not_equal(label, "unknown").to_numpy(),
            bad=pc.equal(label, "bad").to_numpy(),
            at_stake=stake.cast(pa.float64()).to_numpy(),
        )

    def one(self, sql: str, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401 - SQL values
        """The only row of a query."""
        row = self.ask(sql, **parameters).iloc[0]
        return {str(name): value for name, value in row.items()}


#: Inside a closed line: a ray to the right of a point crosses its edges an odd number of times.
_INSIDE = """sample IN (
    SELECT sample FROM read_parquet(@@), (
        SELECT unnest($x1::DOUBLE[]) AS x1, unnest($y1::DOUBLE[]) AS y1,
               unnest($x2::DOUBLE[]) AS x2, unnest($y2::DOUBLE[]) AS y2)
    WHERE (y1 > y) <> (y2 > y) AND x < (x2 - x1) * (y - y1) / (y2 - y1) + x1
    GROUP BY sample HAVING count(*) % 2 = 1)"""


def where(chosen: SampleFilter) -> tuple[str, dict[str, Any]]:
    """A condition on `samples` and its parameters, from a filter."""
    parameters: dict[str, Any] = {}
    conditions = [ALL]

    def add(sql: str, **values: Any) -> None:  # noqa: ANN401 - SQL values
        conditions.append(sql)
        parameters.update(values)

    if chosen.user:
        plain = chosen.user.lower() == chosen.user.upper()  # no letter: half the time
        holds = "contains(user_id, $user)" if plain else "contains(lower(user_id), lower($user))"
        add(holds, user=chosen.user)
    for number, merchant in enumerate(chosen.merchants):  # paid at each of them
        add(
            "sample IN (SELECT sample FROM read_parquet($$) "
            "WHERE contains(lower(merchant), lower($paid_N)))".replace("_N", f"_{number}_"),
            **{f"paid_{number}_": merchant},
        )
    if chosen.pd_min > 0:
        add("pd >= $pd_min", pd_min=chosen.pd_min)
    if chosen.pd_max < 1:
        add("pd <= $pd_max", pd_max=chosen.pd_max)
    for column, values in (
        ("label", chosen.labels),
        ("band", chosen.bands),
        ("part", chosen.parts),
    ):
        if values:
            add(f"{column} IN (SELECT unnest($in_{column}))", **{f"in_{column}": list(values)})
    if chosen.ids is not None:
        add("user_id IN (SELECT unnest($ids::VARCHAR[]))", ids=list(chosen.ids))
    if chosen.payments_min is not None:
        add("payments >= $fewest", fewest=chosen.payments_min)
    if chosen.payments_max is not None:
        add("payments <= $most", most=chosen.payments_max)
    if chosen.cutoff_from is not None:
        add("cutoff >= $since::DATE", since=chosen.cutoff_from.isoformat())
    if chosen.cutoff_to is not None:
        add("cutoff < $until::DATE + 1", until=chosen.cutoff_to.isoformat())
    if chosen.area:
        here, there = chosen.area, (*chosen.area[1:], chosen.area[0])
        add(_INSIDE, x1=[x for x, _ in here], y1=[y for _, y in here],
            x2=[x for x, _ in there], y2=[y for _, y in there])  # fmt: skip
    sql = " AND ".join(conditions)
    return sql.replace("$$", "$merchants").replace("@@", "$embeddings"), parameters


def order_query(condition: str, sort: str, *, descending: bool) -> str:
    """Numbers of the samples that meet a condition, sorted by one of `SORTS`."""
    if sort not in SORTS:
        raise ValueError(f"sort is '{sort}'; choose one of {', '.join(SORTS)}.")
    way = "DESC" if descending else "ASC"
    return (
        f"SELECT sample FROM samples WHERE {condition} "  # noqa: S608 - see `where`
        f"ORDER BY {SORTS[sort]} {way} NULLS LAST, rank"
    )
