"""Two to four cohorts on one page to take away: contents.py chooses, pages.py draws HTML or PDF."""

from lbsf_core.workspace.report.contents import Report, Table, make_report
from lbsf_core.workspace.report.pages import html_report, pdf_report

__all__ = ["Report", "Table", "html_report", "make_report", "pdf_report"]
