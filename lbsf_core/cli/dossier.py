"""Dossiers: a case on one page to take away, and the check that it is true."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer

from lbsf_core.cli.common import (
    AsJson,
    Cutoff,
    Out,
    UserId,
    app,
    console,
    instant,
    plain,
    print_json,
    read_edits,
    show,
)
from lbsf_core.errors import DossierError
from lbsf_core.files import atomic_write

WorkspacePath = Annotated[Path, typer.Argument(help="Workspace, made by `lbsf workspace`.")]
#: Differences that are printed.
_SHOWN = 10


@app.command()
def dossier(
    workspace: WorkspacePath,
    user: UserId,
    out: Out,
    cutoff: Cutoff = None,
    method: Annotated[str, typer.Option(help="gradient or removal.")] = "gradient",
    baseline: Annotated[
        str | None, typer.Option(help="What the score is held against; the method's own if left.")
    ] = None,
    merchant: Annotated[
        list[str] | None,
        typer.Option(help="With removal: value this merchant's payments; may be given again."),
    ] = None,
    edits: Annotated[
        str | None, typer.Option(help="A what-if to show, as `lbsf what-if --edits` reads it.")
    ] = None,
    language: Annotated[str, typer.Option(help="Of the reasons; en and de ship.")] = "en",
    by: Annotated[
        str | None, typer.Option(help="Who makes it; the name you are logged in with if left out.")
    ] = None,
) -> None:
    """Write a case as one page: HTML that `lbsf replay` can check, or PDF, by the name's ending."""
    from lbsf_core.workspace import Workspace

    if out.suffix not in (".html", ".pdf"):
        raise DossierError(f"{out}: end the name in .html or .pdf.")
    opened = Workspace.open(workspace)
    when = instant(cutoff)
    case = opened.case(user, when.to_pydatetime() if when is not None else None)
    changes = tuple(edit.to_dict() for edit in read_edits(edits)) if edits else ()
    page = opened.dossier(
        case,
        by=by or getpass.getuser(),
        form="pdf" if out.suffix == ".pdf" else "html",
        method=method,
        baseline=baseline,
        opened=tuple(merchant or ()),
        edits=changes,
        language=language,
    )
    with atomic_write(out) as path:
        path.write_bytes(page)
    console.print(f"{plain(str(out))} is ready.")


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="HTML dossier.")],
    workspace: WorkspacePath = Path(".lbsf/demo/workspace"),
    as_json: AsJson = False,
) -> None:
    """Ask again what a dossier says, and compare every number; refused where data or model differ.

    Ends with status 1 where a number or a word comes out differently.
    """
    from lbsf_core.workspace import Workspace
    from lbsf_core.workspace.dossier import replay as run

    found = run(file, Workspace.open(workspace))
    if as_json:
        print_json(
            {
                "reproduced": not found.differences,
                "numbers": found.numbers,
                "largest_difference": found.largest,
                "where": found.where,
                "other_code": found.other_code,
                "differences": list(found.differences),
            }
        )
    else:
        rows = [
            ("numbers compared", f"{found.numbers:,}"),
            ("largest difference", f"{found.largest:.1e} {found.where}"),
            ("reproduced", "no" if found.differences else "yes"),
        ]
        if found.other_code:
            rows.append(("note", "another version of lbsf made it; its page was not compared"))
        rows += [("differs", words) for words in found.differences[:_SHOWN]]
        if len(found.differences) > _SHOWN:
            rows.append(("differs", f"and {len(found.differences) - _SHOWN:,} more"))
        show(str(file), rows)
    if found.differences:
        raise typer.Exit(1)
