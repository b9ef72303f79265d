"""A report as one HTML file, or as PDF."""

from __future__ import annotations

from fpdf.enums import TableBordersLayout
from fpdf.fonts import FontFace

from lbsf_core.workspace.pages import template
from lbsf_core.workspace.paper import FONT, INK, SOFT, line, paper
from lbsf_core.workspace.report.contents import Report


def html_report(report: Report) -> str:
    """The page; it needs nothing beside it and runs nothing."""
    return template("report/page.html.j2").render(report=report)


def pdf_report(report: Report) -> bytes:
    """The same, A4.

    Raises:
        DossierError: the font that writes every merchant's name is not installed.
    """
    pdf = paper(report.at, report.title)
    line(pdf, report.title, size=13, bold=True)
    for note in report.notes:
        line(pdf, f"! {note}", size=7.5, colour=SOFT)
    for name, words in report.cohorts:
        line(pdf, f"{name}: {words}", size=8)
    for table in report.tables:
        if not table.rows:
            line(pdf, f"{table.title}. {table.note}", size=8, colour=SOFT, above=1.5)
            continue
        line(pdf, table.title, size=9.5, bold=True, above=2)
        line(pdf, table.note, size=7, colour=SOFT)
        pdf.set_font(FONT, "", 6.5)
        pdf.set_text_color(*INK)
        aligned = ("LEFT", *["RIGHT"] * (len(table.head) - 1))
        with pdf.table(
            borders_layout=TableBordersLayout.HORIZONTAL_LINES,
            headings_style=FontFace(emphasis="B", color=SOFT),
            text_align=aligned,
            line_height=3.4,
            padding=(0.5, 0.3),
            col_widths=(2.2, *[1.0] * (len(table.head) - 1)),
        ) as drawn:
            for cells in (table.head, *table.rows):
                row = drawn.row()
                for cell in cells:
                    row.cell(cell)
    line(pdf, "Where this comes from", size=9.5, bold=True, above=2)
    for label, value in report.made:
        line(pdf, f"{label}: {value}", size=6.5, colour=SOFT)
    return bytes(pdf.output())
