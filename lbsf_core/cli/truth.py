"""Is it true? Explanations measured on users, and against planted causes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from lbsf_core.cli.common import (
    AsJson,
    BundlePath,
    Seed,
    StorePath,
    app,
    bar_of,
    console,
    plain,
    print_json,
    show,
)


@app.command()
def faithfulness(
    store: StorePath,
    bundle: BundlePath,
    users: Annotated[int, typer.Option(help="Samples to measure on, one a user.", min=1)] = 200,
    kept: Annotated[
        bool, typer.Option("--keep", help="Write what was found into the bundle.")
    ] = False,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Measure explanations: take out what they name, or keep it alone, and see the score move.

    And: what attention is worth, captum's infidelity and sensitivity, whether an explanation
    survives a random model, and whether it hangs on the seed.
    """
    from lbsf_core.explain.truth import keep, truth
    from lbsf_core.fold.store import FoldedStore
    from lbsf_core.model.bundle import Bundle

    folded, model = FoldedStore.open(store), Bundle.load(bundle)
    with bar_of() as bar:
        found = truth(folded, model, users=users, seed=seed, progress=bar)
    if kept:
        keep(found, bundle, model, folded, seed=seed)
    if as_json:
        print_json(found)
    else:
        _show(found)
    if kept:
        console.print(f"kept in {plain(str(bundle))}")


def _show(found: Mapping[str, Any]) -> None:
    """Every part as a table."""
    from lbsf_core.explain.faithfulness import MEASURES

    for level, part in (("merchants", found), ("payments", found["payments"])):
        for measure in MEASURES:
            rows = []
            for name, measures in part["methods"].items():
                gap = part["differences"].get(f"default - {name}", {}).get(measure)
                told = _figure(gap, signed=True) if gap else ""
                rows.append((name, f"{measures[measure]:.3f}", told))
            title = f"{measure} over {level}, {part['users']} users (1 = most)"
            _table(title, ("method", "0 to 1", f"{part['default']} is above by"), rows)
    _show_sanity(found["infidelity"], found["sensitivity"])
    _show_randomisation(found["randomisation"])
    _show_stability(found["stability"])
    _show_attention(found["attention_uniform"])


def _show_sanity(wrong: Mapping[str, Any], moved: Mapping[str, Any]) -> None:
    ways = ("vectors", "refolding")
    rows = [
        (
            name,
            *(_figure(wrong[way][name], digits=2) for way in ways),
            _figure(moved["methods"].get(name), digits=2),
        )
        for name in wrong["vectors"]
    ]
    _table(
        f"infidelity and sensitivity, {wrong['users']} and {moved['users']} users (0 = best)",
        ("method", "vectors", "refolding", "sensitivity"),
        rows,
    )


def _show_randomisation(found: Mapping[str, Any]) -> None:
    if not found["stages"]:
        return
    rows = [
        (f"{stage}: {name}", _figure(told, signed=True, digits=2), f"{told['size']:.2f}")
        for stage, methods in found["stages"].items()
        for name, told in methods.items()
    ]
    _table(
        f"random from the top down to, {found['users']} users x {found['seeds']} random models",
        ("part", "rank correlation", f"its size (by chance {found['chance']:.2f})"),
        rows,
    )


def _show_stability(found: Mapping[str, Any]) -> None:
    title = (
        f"removal, {found['seeds']} seeds, {found['budget']:,} coalitions, {found['users']} users "
        f"({found['sampled']} sampled)"
    )
    first = f"first {found['top']} merchants"
    rows = [
        (f"the same {first}", _share(found["identical"], "share")),
        ("flagged as unstable", _share(found["flagged"], "share")),
        (f"the same {first}, of those not flagged", _share(found["identical_unflagged"], "share")),
    ]
    show(title, rows)


def _show_attention(found: Mapping[str, Any]) -> None:
    seen = "that training never saw" if found["unseen"] else "that training may have seen"
    title = f"AUC with attention forced uniform, {found['samples']} samples {seen}"
    rows = [("bad among them", f"{found['bad']:,}")]
    if found["learned"]:
        rows += [
            ("attention as learned", _figure(found["learned"])),
            ("attention uniform", _figure(found["uniform"])),
            ("what learned attention adds", _figure(found["difference"], signed=True)),
        ]
    show(title, rows)


def _table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table whose first column is text and whose others are figures."""
    table = Table(title=plain(title), title_justify="left")
    for at, heading in enumerate(headings):
        table.add_column(plain(heading), justify="right" if at else "left")
    for row in rows:
        table.add_row(*(plain(cell) for cell in row))
    console.print(table)


def _figure(found: Mapping[str, float] | None, *, signed: bool = False, digits: int = 3) -> str:
    """A mean and its interval; nothing where there is none."""
    if not found:
        return ""
    form = f"{'+' if signed else ''}.{digits}f"
    mean, lo, hi = (format(found[key], form) for key in ("mean", "lo", "hi"))
    return f"{mean} ({lo} to {hi})"


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


def _share(found: Mapping[str, float | None], key: str = "found") -> str:
    """A share and its interval in percent; "none" where there was nothing to count."""
    if found[key] is None:
        return "none"
    return f"{found[key]:.0%} ({found['lo']:.0%} to {found['hi']:.0%})"
