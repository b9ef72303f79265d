"""Speed and memory against named peers."""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

import typer

from lbsf_core.cli.common import (
    AsJson,
    Master,
    StorePath,
    bar_of,
    bench,
    print_json,
    show,
)
from lbsf_core.errors import LbsfError
from lbsf_core.spark import LOCAL

#: Where what is measured is kept, if anywhere.
_HISTORY: ContextVar[Path | None] = ContextVar("history", default=None)


@bench.callback()
def benches(
    history: Annotated[
        Path | None, typer.Option(help="JSON lines that what is measured is added to.")
    ] = None,
) -> None:
    """Measure speed and memory against named peers on the same work."""
    _HISTORY.set(history)


@bench.command("table")
def bench_table(
    history: Annotated[Path, typer.Argument(help="Kept by `lbsf bench --history`.")],
) -> None:
    """Print the latest measurements as Markdown, each beside the one before."""
    from lbsf_core.bench.history import read, table

    print(table(read(history)))


@bench.command("fold")
def bench_fold(
    payments: Annotated[int, typer.Option(help="How many.")] = 1_000_000,
    users: Annotated[int | None, typer.Option(help="Of the payments; one for every 500.")] = None,
    rounds: Annotated[int, typer.Option(help="The median counts.", min=1)] = 1,
    alone: Annotated[
        bool, typer.Option("--alone", help="Without peers, which need far more memory.")
    ] = False,
    memory_limit: Annotated[str | None, typer.Option(help="As `lbsf fold` takes it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fold payments, Parquet to Parquet, against pandas and Polars doing the same work."""
    from lbsf_core.bench import bench_fold as run

    found = run(payments, users=users, rounds=rounds, alone=alone, memory_limit=memory_limit)
    _result("fold", found, as_json)


@bench.command("score")
def bench_score(
    lengths: Annotated[str, typer.Option(help="Payments per user.")] = "512,2048,8192",
    as_json: AsJson = False,
) -> None:
    """Score against a flat Transformer and a GRU of the same width on the same payments."""
    from lbsf_core.bench import bench_score as run

    _result("score", run(_numbers(lengths)), as_json)


@bench.command("train")
def bench_train(
    lengths: Annotated[str, typer.Option(help="Payments per user.")] = "512,2048",
    as_json: AsJson = False,
) -> None:
    """Train against a flat Transformer and a GRU of the same width on the same payments."""
    from lbsf_core.bench import bench_train as run

    _result("train", run(_numbers(lengths)), as_json)


@bench.command("explain")
def bench_explain(
    timeshap: Annotated[
        Path | None,
        typer.Option(help="Python of an environment with TimeSHAP; `make timeshap` makes one."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Explain one user (60 merchants, 1,000 payments) and many: seconds by each engine."""
    from lbsf_core.bench.explain import bench_explain as run
    from lbsf_core.bench.explain import default_timeshap

    _result("explain", run(timeshap=timeshap or default_timeshap()), as_json)


@bench.command("update")
def bench_update(as_json: AsJson = False) -> None:
    """Score again after one more payment, for short and long histories."""
    from lbsf_core.bench.update import bench_update as run

    _result("update", run(), as_json)


@bench.command("e2e")
def bench_e2e(
    payments: Annotated[int, typer.Option(help="How many.")] = 10_000_000, as_json: AsJson = False
) -> None:
    """From a Parquet file of payments to scores: `lbsf fold`, then `lbsf score`."""
    from lbsf_core.bench.e2e import bench_e2e as run

    _result("e2e", run(payments), as_json)


@bench.command("memory")
def bench_memory(
    users: Annotated[str, typer.Option(help="Of each store.")] = "100000,1000000",
    per_user: Annotated[int, typer.Option(help="Payments of a user on average.")] = 20,
    score_only: Annotated[bool, typer.Option("--score-only", help="Without training.")] = False,
    as_json: AsJson = False,
) -> None:
    """Does scoring or training hold more memory, the more users there are?"""
    from lbsf_core.bench.memory import bench_memory as run

    counts = _numbers(users, "--users")
    _result("memory", run(counts, per_user=per_user, train=not score_only), as_json)


@bench.command("spark")
def bench_spark(
    payments: Annotated[int, typer.Option(help="How many.")] = 10_000_000,
    master: Master = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Fold and score on Spark, against the local engine on the same payments."""
    from lbsf_core.bench.spark import bench_spark as run

    _result("spark", run(payments, master=master), as_json)


@bench.command("frontier")
def bench_frontier(
    store: StorePath,
    models: Annotated[
        str | None, typer.Option(help="Names with commas; the first is held against. All else.")
    ] = None,
    folds: Annotated[int, typer.Option("--cv", help="Folds by user.", min=2)] = 5,
    repeats: Annotated[int, typer.Option(help="Times the folds are drawn anew.", min=1)] = 1,
    as_json: AsJson = False,
) -> None:
    """How well models of several sizes rank a store's samples, against how fast they score."""
    from lbsf_core.bench.frontier import MODELS
    from lbsf_core.bench.frontier import bench_frontier as run
    from lbsf_core.fold.store import FoldedStore

    names = [name.strip() for name in models.split(",")] if models else list(MODELS)
    with bar_of() as bar:
        found = run(
            FoldedStore.open(store), names=names, folds=folds, repeats=repeats, progress=bar
        )
    _result("frontier", found, as_json)


@bench.command("dashboard")
def bench_dashboard(
    out: Annotated[Path, typer.Option("--out", help="Where the workspace is made, or was.")] = Path(
        ".lbsf/bench/dashboard"
    ),
    demo: Annotated[bool, typer.Option("--demo", help="Over the demo workspace.")] = False,
    samples: Annotated[int, typer.Option(help="Of the workspace that is made.", min=200)] = 100_000,
    tiles: Annotated[
        int, typer.Option(help="Its users so many times over, under other names.", min=1)
    ] = 1,
    users: Annotated[int, typer.Option(help="Opened one after another.", min=3)] = 21,
    soak: Annotated[float, typer.Option(help="Minutes that 20 sessions browse; 0 = not.")] = 5.0,
    browsers: Annotated[
        int, typer.Option(help="How many of the 20 in a Chromium; the rest without.", min=0, max=20)
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Drive the dashboard in a real Chromium: what a person waits for, and many at once."""
    from lbsf_core.bench.dashboard import bench_dashboard as run

    with bar_of() as bar:
        found = run(
            Path(".lbsf/demo") if demo and out == Path(".lbsf/bench/dashboard") else out,
            demo=demo,
            samples=samples,
            tiles=tiles,
            users=users,
            soak_browsers=browsers,
            soak_seconds=60 * soak,
            progress=bar,
        )
    _result("dashboard", found, as_json)


def _numbers(text: str, option: str = "--lengths") -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise LbsfError(f"{option} '{text}': write numbers with commas, 512,2048.") from error


def _result(title: str, found: dict[str, Any], as_json: bool) -> None:
    from lbsf_core.bench.history import keep

    if (history := _HISTORY.get()) is not None:
        keep(history, title, found)
    if as_json:
        print_json(found)
        return
    rows = []
    for key, value in found.items():
        inner = value.items() if isinstance(value, dict) else (("", value),)
        rows += [
            (f"{key} {name}".strip(), f"{v:,.4g}" if isinstance(v, float) else str(v))
            for name, v in inner
        ]
    show(title, rows)
