"""The workspace: what the dashboard loads, and the only door it uses.

Opening and asking a workspace needs no model: torch, Captum and scikit-learn are loaded when a
workspace is built or a score is explained, so that the dashboard's first chart does not wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lbsf_core.errors import LbsfError, UnknownUserError, WorkspaceError
from lbsf_core.explain.result import TOLERANCE, Explanation
from lbsf_core.text import shortened, visible
from lbsf_core.workspace.area import area_of, text_of
from lbsf_core.workspace.facade import Workspace, find_workspaces
from lbsf_core.workspace.ids import ids_of, ids_of_file
from lbsf_core.workspace.saved import SavedCohort, SavedCohorts
from lbsf_core.workspace.types import (
    BAND_STARTS,
    BANDS,
    Card,
    Case,
    CohortComparison,
    Drift,
    Performance,
    SampleFilter,
    Summary,
)

if TYPE_CHECKING:
    from lbsf_core.workspace.build import build_workspace

__all__ = [
    "BANDS",
    "BAND_STARTS",
    "TOLERANCE",
    "Card",
    "Case",
    "CohortComparison",
    "Drift",
    "Explanation",
    "LbsfError",
    "Performance",
    "SampleFilter",
    "SavedCohort",
    "SavedCohorts",
    "Summary",
    "UnknownUserError",
    "Workspace",
    "WorkspaceError",
    "area_of",
    "build_workspace",
    "find_workspaces",
    "ids_of",
    "ids_of_file",
    "shortened",
    "text_of",
    "visible",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the one late name
    if name != "build_workspace":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lbsf_core.workspace.build import build_workspace

    return build_workspace
