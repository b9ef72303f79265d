"""Read a dossier back and ask again: does the same come out?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lbsf_core.errors import DossierError
from lbsf_core.workspace.dossier.make import DOSSIER_VERSION, Question, answer, provenance
from lbsf_core.workspace.dossier.page import DATA_ID, html_page

if TYPE_CHECKING:
    from lbsf_core.workspace.facade import Workspace

#: Largest difference of a number that counts as the same.
TOLERANCE = 1e-6
_PARTS = ("made", "from", "about", "asked", "said")


@dataclass(frozen=True)
class Replayed:
    """What asking again showed.

    Attributes:
        numbers: how many were compared.
        largest: the largest difference between any two.
        where: which number that was, as a path into the dossier.
        differences: what is not the same, as sentences; empty when the dossier is reproduced.
        other_code: whether another version of lbsf made the dossier.
    """

    numbers: int
    largest: float
    where: str
    differences: tuple[str, ...]
    other_code: bool


class _Data(HTMLParser):
    """Collects what stands in the element that holds a dossier's data."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.found = False, ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag == "script" and ("id", DATA_ID) in attrs

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.found += data


def read_dossier(path: str | Path) -> dict[str, Any]:
    """The data inside an HTML dossier.

    Raises:
        DossierError: it is no dossier, or one of another version.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DossierError(f"{path}: can't be read as a dossier ({error}).") from error
    parser = _Data()
    parser.feed(text)
    try:
        dossier = json.loads(parser.found)
    except json.JSONDecodeError as error:
        raise DossierError(
            f"{path}: holds no dossier's data. Give the HTML file that `lbsf dossier` or the "
            "dashboard wrote, not a copy printed or saved from a browser."
        ) from error
    version = dossier.get("dossier_version") if isinstance(dossier, dict) else None
    if version != DOSSIER_VERSION or not all(part in dossier for part in _PARTS):
        raise DossierError(
            f"{path}: dossier version {version}, this lbsf reads {DOSSIER_VERSION}. Replay it with "
            "the version of lbsf that it names, or make it again."
        )
    found: dict[str, Any] = dossier
    return found


def replay(path: str | Path, workspace: Workspace) -> Replayed:
    """Ask a workspace again what a dossier says, and compare every number and word.

    Args:
        path: an HTML dossier.
        workspace: the one that it was made from.

    Raises:
        DossierError: it is no dossier, its page says something else than its data, or the
            workspace holds other payments or another model.
        UnknownUserError: the user is not in the workspace.
    """
    dossier, present = read_dossier(path), provenance(workspace)
    made = dossier["from"]
    for part, words in (("store", "payments"), ("bundle", "model")):
        if made.get(part) != present[part]:
            raise DossierError(
                f"{path}: was made from other {words} than the workspace '{workspace.name}' holds "
                f"({part} {str(made.get(part))[:12]}…, here {present[part][:12]}…). Replay it with "
                f"the workspace that it names: '{made.get('workspace')}'."
            )
    other_code = made.get("code") != present["code"]
    text = Path(path).read_text(encoding="utf-8")
    if not other_code and text != html_page(dossier):
        raise DossierError(
            f"{path}: its page is not what its data say: it was changed after it was made. "
            "Trust neither, and make it again."
        )
    again = json.loads(json.dumps(answer(workspace, Question.from_dict(dossier["asked"]))))
    numbers, largest, where = 0, 0.0, ""
    differences = []
    for place, one, other in _leaves(dossier["said"], again, "said"):
        if _number(one) and _number(other):
            numbers += 1
            if not abs(one - other) <= largest:
                largest, where = abs(one - other), place
            if not abs(one - other) <= TOLERANCE:
                differences.append(f"{place}: {one!r} in the dossier, {other!r} now")
        elif one != other or type(one) is not type(other):
            differences.append(f"{place}: {one!r} in the dossier, {other!r} now")
    return Replayed(numbers, float(largest), where, tuple(differences), other_code)


def _number(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    return isinstance(value, int | float) and not isinstance(value, bool)


def _leaves(one: Any, other: Any, place: str) -> Iterator[tuple[str, Any, Any]]:  # noqa: ANN401
    """Pairs of values at the same place of two JSON trees; a part that one lacks is None."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            yield from _leaves(one.get(key), other.get(key), f"{place}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for at, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from _leaves(a, b, f"{place}[{at}]")
    else:
        yield place, one, other
