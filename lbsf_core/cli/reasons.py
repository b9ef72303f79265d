"""Why, in at most four proved sentences."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from lbsf_core.cli.common import (
    AsJson,
    BundlePath,
    Cutoff,
    StorePath,
    UserId,
    app,
    console,
    plain,
    print_json,
    read_sample,
    show,
)

if TYPE_CHECKING:
    from lbsf_core.explain.reasons import Reason, Reasons


@app.command()
def reasons(
    store: StorePath,
    bundle: BundlePath,
    user: UserId,
    cutoff: Cutoff = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="PD from which a score is high; the average of the bundle's samples if left out."
        ),
    ] = None,
    always: Annotated[
        bool, typer.Option("--always", help="Give reasons for a low score as well.")
    ] = False,
    language: Annotated[str, typer.Option(help="Of the sentences; en and de ship.")] = "en",
    catalogue: Annotated[
        Path | None,
        typer.Option(help="TOML of reason codes in place of the one that ships."),
    ] = None,
    kinds: Annotated[
        Path | None,
        typer.Option(help="TOML of kinds of merchant in place of the one that ships."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say why one score is high in at most four sentences, and what speaks against it.

    A sentence is given only if the score moves when the payments it cites are removed.
    """
    from lbsf_core.explain.codes import Catalogue
    from lbsf_core.explain.kinds import Kinds
    from lbsf_core.explain.reasons import reasons as run
    from lbsf_core.model.bundle import Bundle

    codes, known = Catalogue.load(catalogue), Kinds.load(kinds)
    _, batch = read_sample(store, user, cutoff)
    found = run(
        Bundle.load(bundle),
        batch,
        threshold=threshold,
        always=always,
        language=language,
        catalogue=codes,
        kinds=known,
    )
    if as_json:
        print_json(found.to_dict())
    else:
        _show(found)


def _show(found: Reasons) -> None:
    """Both sides, each reason with what the score would be without its payments."""
    title = plain(f"{found.user} at {found.cutoff[:10]}: PD {found.pd:.1%}")
    if not found.given:
        limit = f"{found.threshold:.1%}"
        show(title, [("no reasons", f"PD below {limit}; --always gives them all the same")])
        return
    table = Table(title=title, title_justify="left")
    table.add_column("reason", overflow="fold")
    for heading in ("payments", "removed: logit", "removed: PD"):
        table.add_column(heading, justify="right")
    for heading, side in (("raises the score", found.risk), ("lowers it", found.protective)):
        table.add_section()
        table.add_row(f"[bold]{heading}[/]" if side else f"[bold]{heading}: nothing proved[/]")
        for reason in side:
            _add(table, reason)
    console.print(table)
    rows = [("facts tested by removal", f"{found.tested:,}")]
    if not found.risk:
        rows.append(("note", "no payments that are there raise it: what is missing may"))
    show("check", rows)


def _add(table: Table, reason: Reason) -> None:
    table.add_row(
        plain(reason.text),
        f"{len(reason.payments):,}",
        f"{-reason.effect:+.3f}",
        f"{reason.pd_without:.1%}",
    )
