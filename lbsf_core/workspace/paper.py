"""Pages that are taken away as PDF: paper, font and paragraphs, for dossiers and reports."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

from fpdf import FPDF
from fpdf.enums import XPos, YPos

from lbsf_core.errors import DossierError

INK, SOFT = (31, 35, 40), (89, 99, 110)
FONT = "DejaVu"
#: Millimetres.
MARGIN = 12.0


def paper(made: str, title: str) -> FPDF:
    """An empty page, A4.

    Args:
        made: when, ISO format.
        title: of the file.

    Raises:
        DossierError: the font that writes every merchant's name is not installed.
    """
    pdf = FPDF(format="A4")
    folder = _fonts()
    pdf.add_font(FONT, "", folder / "DejaVuSans.ttf")
    pdf.add_font(FONT, "B", folder / "DejaVuSans-Bold.ttf")
    pdf.set_margins(MARGIN, MARGIN)
    pdf.c_margin = 0.0  # text and charts begin at the same place
    pdf.set_auto_page_break(True, MARGIN)
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
            "or take the page as HTML and print it."
        )
    return folder


def line(
    pdf: FPDF,
    text: str,
    size: float,
    *,
    bold: bool = False,
    colour: Sequence[int] = INK,
    above: float = 0.0,
) -> None:
    """A paragraph over the whole width."""
    if not text:
        return
    if above:
        pdf.ln(above)
    pdf.set_font(FONT, "B" if bold else "", size)
    pdf.set_text_color(*colour)
    pdf.multi_cell(0, size * 0.46, text, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
