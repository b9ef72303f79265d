"""Why: explain one user, or every sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from lbsf_core.cli.common import (
    AsJson,
    BundlePath,
    Cutoff,
    EngineName,
    Master,
    Out,
    Seed,
    StorePath,
    UserId,
    app,
    bar_of,
    console,
    plain,
    print_json,
    read_sample,
    show,
)
from lbsf_core.errors import LbsfError
from lbsf_core.spark import LOCAL

if TYPE_CHECKING:
    from lbsf_core.explain.result import Explanation

#: Rows of a table on the terminal.
SHOWN = 20


@app.command()
def explain(
    store: StorePath,
    bundle: BundlePath,
    user: UserId,
    cutoff: Cutoff = None,
    method: Annotated[
        Literal["gradient", "removal"],
        typer.Option(
            help="gradient: from a typical payment, down to the fields. removal: Shapley values of "
            "merchants, from the empty history, by refolding without them."
        ),
    ] = "gradient",
    baseline: Annotated[
        str | None,
        typer.Option(
            help="What the score is held against: typical payment (gradient), empty history "
            "(removal), typical user or cohort mean (either)."
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="PD below which a user may be typical; the median if left out."),
    ] = None,
    merchant: Annotated[
        list[str] | None,
        typer.Option(help="With removal: value this merchant's payments too; may be repeated."),
    ] = None,
    budget: Annotated[int, typer.Option(help="With removal: coalitions, about.", min=1)] = 2000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Explain one score: merchants, payments and fields that add up, and where the model looked."""
    from lbsf_core.explain.engines import explain_one
    from lbsf_core.model.bundle import Bundle

    if merchant and method != "removal":
        raise LbsfError("--merchant goes with --method removal.")
    folded, batch = read_sample(store, user, cutoff)
    found = explain_one(
        folded,
        Bundle.load(bundle),
        batch,
        method=method,
        baseline=baseline,
        threshold=threshold,
        opened=merchant or (),
        budget=budget,
        seed=seed,
    )
    if as_json:
        print_json(found.to_dict())
    else:
        _show(found)


def _show(found: Explanation) -> None:
    """The merchants that move the score most, and the payments of those that were asked for."""
    title = plain(f"{found.user} at {found.cutoff}: PD {found.pd:.1%}")
    table = Table(title=title, title_justify="left")
    for heading in ("merchant, payment", "payments", "total", "attribution (logit)", "95 %"):
        table.add_column(heading, justify="left" if heading.startswith("merchant") else "right")
    table.add_column("attention", justify="right")
    frame, payments = found.merchants_frame(), found.payments_frame()
    frame = frame.reindex(frame["attribution"].abs().sort_values(ascending=False).index)
    opened = set() if found.opened is None else set(frame.index[found.opened[frame.index]])
    for place, row in enumerate(frame.to_dict("records")):
        if place >= SHOWN and row["segment"] not in opened:
            continue
        told = (f"{row['payments']:,}", f"{row['total']:,.2f}")
        _add(table, plain(str(row["merchant"])), told, row)
        if row["segment"] in opened:
            own = payments[payments["segment"] == row["segment"]]
            own = own.reindex(own["attribution"].abs().sort_values(ascending=False).index)
            for payment in own.head(SHOWN).to_dict("records"):
                name = f"  {payment['timestamp']:%Y-%m-%d %H:%M}"
                _add(table, name, ("", f"{payment['amount']:,.2f}"), payment)
    console.print(table)
    rows = [
        ("method", found.method),
        ("logit", f"{found.logit:.4f}"),
        ("baseline logit", f"{found.baseline_logit:.4f} ({plain(found.baseline)})"),
        ("completeness error", f"{found.delta:+.1e}"),
    ]
    if found.others:
        rows.append(("not paying where only the baseline does", f"{found.others:+.3f}"))
    if found.coalitions:
        rows.append(("coalitions", f"{found.coalitions:,}"))
    rows += [("PROBLEM", problem) for problem in found.problems()]
    show("check", rows + [("note", plain(warning)) for warning in found.warnings])


def _add(table: Table, name: str, told: tuple[str, str], row: Mapping[Any, Any]) -> None:
    """A row of a merchant or a payment."""
    sampled = row["hi"] > row["lo"]
    interval = f"{row['lo']:+.3f} to {row['hi']:+.3f}" if sampled else ""
    value = f"{row['attribution']:+.3f}"
    table.add_row(name, *told, value, interval, f"{row['weight']:.1%}")


@app.command()
def attention(
    store: StorePath,
    bundle: BundlePath,
    user: UserId,
    cutoff: Cutoff = None,
    as_json: AsJson = False,
) -> None:
    """Where the model looked in one history, by head too, and how evenly. Never a cause."""
    from lbsf_core.explain.attention import attention_view
    from lbsf_core.model.bundle import Bundle

    _, batch = read_sample(store, user, cutoff)
    found = attention_view(Bundle.load(bundle).model, batch)
    if as_json:
        print_json({"user": user} | found.to_dict())
        return
    even = f"{found.merchant_entropy[1]:.0%} as even as can be"
    table = Table(title=plain(f"{user}: attention over merchants, {even}"), title_justify="left")
    for heading in ("merchant", "attention", "looks most at", "weight"):
        table.add_column(heading, justify="right" if heading in ("attention", "weight") else "left")
    relations = found.relations
    for at in found.merchant_weights.argsort()[::-1][:SHOWN]:
        to = int(relations[at].argmax())
        table.add_row(
            plain(found.merchants[at]),
            f"{found.merchant_weights[at]:.1%}",
            plain(found.merchants[to]),
            f"{relations[at, to]:.1%}",
        )
    console.print(table)


@app.command()
def pairs(
    store: StorePath,
    bundle: BundlePath,
    user: UserId,
    cutoff: Cutoff = None,
    by: Annotated[
        Literal["interaction", "relation"], typer.Option(help="Which comes first.")
    ] = "interaction",
    as_json: AsJson = False,
) -> None:
    """Pairs of merchants: what both are worth beyond each alone, and the relation weight beside."""
    from lbsf_core.explain.engines import pairs as run
    from lbsf_core.model.bundle import Bundle

    _, batch = read_sample(store, user, cutoff)
    frame = run(Bundle.load(bundle).model, batch)
    order = frame[by].abs().sort_values(ascending=False, kind="stable").index
    rows = frame.loc[order].to_dict("records")
    if as_json:
        print_json({"user": user, "pairs": rows})
        return
    table = Table(title=plain(user), title_justify="left")
    for heading in ("merchant", "merchant ", "interaction (logit)", "relation weight"):
        table.add_column(heading, justify="left" if "merchant" in heading else "right")
    for row in rows[:SHOWN]:
        names = (plain(row["merchant"]), plain(row["merchant_2"]))
        table.add_row(*names, f"{row['interaction']:+.3f}", f"{row['relation']:.1%}")
    console.print(table)


@app.command("explain-all")
def explain_all(
    store: StorePath,
    bundle: BundlePath,
    out: Out,
    reasons: Annotated[
        int,
        typer.Option(help="Samples, drawn at random, that are asked for reason codes too.", min=0),
    ] = 500,
    workers: Annotated[
        int | None, typer.Option(help="Processes at most; as many as cores if left out.", min=1)
    ] = None,
    engine: EngineName = "local",
    master: Master = LOCAL,
) -> None:
    """Explain every sample, down to fields of payments: for `lbsf workspace`, `lbsf importance`.

    A run that was killed goes on when the same command is given again.
    """
    from lbsf_core.explain.explain_all import write_attributions
    from lbsf_core.fold.store import FoldedStore
    from lbsf_core.model.bundle import Bundle

    if engine == "spark":
        from lbsf_core.explain.spark import explain_on_spark

        explain_on_spark(FoldedStore.open(store), bundle, out, master=master, reasons=reasons)
        console.print(f"{plain(str(out))} is ready.")
        return
    with bar_of() as bar:
        write_attributions(
            FoldedStore.open(store),
            Bundle.load(bundle),
            out,
            lambda d, n: bar("explaining payments", d, n),
            reasons=reasons,
            workers=workers,
        )
    console.print(f"{plain(str(out))} is ready.")
