"""A dossier as one HTML file that needs nothing beside it and runs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from lbsf_core.files import dump_json
from lbsf_core.workspace.dossier.view import view

#: Id of the element that holds the data.
DATA_ID = "dossier"


def html_page(dossier: Mapping[str, Any]) -> str:
    """The page, with all its data inside for `lbsf replay`. The same data give the same page."""
    # Nothing in a merchant's name can end the element: no "<" is left in the JSON.
    data = dump_json(dossier).replace("&", "\\u0026").replace("<", "\\u003c")
    data = data.replace(">", "\\u003e")
    return _template().render(
        view=view(dossier),
        data_id=DATA_ID,
        data=Markup(data),  # noqa: S704 - holds no markup, see above
    )


@cache
def _template() -> Template:
    # Every text that is put in is escaped; a name that the view lacks is an error.
    environment = Environment(
        loader=PackageLoader("lbsf_core.workspace.dossier", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.j2")
