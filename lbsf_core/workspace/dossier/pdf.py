"""A dossier's page as PDF, A4. `lbsf replay` needs the HTML, which holds the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fpdf import FPDF
from fpdf.enums import XPos, YPos

from lbsf_core.errors import DossierError
from lbsf_core.workspace.dossier.view import Lane, View, view

_UP, _DOWN, _INK, _SOFT, _LINE = (
    (179, 71, 0),
    (0, 103, 165),
    (31, 35, 40),
    (89, 99, 110),
    (216, 222, 228),
)
#: Millimetres: margins, a lane's height, and where its parts begin and end.
_MARGIN, _LANE = 12.0, 5.2
_NAME, _COUNT, _SUM, _TIME, _BAR, _EFFECT = 12.0, 58.0, 66.0, 96.0, 142.0, 170.0
_FONT = "DejaVu"
#: Cited payments that are listed, and where their cells begin: time, merchant, description, amount.
_CITED, _CELLS = 24, (12.0, 40.0, 96.0, 152.0)


def pdf_page(dossier: Mapping[str, Any]) -> bytes:
    """The page of a dossier's data; a second one only where reasons and notes are long.

    Raises:
        DossierError: the font that writes every merchant's name is not installed.
    """
    found = view(dossier)
    pdf = _paper(dossier["made"]["at"], found.title)
    _line(pdf, found.title, size=13, bold=True)
    _line(pdf, f"{found.pd}  probability of default · {found.band}", size=12, bold=True)
    for note in found.notes:
        _line(pdf, f"! {note}", size=7.5, colour=_UP)
    _line(pdf, "  ·  ".join(f"{k}: {v}" for k, v in found.figures), size=7.5, colour=_SOFT)
    for title, side, nothing in (
        ("Why the score is what it is", found.risk, "No payments by themselves raise this score."),
        ("What speaks for the user", found.protective, "No payments by themselves lower it."),
    ):
        _line(pdf, title, size=9.5, bold=True, above=1.5)
        for number, (sentence, without) in enumerate(side, 1):
            _line(pdf, f"{number}. {sentence} ({without})", size=8)
        if not side:
            _line(pdf, nothing, size=8, colour=_SOFT)
    _line(pdf, "Payments by merchant, and what each does to the score", 9.5, bold=True, above=1.5)
    _lanes(pdf, found)
    _line(pdf, found.rest, size=7.5, colour=_SOFT)
    _line(pdf, found.summed, size=7.5, colour=_INK if found.adds_up else _UP)
    _line(pdf, found.truth, size=7.5, colour=_SOFT)
    if found.what_if:
        _line(pdf, "What if", size=9.5, bold=True, above=1.5)
        for line in found.what_if:
            _line(pdf, line, size=8)
    _cited(pdf, found)
    _line(pdf, "Where this comes from", size=9.5, bold=True, above=1.5)
    for label, value in found.made:
        _line(pdf, f"{label}: {value}", size=6.5, colour=_SOFT)
    return bytes(pdf.output())


def _paper(made: str, title: str) -> FPDF:
    pdf = FPDF(format="A4")
    folder = _fonts()
    pdf.add_font(_FONT, "", folder / "DejaVuSans.ttf")
    pdf.add_font(_FONT, "B", folder / "DejaVuSans-Bold.ttf")
    pdf.set_margins(_MARGIN, _MARGIN)
    pdf.c_margin = 0.0  # text and charts begin at the same place
    pdf.set_auto_page_break(True, _MARGIN)
    pdf.set_creation_date(datetime.fromisoformat(made))
    pdf.set_title(title)
    pdf.set_creator("lbsf")
    pdf.add_page()
    return pdf


def _fonts() -> Path:
    """Where matplotlib, which Captum brings, keeps fonts that hold most of the world's letters."""
    spec = find_spec("matplotlib")
    folder = Path(spec.origin or "").parent / "mpl-data" / "fonts" / "ttf" if spec else Path()
    if not (folder / "DejaVuSans.ttf").is_file():
        raise DossierError(
            "a PDF needs the font DejaVu Sans, which matplotlib brings: `pip install matplotlib`, "
            "or take the HTML dossier and print it."
        )
    return folder


def _line(
    pdf: FPDF,
    text: str,
    size: float,
    *,
    bold: bool = False,
    colour: Sequence[int] = _INK,
    above: float = 0.0,
) -> None:
    """A paragraph over the whole width."""
    if not text:
        return
    if above:
        pdf.ln(above)
    pdf.set_font(_FONT, "B" if bold else "", size)
    pdf.set_text_color(*colour)
    pdf.multi_cell(0, size * 0.46, text, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _cited(pdf: FPDF, found: View) -> None:
    """The payments that reasons cite, the latest of them."""
    if not found.cited:
        return
    shown = found.cited[:_CITED]
    title = f"Payments that the reasons cite ({len(found.cited)})"
    if len(shown) < len(found.cited):
        title = f"The latest {len(shown)} of {len(found.cited)} payments that the reasons cite"
    _line(pdf, title, size=9.5, bold=True, above=1.5)
    pdf.set_font(_FONT, "", 6.5)
    pdf.set_text_color(*_INK)
    for row in shown:
        if pdf.will_page_break(3.2):
            pdf.add_page()
        for at, cell in zip(_CELLS, row, strict=True):
            pdf.text(at, pdf.get_y() + 2.4, cell)
        pdf.set_y(pdf.get_y() + 3.2)


def _lanes(pdf: FPDF, found: View) -> None:
    pdf.set_font(_FONT, "", 6.5)
    pdf.set_text_color(*_SOFT)
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
    pdf.set_font(_FONT, "", 6.5)
    pdf.set_text_color(*_INK)
    pdf.text(_NAME, middle + 0.8, lane.name)
    pdf.text(_COUNT, middle + 0.8, lane.payments)
    pdf.text(_SUM, middle + 0.8, lane.total)
    pdf.text(_EFFECT, middle + 0.8, lane.effect)
    pdf.set_draw_color(*_LINE)
    pdf.line(_TIME, middle, _BAR - 4, middle)
    pdf.set_draw_color(*_INK)
    pdf.set_fill_color(*_INK)
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
    pdf.set_draw_color(*_SOFT)
    pdf.line(_BAR + width * zero, middle - 2, _BAR + width * zero, middle + 2)
