"""Take it away: a case, or cohorts, as the page shows them, on one page."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import streamlit as st

from dashboard import state
from dashboard.components import filters, formats, shell
from lbsf_core.workspace import Case, SampleFilter

Form = Literal["html", "pdf"]
#: Word on the button -> ending of the file, kind of the file.
FORMS: dict[str, tuple[Form, str]] = {
    "HTML": ("html", "text/html"), "PDF": ("pdf", "application/pdf"),
}  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """How the page explains the case: engine, baseline, and merchants whose payments are valued."""

    method: str
    baseline: str | None
    opened: tuple[str, ...] = ()


def show(
    source: state.Source, case: Case, shown: Shown, edits: Sequence[dict[str, object]]
) -> None:
    """Who takes it and in which form; the edits under "what if" go with it."""
    shell.section(
        "Take it away",
        "The case on one page: score, reasons, payments, attributions, the edits above, and what "
        "made them. The HTML holds its data: `lbsf replay` asks the same model again.",
    )
    _forms(
        "dossier",
        lambda form: _file_name(case, form),
        lambda by, form: state.dossier(
            source, case, by, form, method=shown.method, baseline=shown.baseline,
            opened=shown.opened, edits=tuple(edits),
        ),
    )  # fmt: skip


def cohorts(
    source: state.Source,
    a: SampleFilter,
    b: SampleFilter,
    names: tuple[str, str],
    beside: tuple[tuple[str, SampleFilter], ...] = (),
) -> None:
    """The same of two cohorts in detail and others: who takes the report, and in which form."""
    shell.section(
        "Take it away",
        "All cohorts on one page, with what they are made of. The address of this page opens the "
        "comparison again.",
    )
    words = tuple(filters.in_words(each, "plain") for each in (a, b, *(one for _, one in beside)))
    _forms(
        "report",
        lambda form: f"cohorts.{form}",
        lambda by, form: state.cohort_report(
            source, a, b, names, form, beside=beside, words=words, by=by
        ),
    )


def _forms(what: str, file_name: Callable[[Form], str], make: Callable[[str, Form], bytes]) -> None:
    """Who takes it, and a button a form.

    Args:
        what: "dossier" or "report"; what the buttons' keys begin with.
        file_name: of a form.
        make: the file, from who takes it and its form: when it is asked for, not whenever the
            page is drawn.
    """
    with st.container(horizontal=True, vertical_alignment="bottom"):
        by = st.text_input(
            "Your name", key="analyst", max_chars=60, width=260, placeholder=f"named in the {what}"
        )
        for label, (form, mime) in FORMS.items():
            st.download_button(
                label, partial(make, by or state.NAMELESS, form), file_name=file_name(form),
                mime=mime,
                on_click="ignore", icon=":material/download:", key=f"{what}_{form}",
            )  # fmt: skip


def _file_name(case: Case, form: str) -> str:
    """Which case it is, in letters that every file system takes."""
    who = re.sub(r"[^A-Za-z0-9_-]+", "_", case.user_id)[:60]
    return f"dossier-{who}-{formats.day(case.cutoff)}.{form}"
