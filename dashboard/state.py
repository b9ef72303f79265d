"""The only home of caches, of the selection and of what a link carries.

A link restores a view because the widgets that define it are bound to the address (`bind=` with a
key): `workspace`, `user`, `cutoff`, `merchant`, `beside`, `payment`, `lanes`, `panel`,
`days`, `pictures`, `tables` and the filters. Other code changes the view only through the callbacks
here, which run before the widgets are drawn.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import streamlit as st

from dashboard import warm
from dashboard.charts import style
from dashboard.components import formats
from lbsf_core.workspace import (
    Case,
    Explanation,
    SampleFilter,
    SavedCohorts,
    Workspace,
    WorkspaceError,
    find_workspaces,
)

#: Questions that need the model; `explanation` does too.
OF_THE_MODEL = frozenset(
    (
        *("card", "counterfactuals", "faithfulness", "interactions", "reasons", "score_history"),
        *("sufficient", "what_if"),
    )
)
#: Environment variable that names the workspace, or a folder of workspaces.
WORKSPACE_ENV = "LBSF_WORKSPACE"
#: Environment variable: cohorts of fewer samples are not shown, they may point at single people.
SMALLEST_ENV = "LBSF_SMALLEST_COHORT"
SMALLEST = 10
#: Environment variable: URL of the database of saved cohorts; a file beside the workspaces else.
CASES_ENV = "LBSF_CASES"
#: Key, and parameter of the link, of the further changes under "what if"; how many there may be.
EDITS = "edits"
MOST_EDITS = 24
#: Key of the kind of picture that charts are taken away as.
PICTURES = "pictures"
#: Key, and choices, of the kind of file that tables are taken away as.
TABLES, TABLE_KINDS = "tables", ("CSV", "Parquet")
#: Key of the first and last day that the timeline draws, where not every payment has a dot.
DAYS = "days"
#: Who takes a page or saves a cohort without having said a name.
NAMELESS = "somebody who gave no name"
#: Keys of the queue that are no filters.
NO_FILTERS = ("q_sort", "q_page")


@dataclass(frozen=True)
class Source:
    """One workspace on disk. `stamp` changes when it is made again, so caches never go stale."""

    name: str
    path: str
    stamp: int


def sources() -> dict[str, Source]:
    """The workspaces that this dashboard serves, by name.

    Raises:
        WorkspaceError: the environment names no folder, or one without a workspace.
    """
    root = os.environ.get(WORKSPACE_ENV, "")
    if not root:
        raise WorkspaceError(
            f"No workspace is named: {WORKSPACE_ENV} is empty. "
            "Start the dashboard with `lbsf dashboard DIR` or `lbsf demo`."
        )
    return {
        name: Source(name, str(path), _stamp(path))
        for name, path in find_workspaces(Path(root)).items()
    }


def smallest_cohort() -> int:
    """Samples that a cohort must hold to be shown.

    Raises:
        WorkspaceError: the environment names no whole number.
    """
    given = os.environ.get(SMALLEST_ENV, str(SMALLEST))
    if not given.isdecimal():
        raise WorkspaceError(f"{SMALLEST_ENV} is '{given}'; give a whole number, e.g. {SMALLEST}.")
    return int(given)


def saved_cohorts() -> SavedCohorts:
    """The cohorts that people saved.

    Raises:
        WorkspaceError: their database can't be reached or written.
    """
    root = Path(os.environ.get(WORKSPACE_ENV, "")).absolute()
    beside = f"sqlite:///{root.with_name(root.name + '.cases.db')}"
    return _case_database(os.environ.get(CASES_ENV) or beside)


@st.cache_resource(show_spinner=False, max_entries=4)
def _case_database(url: str) -> SavedCohorts:
    return SavedCohorts(url)


def _stamp(path: Path) -> int:
    manifest = path / "manifest.json"
    return max((p.stat().st_mtime_ns for p in (path, manifest) if p.exists()), default=0)


#: What is asked about, as Streamlit's caches tell one from another: plain values all of them, so
#: that their text says everything. Value by value it takes them 8 % of a user's page.
KEYS = {Source: repr, Case: repr, SampleFilter: repr}


@st.cache_resource(show_spinner=False, max_entries=8, hash_funcs=KEYS)
def open_workspace(source: Source) -> Workspace:
    """The workspace, opened once for all sessions; each file is hash-checked before it is read."""
    return Workspace.open(Path(source.path), verify="when read")


@st.cache_data(show_spinner=False, max_entries=512, hash_funcs=KEYS)
def ask(source: Source, question: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as asked
    """The answer of one of the workspace's methods, e.g. `ask(source, "queue", where, limit=50)`.

    Each hit is a copy, so a page may change what it gets.
    """
    method = getattr(open_workspace(source), question)
    if question in OF_THE_MODEL:
        long = max((one.payments for one in args if isinstance(one, Case)), default=0)
        return warm.first_alone(lambda: method(*args, **kwargs), long)
    return method(*args, **kwargs)


@st.cache_resource(show_spinner=False, max_entries=64, hash_funcs=KEYS)
def explanation(
    source: Source,
    case: Case,
    method: str = "gradient",
    baseline: str | None = None,
    opened: tuple[str, ...] = (),
) -> Explanation:
    """Why the case has its score. Shared between sessions and never changed by a page."""
    workspace = open_workspace(source)
    return warm.first_alone(
        lambda: workspace.explanation(case, method=method, baseline=baseline, opened=opened),
        case.payments,
    )


def dossier(
    source: Source,
    case: Case,
    by: str,
    form: Literal["html", "pdf"],
    **asked: Any,  # noqa: ANN401 - what a dossier's question holds
) -> bytes:
    """The case on one page, as HTML or PDF, made anew."""
    workspace = open_workspace(source)
    return warm.first_alone(
        lambda: workspace.dossier(case, by=by, form=form, **asked), case.payments
    )


def cohort_report(
    source: Source,
    a: SampleFilter,
    b: SampleFilter,
    names: tuple[str, str],
    form: Literal["html", "pdf"],
    **told: Any,  # noqa: ANN401 - what a report is told
) -> bytes:
    """Two cohorts, with others beside them, on one page, as HTML or PDF, made anew."""
    workspace = open_workspace(source)
    return warm.first_alone(lambda: workspace.cohort_report(a, b, names, form=form, **told))


def warm_up() -> None:
    """Pay every first-use cost once, before somebody waits for it: queries and the model."""
    for source in sources().values():
        ask(source, "summary")
        where = SampleFilter()
        ask(source, "queue", where, sort="pd", descending=True, limit=50, offset=0)
        ask(source, "score_distribution", where)
        ask(source, "thresholds", where)
        first = ask(source, "queue", where, limit=1)
        # The model's framework takes seconds of a core that the first page needs now.
        if not warm.after_first_page():
            return
        warm.drawing()
        if len(first):
            user = str(first["user_id"].iloc[0])
            ask(source, "count", SampleFilter(user=user))  # the rows that a search looks through
            ask(source, "find_users", user, limit=1)  # the first query loads what queries need
            case = ask(source, "cases", user)[0]
            explanation(source, case)
            ask(source, "similar", case)
            if not warm.when_read():
                return
            warm.statistics()
        # What no page has read yet, so that nobody waits for it; a page says what is wrong with it.
        open_workspace(source).checked.all(warm.when_read)
        break  # the others are opened when somebody picks them


# ---- the view that a link carries ---------------------------------------------------------------


def cutoff_label(value: datetime) -> str:
    """A cutoff as the link and the cutoff box write it."""
    return formats.instant(value)


def show_case(user: str, cutoff: datetime | str | None = None) -> None:
    """Point the user page at a case; for callbacks and right before `open_user_page`."""
    if isinstance(cutoff, str):
        cutoff = datetime.fromisoformat(cutoff)
    st.session_state["user"] = user
    st.session_state["cutoff"] = cutoff_label(cutoff) if cutoff is not None else None
    new_case()


def open_user_page(user: str, cutoff: datetime | None) -> None:
    """Go to the user page; the link then says which case it shows."""
    show_case(user, cutoff)
    params = {"user": user}
    if cutoff is not None:
        params["cutoff"] = cutoff_label(cutoff)
    if workspace := st.query_params.get("workspace"):
        params["workspace"] = workspace
    st.switch_page("app_pages/user.py", query_params=params)


def remember_queue(where: SampleFilter, sort: str, descending: bool) -> None:
    """Keep the portfolio's queue, so that previous and next on the user page walk through it."""
    st.session_state["queue"] = (where, sort, descending)


def queue_in_view() -> tuple[SampleFilter, str, bool]:
    """The queue that previous and next walk through: filter, sort, largest first."""
    where, sort, descending = st.session_state.get("queue", (SampleFilter(), "pd", True))
    return where, sort, descending


def pick_merchant(chart: str) -> None:
    """A click in the chart with key `chart`: its point's `customdata` begins with the merchant.

    An empty event is ignored: plotly sends one whenever the figure is drawn anew.
    """
    for point in _points(chart):
        select(point[0])
        return


def pick_relation(chart: str) -> None:
    """The same where a second name follows: that merchant then stands beside the first."""
    for point in _points(chart):
        select(point[0], point[1] or None)
        return


def _points(chart: str) -> list[list[Any]]:
    """`customdata` of the points that were clicked and name something."""
    points = st.session_state[chart]["selection"]["points"]
    found = [point.get("customdata") for point in points]
    rows = [list(data) if isinstance(data, list | tuple) else [data] for data in found]
    return [row for row in rows if row and isinstance(row[0], str) and row[0]]


def pick_step(chart: str) -> None:
    """A click on a bar of the waterfall: it opens the merchant, or the payment."""
    for point in _points(chart):
        if st.session_state.get("merchant"):
            st.session_state["payment"] = point[0]
        else:
            select(point[0])


def select(merchant: str | None, beside: str | None = None) -> None:
    """Follow a merchant through the page, another one beside it, or none."""
    st.session_state["merchant"] = merchant
    st.session_state["beside"] = None if beside == merchant else beside
    st.session_state["payment"] = None


def new_case() -> None:
    """Another case: what was selected or changed of the one before is gone."""
    select(None)
    st.session_state[EDITS] = []
    st.session_state.pop(DAYS, None)


def chosen(key: str) -> list[str]:
    """What is chosen in a list that takes any text: in this session, or by the link it began with.

    Such a list is given these as its options: it has no others.
    """
    if key in st.session_state:
        return list(st.session_state[key])
    return st.query_params.get_all(key)


def clear_filters(prefix: str) -> None:
    """Take off every filter with this prefix."""
    for key in list(st.session_state):
        if not str(key).startswith(prefix) or key in (f"{prefix}clear", *NO_FILTERS):
            continue
        if key == f"{prefix}file":  # only the browser may put a file there, or take it away
            continue
        value = st.session_state[key]
        st.session_state[key] = (
            [] if isinstance(value, list) else (0, 100) if isinstance(value, tuple) else None
        )


def add_edits(lines: Iterable[str]) -> None:
    """Put changes into the list under "what if"; those that are there already stay once."""
    known = chosen(EDITS)
    new = [line for line in dict.fromkeys(lines) if line not in known]
    st.session_state[EDITS] = (known + new)[:MOST_EDITS]


def set_edits(lines: Iterable[str], window: str) -> None:
    """Make these all the changes under "what if": what else was chosen there goes.

    Args:
        lines: the changes.
        window: the choice of a history that is not shortened.
    """
    st.session_state[EDITS] = list(lines)[:MOST_EDITS]
    st.session_state["without"] = []
    if st.session_state.get("shortened") not in (None, window):
        st.session_state["shortened"] = window


def picture(chart: str) -> dict[str, Any]:
    """Plotly's settings for a chart that is taken away as the kind of picture that is chosen."""
    return style.config(chart, st.session_state.get(PICTURES) or style.PICTURES[0])


def table_kind() -> str:
    """The kind of file that tables are taken away as."""
    return str(st.session_state.get(TABLES) or TABLE_KINDS[0])


def first_if_stale(key: str, options: list[Any]) -> None:
    """The first option in place of a remembered choice that the present case does not offer.

    For boxes where something is always chosen: with None they would stand empty.
    """
    if key in st.session_state and st.session_state[key] not in options:
        st.session_state[key] = options[0]


def drop_stale(key: str, options: list[Any]) -> None:
    """Forget a remembered choice that the present case does not offer."""
    if st.session_state.get(key) not in (None, *options):
        st.session_state[key] = None


def whole_if_stale(key: str, ends: tuple[Any, Any], options: list[Any]) -> None:
    """All of it in place of a remembered stretch that the present case does not have."""
    if any(end not in options for end in st.session_state.get(key, ends)):
        st.session_state[key] = ends


def drop_stale_many(key: str, options: list[Any]) -> None:
    """Forget those of several remembered choices that the present case does not offer."""
    chosen = st.session_state.get(key)
    if chosen and any(one not in options for one in chosen):
        st.session_state[key] = [one for one in chosen if one in options]
