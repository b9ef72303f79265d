"""The command line: every step from a raw file to an explained score on the screen.

Each command reads its options, calls one function of the library and shows what it returned.
"""

from __future__ import annotations

import sys

from lbsf_core.cli import (
    benches,
    data,
    dossier,
    evaluation,
    explaining,
    importance,
    models,
    reasons,
    screen,
    truth,
    whatif,
)
from lbsf_core.cli.common import app, console, plain
from lbsf_core.errors import LbsfError

__all__ = [
    "app",
    "benches",
    "data",
    "dossier",
    "evaluation",
    "explaining",
    "importance",
    "main",
    "models",
    "reasons",
    "screen",
    "truth",
    "whatif",
]


def main() -> None:
    """Run the command line; an error that the user can act on ends with its own exit code."""
    try:
        app()
    except LbsfError as error:
        console.print(f"[bold red]Error:[/] {plain(str(error))}", highlight=False)
        sys.exit(error.exit_code)
