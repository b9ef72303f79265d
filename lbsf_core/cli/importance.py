"""What moves scores in general: `lbsf importance`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from lbsf_core.cli.common import AsJson, Seed, app, console, plain, print_json

#: Groups shown on the terminal.
SHOWN = 20
_MEASURES = ("mean_abs", "mean", "share")


@app.command()
def importance(
    attributions: Annotated[Path, typer.Argument(help="Made by `lbsf explain-all`.")],
    by: Annotated[
        Literal["kind", "field", "time"],
        typer.Option(help="Kinds of merchants, fields, or days before the cutoff."),
    ] = "kind",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """What moves scores in general: by kind of merchant, field or time, with intervals by user."""
    from lbsf_core.explain.importance import importance as measure
    from lbsf_core.explain.importance import read_groups

    groups = read_groups(attributions, by)
    frame = measure(groups, seed=seed)
    samples, users = len(groups.samples), int(groups.samples["user_id"].nunique())
    if as_json:
        print_json(
            {
                "by": by,
                "samples": samples,
                "users": users,
                "max_gap": float(abs(groups.gaps).max()),
                "problems": groups.problems(),
                "groups": [_record(row) for row in frame.to_dict("records")],
            }
        )
        return
    heading = {"kind": "kind of merchant", "field": "field", "time": "days before the cutoff"}[by]
    table = Table(title=f"{samples:,} samples of {users:,} users", title_justify="left")
    table.add_column(heading)
    for name in ("samples", "moves a score by (logit, 95 %)", "raises it by (logit)", "share"):
        table.add_column(name, justify="right")
    there = frame[frame["samples"] > 0]
    for row in there.head(SHOWN).to_dict("records"):
        table.add_row(
            plain(str(row["group"])),
            f"{row['samples']:,}",
            f"{row['mean_abs']:.3f} ({row['mean_abs_lo']:.3f} to {row['mean_abs_hi']:.3f})",
            f"{row['mean']:+.3f} ({row['mean_lo']:+.3f} to {row['mean_hi']:+.3f})",
            f"{row['share']:.1%} ({row['share_lo']:.1%} to {row['share_hi']:.1%})",
        )
    console.print(table)
    if len(there) > SHOWN:
        console.print(f"and {len(there) - SHOWN:,} more: see --json")
    for problem in groups.problems():
        console.print(f"[bold red]PROBLEM[/] {plain(problem)}")


def _record(row: Any) -> dict[str, Any]:  # noqa: ANN401 - a row of `importance`
    """A group's figures, each with its interval."""
    figures = {
        name: {"value": row[name], "lo": row[f"{name}_lo"], "hi": row[f"{name}_hi"]}
        for name in _MEASURES
    }
    return {"name": row["group"], "samples": row["samples"], **figures}
