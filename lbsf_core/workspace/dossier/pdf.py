"""A dossier's page as PDF, A4. `lbsf replay` needs the HTML, which holds the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fpdf import FPDF

from lbsf_core.workspace.dossier.view import Lane, View, view
from lbsf_core.workspace.paper import FONT, INK, SOFT, line, paper

_UP, _DOWN, _LINE = (179, 71, 0), (0, 103, 165), (216, 222, 228)
#: Millimetres: a lane's height, and where its parts begin and end.
_LANE = 5.2
_NAME, _COUNT, _SUM, _TIME, _BAR, _EFFECT = 12.0, 58.0, 66.0, 96.0, 142.0, 170.0
#: Cited payments that are listed, and where their cells begin: time, merchant, description, amount.
_CITED, _CELLS = 24, (12.0, 40.0, 96.0, 152.0)


def pdf_page(dossier: Mapping[str, Any]) -> bytes:
    """The page of a dossier's data; a second one only where reasons and notes are long.

    Raises:
        DossierError: the font that writes every merchant's name is not installed.
    """
    found = view(dossier)
    pdf = paper(dossier["made"]["at"], found.title)
    line(pdf, found.title, size=13, bold=True)
    line(pdf, f"{found.pd}  probability of default · {found.band}", size=12, bold=True)
    for note in found.notes:
        line(pdf, f"! {note}", size=7.5, colour=_UP)
    line(pdf, "  ·  ".join(f"{k}: {v}" for k, v in found.figures), size=7.5, colour=SOFT)
    for title, side, nothing in (
        ("Why the score is what it is", found.risk, "No payments by themselves raise this score."),
        ("What speaks for the user", found.protective, "No payments by themselves lower it."),
    ):
        line(pdf, title, size=9.5, bold=True, above=1.5)
        for number, (sentence, without) in enumerate(side, 1):
            line(pdf, f"{number}. {sentence} ({without})", size=8)
        if not side:
            line(pdf, nothing, size=8, colour=SOFT)
    line(pdf, "Payments by merchant, and what each does to the score", 9.5, bold=True, above=1.5)
    _lanes(pdf, found)
    line(pdf, found.rest, size=7.5, colour=SOFT)
    line(pdf, found.summed, size=7.5, colour=INK if found.adds_up else _UP)
    line(pdf, found.truth, size=7.5, colour=SOFT)
    if found.what_if:
        line(pdf, "What if", size=9.5, bold=True, above=1.5)
        for edit in found.what_if:
            line(pdf, edit, size=8)
    _cited(pdf, found)
    line(pdf, "Where this comes from", size=9.5, bold=True, above=1.5)
    for label, value in found.made:
        line(pdf, f"{label}: {value}", size=6.5, colour=SOFT)
    return bytes(pdf.output())


def _cited(pdf: FPDF, found: View) -> None:
    """The payments that reasons cite, the latest of them."""
    if not found.cited:
        return
    shown = found.cited[:_CITED]
    title = f"Payments that the reasons cite ({len(found.cited)})"
    if len(shown) < len(found.cited):
        title = f"The latest {len(shown)} of {len(found.cited)} payments that the reasons cite"
    line(pdf, title, size=9.5, bold=True, above=1.5)
    pdf.set_font(FONT, "", 6.5)
    pdf.set_text_color(*INK)
    for row in shown:
        if pdf.will_page_break(3.2):
            pdf.add_page()
        for at, cell in zip(_CELLS, row, strict=True):
            pdf.text(at, pdf.get_y() + 2.4, cell)
        pdf.set_y(pdf.get_y() + 3.2)


def _lanes(pdf: FPDF, found: View) -> None:
    pdf.set_font(FONT, "", 6.5)
    pdf.set_text_color(*SOFT)
    top = pdf.get_y() + 3
    for at, words in (
        (_NAME, "merchant"),
        (_COUNT, "no."),
        (_SUM, f"sum ({found.currency})"),
        (_TIME, f"{found.ends[0]} to {found.ends[1]}"),
        (_BAR, "logit"),
    ):
        pdf.text(at, top, words)
    pdf.set_y(top + 1)
    for lane in found.lanes:
        if pdf.will_page_break(_LANE):
            pdf.add_page()
        _lane(pdf, lane, found.zero, pdf.get_y() + _LANE / 2)
        pdf.set_y(pdf.get_y() + _LANE)


def _lane(pdf: FPDF, lane: Lane, zero: float, middle: float) -> None:
    """One merchant: name, count, sum, dots over time, bar with its interval, value."""
    pdf.set_font(FONT, "", 6.5)
    pdf.set_text_color(*INK)
    pdf.text(_NAME, middle + 0.8, lane.name)
    pdf.text(_COUNT, middle + 0.8, lane.payments)
    pdf.text(_SUM, middle + 0.8, lane.total)
    pdf.text(_EFFECT, middle + 0.8, lane.effect)
    pdf.set_draw_color(*_LINE)
    pdf.line(_TIME, middle, _BAR - 4, middle)
    pdf.set_draw_color(*INK)
    pdf.set_fill_color(*INK)
    pdf.set_line_width(0.1)
    for when, size, inward in lane.dots:
        radius = 0.3 + 1.4 * size
        x = _TIME + 1.7 + (_BAR - 7.4 - _TIME) * when
        pdf.circle(x, middle, radius, style="D" if inward else "F")
    width = _EFFECT - 2 - _BAR
    pdf.set_fill_color(*(_UP if lane.raises else _DOWN))
    start, end = lane.bar
    pdf.rect(_BAR + width * start, middle - 1.3, max(width * (end - start), 0.05), 2.6, style="F")
    if lane.whisker:
        left, right = (_BAR + width * at for at in lane.whisker)
        pdf.line(left, middle, right, middle)
    pdf.set_draw_color(*SOFT)
    pdf.line(_BAR + width * zero, middle - 2, _BAR + width * zero, middle + 2)
