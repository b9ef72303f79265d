"""Why: explain one user, or every sample."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from lbsf_core.cli.common import (
    AsJson,
    BundlePath,
    Out,
    StorePath,
    app,
    bar_of,
    console,
    plain,
    print_json,
    show,
)
from lbsf_core.errors import LbsfError


@app.command()
def explain(
    store: StorePath,
    bundle: BundlePath,
    user: Annotated[str, typer.Option(help="User id.")],
    cutoff: Annotated[
        str | None, typer.Option(help="ISO date or time (UTC); the latest if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Explain one score: merchants, payments and fields that add up, and where the model looked."""
    import pandas as pd

    from lbsf_core.explain.gradient import explain as run
    from lbsf_core.fold.store import FoldedStore
    from lbsf_core.model.bundle import Bundle

    folded = FoldedStore.open(store)
    when = None if cutoff is None else _instant(cutoff)
    sample = folded.find(user, None if when is None else pd.Timestamp(when))
    found = run(Bundle.load(bundle), folded.read([sample]))[0]
    if as_json:
        print_json(found.to_dict())
        return
    frame = found.merchants_frame()
    frame = frame.reindex(frame["attribution"].abs().sort_values(ascending=False).index)
    table = Table(title=plain(f"{user} at {found.cutoff}: PD {found.pd:.1%}"), title_justify="left")
    for heading in ("merchant", "payments", "total", "attribution (logit)", "attention"):
        table.add_column(heading, justify="left" if heading == "merchant" else "right")
    for row in frame.head(20).itertuples():
        table.add_row(
            plain(str(row.merchant)),
            f"{row.payments:,}",
            f"{row.total:,.2f}",
            f"{row.attribution:+.3f}",
            f"{row.weight:.1%}",
        )
    console.print(table)
    rows = [
        ("logit", f"{found.logit:.4f}"),
        ("baseline logit", f"{found.baseline_logit:.4f} ({found.baseline})"),
        ("completeness error", f"{found.delta:+.1e}"),
    ]
    show("check", rows + [("PROBLEM", problem) for problem in found.problems()])


def _instant(text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise LbsfError(f"--cutoff '{text}' is no ISO date; write it as 2016-10-01.") from error
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


@app.command("explain-all")
def explain_all(store: StorePath, bundle: BundlePath, out: Out) -> None:
    """Explain every sample at merchant level, to be handed to `lbsf workspace --attributions`."""
    from lbsf_core.explain.batch import write_attributions
    from lbsf_core.fold.store import FoldedStore
    from lbsf_core.model.bundle import Bundle

    with bar_of() as bar:
        write_attributions(
            FoldedStore.open(store), Bundle.load(bundle), out, lambda d, n: bar("explaining", d, n)
        )
    console.print(f"{plain(str(out))} is ready.")
