"""Cohorts that people gave a name, kept for all who use the dashboard.

A workspace never changes, so they lie in a database of their own, the case database: a SQLite file
beside the workspaces, or PostgreSQL by its URL. Several processes may write: SQLite is told to
keep a log beside it (WAL), to have what it confirmed on the disk (synchronous = FULL), to take the
lock when a transaction begins and to wait for it; transactions that only took it when they wrote
lost nine writes in ten to "database is locked" (design.md, "Stores").
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from lbsf_core.errors import WorkspaceError
from lbsf_core.workspace.types import SampleFilter

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table

#: Seconds that a writer waits for another.
BUSY_S = 30
#: Longest name, in characters.
NAME_LENGTH = 40


@dataclass(frozen=True)
class SavedCohort:
    """A cohort with a name.

    Attributes:
        name: unique within its workspace.
        chosen: who belongs to it.
        by: who saved it last.
        at: when, UTC.
    """

    name: str
    chosen: SampleFilter
    by: str
    at: datetime


class SavedCohorts:
    """The saved cohorts of a case database.

    Args:
        url: of the database, as SQLAlchemy writes it: `sqlite:////folder/cases.db`,
            `postgresql+psycopg://user@host/name`.

    Raises:
        WorkspaceError: there is no such database, or it can't be written.
    """

    def __init__(self, url: str) -> None:
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError

        try:
            self._engine, self._table = _open(url)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            raise WorkspaceError(
                f"the case database can't be reached: {error}. Give a URL such as "
                "sqlite:////folder/cases.db, or postgresql+psycopg://user@host/name (extra "
                "`postgres`)."
            ) from error
        with self._begin() as connection:
            self._table.metadata.create_all(connection)

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        from sqlalchemy.exc import DBAPIError

        try:
            with self._engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise WorkspaceError(
                f"the case database ({self._engine.url.render_as_string()}) refused: "
                f"{error.orig}. Look whether it is there and may be written."
            ) from error

    def all(self, workspace: str) -> list[SavedCohort]:
        """The cohorts of a workspace, by name."""
        from sqlalchemy import select

        columns = self._table.c
        asked = select(columns.name, columns.chosen, columns.by, columns.at)
        asked = asked.where(columns.workspace == workspace).order_by(columns.name)
        with self._begin() as connection:
            rows = connection.execute(asked).all()
        return [
            SavedCohort(name, filter_of(json.loads(chosen)), by, _utc(at))
            for name, chosen, by, at in rows
        ]

    def save(self, workspace: str, name: str, chosen: SampleFilter, by: str) -> None:
        """Keep a cohort under a name; one of that name in the workspace is replaced.

        Raises:
            WorkspaceError: the name is empty or too long, or the database refused.
        """
        from sqlalchemy import delete, insert

        name = name.strip()
        if not name or len(name) > NAME_LENGTH:
            raise WorkspaceError(
                f"a cohort is saved under a name of 1 to {NAME_LENGTH} characters; "
                f"this one has {len(name)}."
            )
        columns = self._table.c
        row = {
            "workspace": workspace,
            "name": name,
            "chosen": json.dumps(filter_values(chosen)),
            "by": by,
            "at": datetime.now(UTC).replace(tzinfo=None),
        }
        with self._begin() as connection:
            connection.execute(
                delete(self._table).where(columns.workspace == workspace, columns.name == name)
            )
            connection.execute(insert(self._table).values(**row))

    def delete(self, workspace: str, name: str) -> None:
        """Forget a cohort, if it is there."""
        from sqlalchemy import delete

        columns = self._table.c
        with self._begin() as connection:
            connection.execute(
                delete(self._table).where(columns.workspace == workspace, columns.name == name)
            )


def filter_values(chosen: SampleFilter) -> dict[str, Any]:
    """A filter as JSON values; what lets everything through is left out."""
    open_to_all = asdict(SampleFilter())
    return {
        name: value.isoformat() if isinstance(value, date) else value
        for name, value in asdict(chosen).items()
        if value != open_to_all[name]
    }


def filter_of(values: dict[str, Any]) -> SampleFilter:
    """The filter of `filter_values`.

    Raises:
        WorkspaceError: a condition is none that this version knows.
    """
    unknown = sorted(set(values) - {field.name for field in fields(SampleFilter)})
    if unknown:
        raise WorkspaceError(
            f"a saved cohort asks for '{unknown[0]}', which this version does not know. Open it "
            "with the version that saved it, or delete it."
        )
    found = dict(values)
    for name in ("cutoff_from", "cutoff_to"):
        if found.get(name):
            found[name] = date.fromisoformat(found[name])
    for name in ("merchants", "labels", "bands", "parts", "ids"):
        if found.get(name) is not None:
            found[name] = tuple(found[name])
    if "area" in found:
        found["area"] = tuple((float(x), float(y)) for x, y in found["area"])
    return SampleFilter(**found)


def _open(url: str) -> tuple[Engine, Table]:
    from sqlalchemy import (
        Column,
        DateTime,
        MetaData,
        NullPool,
        String,
        Table,
        Text,
        create_engine,
        event,
        make_url,
    )

    table = Table(
        "saved_cohort",
        MetaData(),
        Column("workspace", String(200), primary_key=True),
        Column("name", String(NAME_LENGTH), primary_key=True),
        Column("chosen", Text, nullable=False),
        Column("by", String(200), nullable=False),
        Column("at", DateTime, nullable=False),
    )
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, poolclass=NullPool), table
    # Asked now and then, by a person: no connection is kept between two questions.
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_S})

    @event.listens_for(engine, "connect")
    def settings(connection: Any, _: object) -> None:  # noqa: ANN401 - the driver's own
        connection.isolation_level = None  # the driver would begin by itself, and too late
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine, table


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC)
