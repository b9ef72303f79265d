"""What all commands share: the app, its options, tables and progress bars."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from lbsf_core.errors import EditError, LbsfError
from lbsf_core.settings import presets

if TYPE_CHECKING:
    import pandas as pd

    from lbsf_core.explain.edits import Edit
    from lbsf_core.fold.batch import FoldedBatch
    from lbsf_core.fold.store import FoldedStore

app = typer.Typer(
    name="lbsf",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="See why a customer's payments look risky, and check that the answer is true.",
)
bench = typer.Typer(no_args_is_help=True, help="Measure speed and memory against named peers.")
app.add_typer(bench, name="bench")

#: Tables and bars go to the error stream, results (JSON) to standard output.
console = Console(stderr=True)

Out = Annotated[Path, typer.Option("--out", help="Where to write; replaced if it exists.")]
EngineName = Annotated[
    Literal["local", "spark"],
    typer.Option("--engine", help="Where the work is done; spark needs its extra, and Java."),
]
Master = Annotated[str, typer.Option(help="Of --engine spark, as Spark writes it.")]
DeviceName = Annotated[
    Literal["cpu", "cuda"],
    typer.Option("--device", help="Where the model computes; cuda needs a GPU and torch for it."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
StorePath = Annotated[Path, typer.Argument(help="Folded store, made by `lbsf fold`.")]
BundlePath = Annotated[Path, typer.Argument(help="Bundle, made by `lbsf train`.")]
SettingsPath = Annotated[
    str | None,
    typer.Option(
        "--settings",
        help=f"TOML file with [model], [train], [pretrain], or one of: {', '.join(presets())}. "
        "Options given beside it win.",
    ),
]
UserId = Annotated[str, typer.Option("--user", help="User id.")]
Cutoff = Annotated[
    str | None, typer.Option(help="ISO date or time (UTC) of the sample; the latest if left out.")
]
Seed = Annotated[int, typer.Option(help="Same seed, same numbers.")]


def plain(text: str) -> str:
    """Text as it is: rich reads square brackets as markup."""
    return text.replace("[", r"\[")


def show(title: str, rows: list[tuple[str, str]]) -> None:
    """Print labels and figures as a table."""
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(justify="right", overflow="fold")
    for label, value in rows:
        table.add_row(plain(label), plain(value))
    console.print(table)


def print_json(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Print a result on standard output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


@contextmanager
def bar_of() -> Iterator[Callable[[str, float, float], None]]:
    """A progress bar with ETA; call it with (words, done, in all). A new word starts a new bar."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        tasks: dict[str, Any] = {}

        def update(words: str, done: float, total: float, note: str = "") -> None:
            if words not in tasks:
                tasks[words] = progress.add_task(plain(words), total=total)
            progress.update(
                tasks[words], completed=done, total=total, description=plain(f"{words} {note}")
            )

        yield update


def instant(text: str | None) -> pd.Timestamp | None:
    """The --cutoff of a command: an ISO date or time, UTC where it names no zone.

    Raises:
        LbsfError: it is no such thing.
    """
    import pandas as pd

    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise LbsfError(f"'{text}' is no ISO date; write it as 2016-10-01.") from error
    return pd.Timestamp(when.replace(tzinfo=UTC) if when.tzinfo is None else when)


def read_sample(store: Path, user: str, cutoff: str | None) -> tuple[FoldedStore, FoldedBatch]:
    """The store, and the one sample that --user and --cutoff mean."""
    from lbsf_core.fold.store import FoldedStore

    folded = FoldedStore.open(store)
    return folded, folded.read([folded.find(user, instant(cutoff))])


def read_edits(given: str) -> Iterator[Edit]:
    """The --edits of a command: JSON, or a file that holds it.

    Raises:
        EditError: it is no JSON, or holds something else than edits.
    """
    from lbsf_core.explain.edits import Edit

    text = given if given.lstrip().startswith(("[", "{")) else Path(given).read_text("utf-8")
    try:
        data: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise EditError(f"--edits: line {error.lineno}: is no JSON ({error.msg}).") from error
    rows = data if isinstance(data, list) else [data]
    for row in rows:
        if not isinstance(row, dict):
            raise EditError(f"--edits: {row!r} is no edit; write an object with a kind.")
        yield Edit.from_dict(row)
