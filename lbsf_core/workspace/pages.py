"""Pages that are taken away as HTML: one file that needs nothing beside it and runs nothing."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


@cache
def template(name: str) -> Template:
    """A template under `lbsf_core/workspace`: every text that is put in is escaped."""
    environment = Environment(
        loader=PackageLoader("lbsf_core.workspace", "."),
        autoescape=True,
        undefined=StrictUndefined,  # a name that the page lacks is an error
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)
