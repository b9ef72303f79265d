"""Payments in: ingest, labels, simulate, fold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lbsf_core.cli.common import (
    EngineName,
    Master,
    Out,
    Seed,
    app,
    bar_of,
    console,
    plain,
    show,
)
from lbsf_core.config import FoldConfig
from lbsf_core.spark import LOCAL


@app.command()
def ingest(
    raw: Annotated[list[Path], typer.Argument(help="Raw CSV, TSV or Parquet files, also .gz.")],
    mapping: Annotated[
        str, typer.Option(help="Mapping file (.toml), or berka, berka-1993, birmingham.")
    ],
    out: Out,
    max_reject_share: Annotated[
        float, typer.Option(help="More rejects than this: no output.")
    ] = 0.01,
    memory_limit: Annotated[str, typer.Option(help="Spill to disk beyond this.")] = "2GB",
) -> None:
    """Turn raw payment files into validated payments; rejected rows are kept with their reason."""
    from lbsf_core.payments.ingest import ingest as run

    with console.status("reading") as status:
        summary = run(
            raw,
            mapping,
            out,
            max_reject_share=max_reject_share,
            memory_limit=memory_limit,
            progress=lambda words, rows: status.update(plain(f"{words}: {rows:,} rows")),
        )
    show(f"{out}", summary.rows())


@app.command("ingest-labels")
def ingest_labels(
    raw: Annotated[list[Path], typer.Argument(help="Raw label files.")],
    mapping: Annotated[
        str, typer.Option(help="Mapping file (.toml), or berka, birmingham: its [labels] table.")
    ],
    out: Out,
    label: Annotated[
        str | None, typer.Option(help="Which label, if the mapping has several.")
    ] = None,
    max_reject_share: Annotated[
        float, typer.Option(help="More rejects than this: no output.")
    ] = 0.01,
) -> None:
    """Turn raw label files into labels: user, cutoff, label."""
    from lbsf_core.payments.labels import ingest_labels as run

    summary = run(raw, mapping, out, label=label, max_reject_share=max_reject_share)
    show(f"{out}", summary.rows())


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    users: Annotated[int, typer.Option(help="How many users.")] = 1000,
    seed: Seed = 0,
    null: Annotated[bool, typer.Option("--null", help="Labels independent of payments.")] = False,
) -> None:
    """Simulate payments with known causes of default. Never evidence of predictive power."""
    from lbsf_core.payments.simulate import simulate as run

    with bar_of() as bar:
        found = run(
            out, users=users, seed=seed, null=null, progress=lambda d, n: bar("simulating", d, n)
        )
    show(
        f"{out} (simulated)",
        [
            ("users", f"{found.users:,}"),
            ("payments", f"{found.payments:,}"),
            ("bad", f"{found.bad:,}"),
            *((f"planted: {cause}", f"{count:,}") for cause, count in found.causes.items()),
        ],
    )


@app.command()
def fold(
    payments: Annotated[Path, typer.Argument(help="Payments, made by `lbsf ingest`.")],
    labels: Annotated[Path, typer.Option(help="Labels, made by `lbsf ingest-labels`.")],
    out: Out,
    window_days: Annotated[
        int | None, typer.Option(help="Observation window; all if left out.")
    ] = None,
    max_merchants: Annotated[int | None, typer.Option(help="Most merchants of a sample.")] = None,
    max_payments: Annotated[int | None, typer.Option(help="Most payments of a segment.")] = None,
    memory_limit: Annotated[
        str | None,
        typer.Option(
            help="Of the sort that files need whose payments do not lie by user: beyond this it "
            "spills to disk."
        ),
    ] = None,
    spill: Annotated[
        Path | None,
        typer.Option(help="Folder that the sort spills to; else the system's."),
    ] = None,
    engine: EngineName = "local",
    master: Master = LOCAL,
) -> None:
    """Fold payments by merchant at every (user, cutoff) of the labels."""
    from lbsf_core.fold.fold import fold as run
    from lbsf_core.memory import reuse_freed_memory

    reuse_freed_memory()
    config = FoldConfig(window_days, max_merchants, max_payments)
    if engine == "spark":
        from lbsf_core.fold.spark import fold_on_spark

        with console.status("folding"):
            summary = fold_on_spark(payments, labels, out, config, master=master)
    else:
        with bar_of() as bar:
            summary = run(
                *(payments, labels, out, config),
                memory_limit=memory_limit,
                spill=spill,
                progress=lambda d, n: bar("folding", d, n),
            )
    show(f"{out}", summary.rows())
