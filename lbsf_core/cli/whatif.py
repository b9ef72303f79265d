"""What if: edits of one user's payments, what would change the decision, what alone keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    read_edits,
    read_sample,
    show,
)
from lbsf_core.errors import EditError

if TYPE_CHECKING:
    from lbsf_core.explain.edits import Edit

Threshold = Annotated[float, typer.Option(help="PD below which a user is approved.")]
Merchants = Annotated[list[str] | None, typer.Option(help="May be repeated.")]


@app.command("what-if")
def what_if(
    store: StorePath,
    bundle: BundlePath,
    user: UserId,
    cutoff: Cutoff = None,
    remove: Merchants = None,
    scale: Annotated[
        list[str] | None, typer.Option(help="MERCHANT=FACTOR, as 'rent=0.5'; may be repeated.")
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="MERCHANT=DATE: no payments from then on.")
    ] = None,
    shift: Annotated[
        list[str] | None, typer.Option(help="MERCHANT=DAYS: later, or earlier where negative.")
    ] = None,
    window: Annotated[float | None, typer.Option(help="Only the last so many days.")] = None,
    edits: Annotated[
        str | None,
        typer.Option(
            help='Any edits as JSON, or a file of it: [{"kind": "add", "merchant": "x", '
            '"when": "2024-02-01", "amount": -20}].'
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change one user's payments, fold them again and see the score move."""
    from lbsf_core.explain.whatif import what_if as run
    from lbsf_core.model.bundle import Bundle

    made = [
        *_simple(remove or (), scale or (), stop or (), shift or (), window),
        *(read_edits(edits) if edits else ()),
    ]
    folded, batch = read_sample(store, user, cutoff)
    found = run(Bundle.load(bundle), batch, made, window_days=folded.config.window_days)
    if as_json:
        print_json(found.to_dict())
        return
    show(
        plain(f"{user}: PD {found.pd_before:.1%} -> {found.pd_after:.1%}"),
        [
            *(("edit", plain(edit.words())) for edit in found.edits),
            ("logit", f"{found.before:.4f} -> {found.after:.4f}"),
            ("payments", f"{len(batch.amounts):,} -> {len(found.edited.batch.amounts):,}"),
            ("left the history", f"{found.edited.left:,}"),
        ],
    )


@app.command()
def history(
    store: StorePath,
    bundle: BundlePath,
    user: UserId,
    cutoff: Cutoff = None,
    months: Annotated[int, typer.Option(help="How far back.", min=1)] = 12,
    as_json: AsJson = False,
) -> None:
    """The score of one user month by month, the cutoff moved back."""
    from lbsf_core.explain.whatif import score_history
    from lbsf_core.model.bundle import Bundle

    folded, batch = read_sample(store, user, cutoff)
    window = folded.config.window_days
    found = score_history(Bundle.load(bundle), batch, window_days=window, months=months)
    if as_json:
        print_json({"user": user, "history": [one.to_dict() for one in found]})
        return
    table = Table(title=plain(user), title_justify="left")
    for heading in ("cutoff", "PD", "logit", "payments", "window"):
        table.add_column(heading, justify="right")
    for one in found:
        known = "whole" if one.whole else "cut short"
        told = (f"{one.cutoff:%Y-%m-%d}", f"{one.pd:.1%}", f"{one.logit:.3f}")
        table.add_row(*told, f"{one.payments:,}", known)
    console.print(table)


@app.command()
def counterfactual(
    store: StorePath,
    bundle: BundlePath,
    user: UserId,
    threshold: Threshold,
    cutoff: Cutoff = None,
    leave: Annotated[
        list[str] | None, typer.Option(help="Merchant to be left alone; may be repeated.")
    ] = None,
    touch_regular: Annotated[
        bool, typer.Option("--touch-regular", help="Regular payments may go as well.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """The smallest changes that bring a score under a threshold, each scored from the start."""
    from lbsf_core.explain.counterfactual import counterfactuals
    from lbsf_core.model.bundle import Bundle

    _, batch = read_sample(store, user, cutoff)
    found = counterfactuals(
        Bundle.load(bundle), batch, threshold, leave=leave or (), touch_regular=touch_regular
    )
    if as_json:
        print_json(found.to_dict())
        return
    if found.told:
        console.print(plain(found.told))
    for number, answer in enumerate(found.answers):
        rows = [("change", plain(change.edit.words())) for change in answer.changes]
        rows.append(("PD", f"{found.pd:.1%} -> {answer.result.pd_after:.1%}"))
        rows.append(("touches", f"{answer.size:.1%} of the history"))
        show(f"answer {number + 1}", rows)


@app.command()
def sufficient(
    store: StorePath,
    bundle: BundlePath,
    user: UserId,
    threshold: Threshold,
    cutoff: Cutoff = None,
    as_json: AsJson = False,
) -> None:
    """The fewest merchants and payments of one user that alone keep the decision."""
    from lbsf_core.explain.sufficient import sufficient as run
    from lbsf_core.model.bundle import Bundle

    _, batch = read_sample(store, user, cutoff)
    found = run(Bundle.load(bundle), batch, threshold)
    if as_json:
        print_json(found.to_dict())
        return
    console.print(plain(found.words()))
    frame = batch.to_frame().iloc[found.payments]
    table = Table()
    for heading in ("merchant", "when", "amount", "description"):
        table.add_column(heading, justify="right" if heading == "amount" else "left")
    for row in frame.itertuples():
        told = (plain(str(row.merchant)), f"{row.timestamp:%Y-%m-%d %H:%M}", f"{row.amount:,.2f}")
        table.add_row(*told, plain(str(row.description)))
    console.print(table)


def _simple(
    remove: Sequence[str],
    scale: Sequence[str],
    stop: Sequence[str],
    shift: Sequence[str],
    window: float | None,
) -> Iterator[Edit]:
    """Edits from the short options."""
    from lbsf_core.explain.edits import Edit

    for merchant in remove:
        yield Edit("remove", merchant)
    for kind, key, given in (
        ("scale", "factor", scale),
        ("remove", "since", stop),
        ("shift", "days", shift),
    ):
        for pair in given:
            merchant, equals, value = pair.rpartition("=")
            if not equals:
                raise EditError(f"'{pair}' must read MERCHANT=VALUE.")
            yield Edit.from_dict({"kind": kind, "merchant": merchant, key: value})
    if window is not None:
        yield Edit("window", days=window)
