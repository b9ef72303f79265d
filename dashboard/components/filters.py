"""The filter widgets: one set of controls that becomes one `SampleFilter`.

Every widget is bound to the address under its prefix (`q_` the queue, `a_` and `b_` the cohorts),
so that a link brings the same samples back.
"""

from __future__ import annotations

from datetime import date, timedelta

import streamlit as st

from dashboard import state
from dashboard.components import formats
from dashboard.components.text import Place, escape
from lbsf_core.workspace import (
    BANDS,
    LbsfError,
    SampleFilter,
    Summary,
    area_of,
    ids_of,
    ids_of_file,
)

LABELS = {"Good": "good", "Bad": "bad", "No label yet": "unknown"}
PARTS = {"Training": "train", "Validation": "validation", "Test": "test"}
BIND = "query-params"


def queue_filters(summary: Summary) -> SampleFilter:
    """The portfolio's filters: one row, with the rarer ones in a popover."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        user = st.text_input(
            "User", key="q_user", bind=BIND, type="search", placeholder="part of the id", width=170
        )
        merchants = _merchants("q_", 230)
        bands = _bands("q_", None)
        labels = _labels("q_", None)
        with st.popover("More filters", icon=":material/tune:"):
            rest = _rare("q_", summary)
        st.button(
            "Clear", icon=":material/filter_alt_off:", key="q_clear", type="tertiary",
            on_click=state.clear_filters, args=("q_",), help="Take off all filters.",
        )  # fmt: skip
    return SampleFilter(user=user or "", merchants=merchants, bands=bands, labels=labels, **rest)


def cohort_filters(
    source: state.Source,
    prefix: str,
    summary: Summary,
    *,
    bands: tuple[str, ...] = (),
    labels: tuple[str, ...] = (),
) -> SampleFilter:
    """The filters of one cohort, stacked.

    Args:
        source: the workspace in view.
        prefix: "a_" or "b_".
        bands: chosen at first.
        labels: chosen at first.
    """
    left, right = st.columns([3, 2])
    with left:
        chosen_bands = _bands(prefix, bands)
    with right:
        chosen_labels = _labels(prefix, labels)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        merchants = _merchants(prefix, 260)
        with st.popover("More filters", icon=":material/tune:"):
            rest = _rare(prefix, summary)
        with st.popover("By ids", icon=":material/badge:"):
            ids = _ids(prefix)
        with st.popover("On the map", icon=":material/lasso_select:"):
            area = _area(prefix)
    if ids is not None:
        _told_unknown(source, ids)
    return SampleFilter(
        merchants=merchants, bands=chosen_bands, labels=chosen_labels, ids=ids, area=area, **rest
    )


def put_in(prefix: str, where: SampleFilter) -> None:
    """Set the widgets of a cohort so that they make this filter; for callbacks."""
    labels, parts = ({value: word for word, value in of.items()} for of in (LABELS, PARTS))
    values: dict[str, object] = {
        "band": list(where.bands),
        "label": [labels[value] for value in where.labels],
        "merchant": list(where.merchants),
        "pd": (round(100 * where.pd_min), round(100 * where.pd_max)),
        "min": where.payments_min,
        "max": where.payments_max,
        "from": where.cutoff_from,
        "to": where.cutoff_to,
        "part": [parts[value] for value in where.parts],
        "ids": None if where.ids is None else "\n".join(where.ids),
        "area": " ".join(f"{x:g},{y:g}" for x, y in where.area) or None,
    }
    for name, value in values.items():
        st.session_state[f"{prefix}{name}"] = value


def is_open(where: SampleFilter) -> bool:
    """Whether the filter lets everything through."""
    return where == SampleFilter()


def in_words(where: SampleFilter, place: Place = "markdown") -> str:
    """The filter as a short sentence; data text in it is escaped for where it is shown."""
    parts = []
    if where.bands:
        parts.append("band " + " or ".join(where.bands))
    if where.labels:
        words = {value: word.lower() for word, value in LABELS.items()}
        parts.append("label " + " or ".join(words[label] for label in where.labels))
    if where.merchants:
        names = [f"“{escape(name, place, width=30)}”" for name in where.merchants]
        parts.append("paid at " + " and at ".join(names))
    if where.ids is not None:
        parts.append(f"one of {formats.plural(len(where.ids), 'given id')}")
    if where.area:
        parts.append(f"inside an area of {len(where.area)} corners on the map")
    if where.user:
        parts.append(f"id contains “{escape(where.user, place, width=30)}”")
    if (where.pd_min, where.pd_max) != (0.0, 1.0):
        parts.append(f"PD {where.pd_min:.0%} to {where.pd_max:.0%}")
    if where.payments_min is not None or where.payments_max is not None:
        upper = f" to {where.payments_max:,}" if where.payments_max is not None else " or more"
        parts.append(f"{where.payments_min or 0:,}{upper} payments")
    if where.parts:
        parts.append("part " + " or ".join(where.parts))
    if where.cutoff_from or where.cutoff_to:
        parts.append(f"cutoff {where.cutoff_from or 'any'} to {where.cutoff_to or 'any'}")
    return " · ".join(parts) or "all samples"


def _bands(prefix: str, default: tuple[str, ...] | None) -> tuple[str, ...]:
    return tuple(
        st.multiselect(
            "Score band",
            BANDS,
            default=list(default) if default else None,
            key=f"{prefix}band",
            bind=BIND,
            placeholder="all bands",
            width=230 if prefix == "q_" else "stretch",
            help="Bands are shares of this workspace's own samples: the riskiest twentieth is "
            "“very high”, the safest fifth “very low”.",
        )
    )


def _ids(prefix: str) -> tuple[str, ...] | None:
    """Pasted ids, which the link carries, or those of a file, which it does not; None = any."""
    pasted = st.text_area(
        "User ids", key=f"{prefix}ids", bind=BIND, max_chars=20_000,
        placeholder="one a line, or with commas",
    )  # fmt: skip
    file = st.file_uploader(
        "or a file of them", type=["csv", "txt", "parquet"], key=f"{prefix}file",
        help="CSV or Parquet with a column user_id, or one id a line. A link does not carry it.",
    )  # fmt: skip
    if file is not None:
        try:
            return ids_of_file(file.getvalue(), file.name)
        except LbsfError as error:  # said here, beside the box where another file can be given
            st.error(escape(str(error), "markdown"), icon=":material/error:")
            return ()
    return ids_of(pasted) if pasted and pasted.strip() else None


def _area(prefix: str) -> tuple[tuple[float, float], ...]:
    """Corners of an area on the map: drawn there, or typed."""
    text = st.text_input(
        "Corners of an area", key=f"{prefix}area", bind=BIND, max_chars=900,
        placeholder="-1,0 2,0 0.5,3",
        help="Draw it on the map at the foot of the page, or type x,y of each corner.",
    )  # fmt: skip
    try:
        return area_of(text) if text and text.strip() else ()
    except LbsfError as error:
        st.error(escape(str(error), "markdown"), icon=":material/error:")
        return ()


def _told_unknown(source: state.Source, ids: tuple[str, ...]) -> None:
    unknown = state.ask(source, "unknown_users", ids)
    told = f"{formats.plural(len(ids), 'id')} given"
    if unknown:
        some = ", ".join(escape(one, "markdown", width=30) for one in unknown[:3])
        more = f" and {len(unknown) - 3:,} more" if len(unknown) > 3 else ""
        told += f"; {len(unknown):,} not in this workspace: {some}{more}"
    st.caption(told + ".")


def _merchants(prefix: str, width: int) -> tuple[str, ...]:
    """Parts of merchants' names, each put in by Enter; all of them have to have been paid."""
    key = f"{prefix}merchant"
    chosen = st.multiselect(
        "Paid at merchants", state.chosen(key), key=key, bind=BIND, format_func=escape,
        accept_new_options=True, max_selections=8, width=width,
        placeholder="part of a name, Enter",
        help="A part of a name is enough. With several, only who paid at each of them.",
    )  # fmt: skip
    return tuple(chosen)


def _labels(prefix: str, default: tuple[str, ...] | None) -> tuple[str, ...]:
    words = {value: word for word, value in LABELS.items()}
    chosen = st.multiselect(
        "Label",
        list(LABELS),
        default=[words[value] for value in default] if default else None,
        key=f"{prefix}label",
        bind=BIND,
        placeholder="all labels",
        width=200 if prefix == "q_" else "stretch",
        help="What happened after the cutoff, where it is known.",
    )
    return tuple(LABELS[word] for word in chosen)


def _rare(prefix: str, summary: Summary) -> dict[str, object]:
    """PD, activity, dates and part of training."""
    low, high = st.slider(
        "PD between (percent)", 0, 100, (0, 100), key=f"{prefix}pd", bind=BIND, format="%d%%"
    )
    fewest = st.number_input(
        "Payments, at least", 0, None, None, step=10, key=f"{prefix}min", bind=BIND
    )
    greatest = st.number_input(
        "Payments, at most", 0, None, None, step=10, key=f"{prefix}max", bind=BIND
    )
    first, last = _span(summary)
    since = st.date_input(
        "Cutoff from", None, first, last, key=f"{prefix}from", bind=BIND, format="YYYY-MM-DD"
    )
    until = st.date_input(
        "Cutoff to", None, first, last, key=f"{prefix}to", bind=BIND, format="YYYY-MM-DD"
    )
    parts = st.multiselect(
        "Part of training",
        list(PARTS),
        key=f"{prefix}part",
        bind=BIND,
        placeholder="all parts",
        help="Whether the model learnt from the user (training), was stopped by it (validation) or "
        "never saw it (test).",
    )
    return {
        "pd_min": low / 100,
        "pd_max": high / 100,
        "payments_min": int(fewest) if fewest else None,
        "payments_max": int(greatest) if greatest is not None else None,
        "cutoff_from": since,
        "cutoff_to": until,
        "parts": tuple(PARTS[word] for word in parts),
    }


def _span(summary: Summary) -> tuple[date, date]:
    first = summary.first_cutoff.date() if summary.first_cutoff else date(1970, 1, 1)
    last = summary.last_cutoff.date() if summary.last_cutoff else date(2100, 1, 1)
    return first - timedelta(days=1), last + timedelta(days=1)
