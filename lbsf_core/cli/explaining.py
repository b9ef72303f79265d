"""Why: explain one user, or every sample."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from lbsf_core.cli.common import (
    AsJson,
    BundlePath,
    Out,
    Seed,
    StorePath,
    app,
    bar_of,
    console,
    plain,
    print_json,
    show,
)
from lbsf_core.errors import LbsfError

#: Rows of a table on the terminal.
SHOWN = 20


@app.command()
def explain(
    store: StorePath,
    bundle: BundlePath,
    user: Annotated[str, typer.Option(help="User id.")],
    cutoff: Annotated[
        str | None, typer.Option(help="ISO date or time (UTC); the latest if left out.")
    ] = None,
    method: Annotated[
        Literal["gradient", "removal"],
        typer.Option(
            help="gradient: from a typical payment, down to the fields. removal: Shapley values of "
            "merchants, from the empty history, by refolding without them."
        ),
    ] = "gradient",
    merchant: Annotated[
        str | None, typer.Option(help="With removal: value this merchant's payments as well.")
    ] = None,
    budget: Annotated[int, typer.Option(help="With removal: coalitions, about.", min=1)] = 2000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Explain one score: merchants, payments and fields that add up, and where the model looked."""
    import pandas as pd

    from lbsf_core.explain.gradient import explain as run
    from lbsf_core.explain.removal import explain_by_removal
    from lbsf_core.fold.store import FoldedStore
    from lbsf_core.model.bundle import Bundle

    if merchant is not None and method != "removal":
        raise LbsfError("--merchant goes with --method removal.")
    folded = FoldedStore.open(store)
    when = None if cutoff is None else _instant(cutoff)
    sample = folded.find(user, None if when is None else pd.Timestamp(when))
    if method == "removal":
        one = folded.read([sample])
        removal = explain_by_removal(
            Bundle.load(bundle), one, merchant=merchant, budget=budget, seed=seed
        )
        if as_json:
            print_json(removal)
        else:
            _show_removal(removal)
        return
    found = run(Bundle.load(bundle), folded.read([sample]))[0]
    if as_json:
        print_json(found.to_dict())
        return
    frame = found.merchants_frame()
    frame = frame.reindex(frame["attribution"].abs().sort_values(ascending=False).index)
    table = Table(title=plain(f"{user} at {found.cutoff}: PD {found.pd:.1%}"), title_justify="left")
    for heading in ("merchant", "payments", "total", "attribution (logit)", "attention"):
        table.add_column(heading, justify="left" if heading == "merchant" else "right")
    for row in frame.head(SHOWN).itertuples():
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


@app.command()
def faithfulness(
    store: StorePath,
    bundle: BundlePath,
    users: Annotated[int, typer.Option(help="Samples to measure on.", min=1)] = 200,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Measure explanations: take out what they name, or keep it alone, and see the score move."""
    from lbsf_core.explain.faithfulness import MEASURES
    from lbsf_core.explain.faithfulness import faithfulness as run
    from lbsf_core.fold.store import FoldedStore
    from lbsf_core.model.bundle import Bundle

    with bar_of() as bar:
        found = run(
            FoldedStore.open(store),
            Bundle.load(bundle),
            users=users,
            seed=seed,
            progress=lambda d, n: bar("measuring", d, n),
        )
    if as_json:
        print_json(found)
        return
    for level, part in (("merchants", found), ("payments", found["payments"])):
        for measure in MEASURES:
            title = f"{measure} over {level}, {part['users']} samples"
            table = Table(title=title, title_justify="left")
            table.add_column("method")
            table.add_column("0 to 1", justify="right")
            table.add_column(f"{found['default']} is above by", justify="right")
            for name, measures in part["methods"].items():
                gap = part["differences"].get(f"default - {name}", {}).get(measure)
                told = f"{gap['mean']:+.3f} ({gap['lo']:+.3f} to {gap['hi']:+.3f})" if gap else ""
                table.add_row(name, f"{measures[measure]:.3f}", told)
            console.print(table)


@app.command()
def planted(
    store: StorePath,
    bundle: BundlePath,
    causes: Annotated[Path, typer.Argument(help="causes.parquet of `lbsf simulate`.")],
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """On simulated payments: how often is the planted cause among the first three named?"""
    from lbsf_core.explain.planted import planted as run
    from lbsf_core.fold.store import FoldedStore
    from lbsf_core.model.bundle import Bundle

    with bar_of() as bar:
        found = run(
            FoldedStore.open(store),
            Bundle.load(bundle),
            causes,
            seed=seed,
            progress=lambda d, n: bar("explaining", d, n),
        )
    if as_json:
        print_json(found)
        return
    pairs = found["pairs"]
    rows = [(name, _share(share)) for name, share in found["methods"].items()]
    rows.append((f"pair first by interaction ({pairs['samples']})", _share(pairs["first"])))
    show(f"true merchant in the first three, {found['samples']} samples", rows)


def _share(found: dict[str, float | None]) -> str:
    if found["found"] is None:
        return "none"
    return f"{found['found']:.0%} ({found['lo']:.0%} to {found['hi']:.0%})"


def _show_removal(found: dict[str, Any]) -> None:
    """The merchants that move the score most, and the payments that were asked for."""
    title = plain(f"{found['user']} at {found['cutoff']}: PD {found['pd']:.1%}")
    table = Table(title=title, title_justify="left")
    for heading in ("merchant, payment", "amount", "value (logit)", "95 % interval"):
        table.add_column(heading, justify="left" if heading.startswith("merchant") else "right")
    ordered = sorted(found["merchants"], key=lambda row: -abs(row["value"]))
    for row in [r for at, r in enumerate(ordered) if at < SHOWN or r["payments"]]:
        entries = [(plain(row["merchant"]), "", row)]
        for payment in sorted(row["payments"] or (), key=lambda p: -abs(p["value"]))[:SHOWN]:
            entries.append((f"  {payment['timestamp']}", f"{payment['amount']:,.2f}", payment))
        for name, amount, value in entries:
            interval = "exact"
            if value["hi"] > value["lo"]:
                interval = f"{value['lo']:+.3f} to {value['hi']:+.3f}"
            table.add_row(name, amount, f"{value['value']:+.3f}", interval)
    console.print(table)
    show(
        "check",
        [
            ("logit", f"{found['logit']:.4f}"),
            ("logit of the empty history", f"{found['baseline_logit']:.4f}"),
            ("merchants miss their difference by", f"{found['delta']:+.1e}"),
            ("coalitions", f"{found['coalitions']:,}"),
        ],
    )


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
