"""The workspace: what the dashboard loads, and the only door it uses."""

from lbsf_core.errors import LbsfError, UnknownUserError, WorkspaceError
from lbsf_core.explain.result import TOLERANCE, Explanation
from lbsf_core.workspace.build import build_workspace
from lbsf_core.workspace.facade import Workspace, find_workspaces
from lbsf_core.workspace.types import (
    BAND_STARTS,
    BANDS,
    Card,
    Case,
    CohortComparison,
    Performance,
    SampleFilter,
    Summary,
)

__all__ = [
    "BANDS",
    "BAND_STARTS",
    "TOLERANCE",
    "Card",
    "Case",
    "CohortComparison",
    "Explanation",
    "LbsfError",
    "Performance",
    "SampleFilter",
    "Summary",
    "UnknownUserError",
    "Workspace",
    "WorkspaceError",
    "build_workspace",
    "find_workspaces",
]
