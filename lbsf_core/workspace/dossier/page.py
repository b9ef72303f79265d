"""A dossier as one HTML file that needs nothing beside it and runs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from lbsf_core.files import dump_json
from lbsf_core.workspace.dossier.view import view
from lbsf_core.workspace.pages import template

#: Id of the element that holds the data.
DATA_ID = "dossier"


def html_page(dossier: Mapping[str, Any]) -> str:
    """The page, with all its data inside for `lbsf replay`. The same data give the same page."""
    # Nothing in a merchant's name can end the element: no "<" is left in the JSON.
    data = dump_json(dossier).replace("&", "\\u0026").replace("<", "\\u003c")
    data = data.replace(">", "\\u003e")
    return template("dossier/page.html.j2").render(
        view=view(dossier),
        data_id=DATA_ID,
        data=Markup(data),  # noqa: S704 - holds no markup, see above
    )
