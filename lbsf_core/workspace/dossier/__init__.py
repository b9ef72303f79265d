"""A case on one page that can be taken away, and checked: what was asked, said, by whom, from what.

make.py asks the workspace and holds everything as JSON values; view.py chooses what a page shows
of it; page.py (HTML, with the JSON inside) and pdf.py draw that; replay.py reads an HTML dossier
back and asks a workspace again.
"""

from lbsf_core.workspace.dossier.make import Question, make_dossier
from lbsf_core.workspace.dossier.page import html_page
from lbsf_core.workspace.dossier.pdf import pdf_page
from lbsf_core.workspace.dossier.replay import Replayed, read_dossier, replay

__all__ = [
    "Question",
    "Replayed",
    "html_page",
    "make_dossier",
    "pdf_page",
    "read_dossier",
    "replay",
]
