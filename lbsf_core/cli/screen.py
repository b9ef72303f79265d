"""The screen: workspace, dashboard, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lbsf_core.cli.common import (
    BundlePath,
    Out,
    StorePath,
    app,
    bar_of,
    console,
    plain,
)


@app.command()
def workspace(
    store: StorePath,
    bundle: BundlePath,
    out: Out,
    name: Annotated[str | None, typer.Option(help="Shown in the dashboard.")] = None,
    evaluation: Annotated[
        Path | None, typer.Option(help="Made by `lbsf evaluate --cv --out`; for the Model page.")
    ] = None,
    attributions: Annotated[
        Path | None, typer.Option(help="Made by `lbsf explain-all`; else explained now.")
    ] = None,
    comparison: Annotated[
        Path | None,
        typer.Option(help="Made by `lbsf evaluate --compare --out`, or `lbsf benchmark`."),
    ] = None,
    comparison_label: Annotated[
        str | None, typer.Option(help="Which part of it, e.g. birmingham/label_stop60.")
    ] = None,
    previous: Annotated[
        Path | None,
        typer.Option(help="Made by an earlier `lbsf score`: the queue shows what changed since."),
    ] = None,
    amounts: Annotated[
        Path | None,
        typer.Option(
            help="CSV or Parquet: user_id, amount (at stake), and cutoff where a user has several."
        ),
    ] = None,
) -> None:
    """Score and explain every sample: the folder that the dashboard loads."""
    from lbsf_core.workspace import build_workspace

    with bar_of() as bar:
        build_workspace(
            *(store, bundle, out),
            name=name,
            evaluation=evaluation,
            attributions=attributions,
            comparison=comparison,
            label=comparison_label,
            previous=previous,
            amounts=amounts,
            progress=bar,
        )
    console.print(f"{plain(str(out))} is ready: `lbsf dashboard {plain(str(out))}`")


@app.command()
def dashboard(
    folder: Annotated[Path, typer.Argument(help="A workspace, or a folder of workspaces.")],
    port: Annotated[int | None, typer.Option(help="8501, or the next free one.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Open the dashboard on one workspace or a folder of them."""
    _serve(folder, port, host)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Where the demo's files go.")] = Path(
        ".lbsf/demo"
    ),
    prepare_only: Annotated[bool, typer.Option("--prepare-only", help="Do all but serve.")] = False,
    port: Annotated[int | None, typer.Option(help="8501, or the next free one.")] = None,
) -> None:
    """Fold, score and explain the sample payments, and open the dashboard on them."""
    from lbsf_core.demo import prepare

    with bar_of() as bar:
        ready = prepare(out, progress=bar)
    console.print(f"The demo workspace is ready in {plain(str(ready))}.")
    if not prepare_only:
        _serve(ready, port, "127.0.0.1")


def _serve(folder: Path, port: int | None, host: str) -> None:
    # The app is the library's user, so it is found by name and only here: the library itself
    # draws nothing (see the import contracts in pyproject.toml).
    import importlib

    code: int = importlib.import_module("dashboard.serve").serve(folder, port=port, host=host)
    raise typer.Exit(code)
