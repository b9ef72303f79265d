"""Portfolio: who to look at first, and what a threshold would do."""

import math
from dataclasses import replace

import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.charts import portfolio as charts
from dashboard.components import (
    costs,
    filters,
    formats,
    queue_table,
    shell,
    states,
    table_file,
    text,
)
from dashboard.components.formats import day, plural
from lbsf_core.workspace import SampleFilter, Summary

PAGE = 50
#: In the session's state: the filter, but for a part of the user's id, that the page is drawn for.
DRAWN = "portfolio_of"


def main() -> None:
    """Settings, answers, drawing."""
    source = shell.choose_source()
    summary = state.ask(source, "summary")
    shell.heading("Portfolio", summary)
    st.caption(_in_words(summary))
    shell.honesty(summary)
    states.warnings(summary.warnings)
    if not summary.samples:
        states.empty(
            "This workspace holds no scored sample",
            "Fold payments with labels or cutoffs first, then make the workspace "
            "again: `lbsf fold`, `lbsf workspace`.",
            icon="inbox",
        )
        return
    st.session_state.pop(DRAWN, None)
    anyone = _find(source, summary)
    if anyone is not None and state.ask(source, "count", anyone):
        _threshold(source, anyone, summary)


@st.fragment
@shell.guarded()  # an error in here does not come out to the page
def _find(source: state.Source, summary: Summary) -> SampleFilter | None:
    """The filters and the queue, which run by themselves: who looks for a user by a part of the
    id, or turns a page, asks nothing about the threshold.

    Returns:
        The filter, but for that part of the id; None where the queue could not be shown.
    """
    where = filters.queue_filters(summary)
    anyone = replace(where, user="")
    if st.session_state.setdefault(DRAWN, anyone) != anyone:
        st.rerun()  # the threshold is about others now
    matching = state.ask(source, "count", where)
    if matching:
        _queue(source, where, matching, summary)
    else:
        states.empty(
            f"No sample matches: {filters.in_words(where)}",
            "Clear a filter, or search for a shorter part of a name. `%` and `_` mean themselves.",
        )
    return anyone


def _in_words(summary: Summary) -> str:
    window = f"{summary.window_days:,}-day window" if summary.window_days else "whole history"
    known = summary.bad / summary.labelled if summary.labelled else None
    parts = [
        f"**{plural(summary.samples, 'sample')}** of {plural(summary.users, 'user')}",
        f"{plural(summary.payments, 'payment')} at {plural(summary.merchants, 'merchant')}",
        f"{formats.count(summary.bad)} bad of {formats.count(summary.labelled)} labelled "
        f"({formats.percent(known)})",
        f"cutoffs {day(summary.first_cutoff)} to {day(summary.last_cutoff)}, {window}",
        f"bad means: {text.escape(summary.label, 'markdown')}" if summary.label else "",
        f"{formats.plural(summary.dropped_payments, 'payment')} dropped by caps"
        if summary.dropped_payments
        else "",
    ]
    if summary.additive_share < 1:
        parts.append(f"**{summary.additive_share:.1%} of explanations add up**")
    return formats.listing(parts)


def _queue(source: state.Source, where: SampleFilter, matching: int, summary: Summary) -> None:
    pages = max(1, math.ceil(matching / PAGE))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        orders = queue_table.orders(summary)
        state.first_if_stale("q_sort", list(orders))
        order = st.selectbox("Order", list(orders), key="q_sort", bind="query-params",
                             width=250)  # fmt: skip
        number = 1
        if pages > 1:
            number = st.number_input(
                f"Page of {pages:,}", 1, pages, 1, key="q_page", bind="query-params", width=130
            )
        st.caption(
            f"{formats.plural(matching, 'sample')} match"
            + ("" if filters.is_open(where) else f" · {filters.in_words(where)}")
            + ". **Open** shows the user's payments and the reasons."
        )
    sort, descending = orders[order]
    rows = state.ask(
        source, "queue", where, sort=sort, descending=descending, limit=PAGE,
        offset=PAGE * (min(int(number), pages) - 1),
    )  # fmt: skip
    state.remember_queue(where, sort, descending)
    queue_table.show(rows, summary.currency, order)
    table_file.download("queue", rows.drop(columns=["activity", "sample"]), "This page")


def _threshold(source: state.Source, where: SampleFilter, summary: Summary) -> None:
    table = state.ask(source, "thresholds", where)
    shell.section(
        "Score distribution and threshold",
        "Approve every sample below the threshold: how many pass, and how many of those with a "
        "known label defaulted. Shares are of the samples that match the filters above, whatever "
        "part of a user's id is searched for.",
    )
    top, start = _slider_range(state.ask(source, "thresholds", SampleFilter()))
    percent = st.slider(
        "Threshold: approve below this PD",
        0.0,
        top,
        start,
        0.1,
        key="threshold",
        bind="query-params",
        format="%.1f%%",
    )
    value = round(float(percent) / 100, 3)
    at = state.ask(source, "threshold", where, value)
    with st.grid(4, min_column_width=200, gap="small"):
        st.metric("Approved", formats.percent(at["approved"]), border=True, height="stretch")
        st.metric(
            "Default rate among approved",
            formats.percent(at["default_rate"]),
            delta=formats.interval(at["lo"], at["hi"], as_percent=True),
            delta_color="off",
            delta_arrow="off",
            border=True,
            height="stretch",
            help="Observed among approved samples with a label; 95% Wilson interval below.",
        )
        st.metric(
            "Default rate among declined",
            formats.percent(at["declined_default_rate"]),
            border=True,
            height="stretch",
        )
        st.metric(
            "Defaults declined",
            formats.percent(at["capture"]),
            border=True,
            height="stretch",
            help="Share of all known defaults that the threshold declines.",
        )
    left, right = st.columns(2)
    left.plotly_chart(
        charts.score_distribution(state.ask(source, "score_distribution", where), value),
        key="distribution",
        config=state.picture("distribution"),
        alt="Samples per score bin, by label",
    )
    right.plotly_chart(
        charts.threshold_curve(table, at),
        key="threshold_curve",
        config=state.picture("threshold_curve"),
        alt="Observed default rate among the approved for every share approved",
    )
    costs.show(source, where, summary, value)


def _slider_range(table: pd.DataFrame) -> tuple[float, float]:
    """Up to where all are approved, starting where four in five are; in percent."""
    known = table.dropna(subset=["approved"])
    if known.empty:
        return 100.0, 20.0
    full = known.loc[known["approved"] >= 1, "threshold"]
    top = max(math.ceil(float(full.min() if len(full) else 1.0) * 100), 1)
    start = float(known.loc[(known["approved"] - 0.8).abs().idxmin(), "threshold"]) * 100
    return float(top), round(min(start, float(top)), 1)


main()
