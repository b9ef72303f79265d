"""What a threshold costs, under costs that the reader states."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.charts import portfolio as charts
from dashboard.components import formats, shell
from dashboard.components.text import escape
from lbsf_core.workspace import SampleFilter, Summary

FIXED, STAKE = "One sum for all", "Each one's amount at stake"


def show(source: state.Source, where: SampleFilter, summary: Summary, threshold: float) -> None:
    """The costs, what the threshold makes of them, and the cheapest threshold."""
    shell.section(
        "What a threshold costs",
        "State what an approved default and a declined good customer cost. By PD: what the scores "
        "expect. By label: what happened, where it is known.",
    )
    table = _table(source, where, summary, threshold)
    if table["expected"].isna().all():
        st.caption("No sample here has an amount at stake.")
        return
    here = table.loc[(table["threshold"] - threshold).abs().idxmin()]
    best = table.loc[table["expected"].idxmin()]
    currency = summary.currency
    left, right = st.columns([2, 3])
    with left, st.grid(2, min_column_width=190, gap="small"):
        st.metric(f"Cost a sample at {formats.percent(threshold)}",
                  escape(formats.money(here["expected"], currency), "markdown"), border=True,
                  height="stretch", help="Expected by PD.")  # fmt: skip
        st.metric("By label", escape(formats.money(here["observed"], currency), "markdown"),
                  border=True, height="stretch",
                  help="Mean over labelled samples.")  # fmt: skip
        st.metric("Cheapest threshold by PD", formats.percent(best["threshold"]),
                  f"{formats.percent(best['approved'])} approved", delta_color="off",
                  delta_arrow="off", border=True, height="stretch")  # fmt: skip
        st.metric("Cost there", escape(formats.money(best["expected"], currency), "markdown"),
                  border=True, height="stretch")  # fmt: skip
    right.plotly_chart(
        charts.costs(table, float(here["approved"]), currency), key="costs",
        config=state.picture("costs"),
        alt="Mean cost a sample for every share approved, by PD and by label",
    )  # fmt: skip
    st.caption(
        f"Over {formats.plural(int(here['samples']), 'sample')}, "
        f"{formats.count(int(here['labelled']))} with a label. A label is seen only for those who "
        "were approved once: who was declined before is not in it."
    )


def _table(
    source: state.Source, where: SampleFilter, summary: Summary, threshold: float
) -> pd.DataFrame:
    """The boxes, bound to the link, and `Workspace.costs` under them."""
    unit = escape(summary.currency)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        way = FIXED
        if summary.at_stake:
            way = st.segmented_control(
                "A default costs", [FIXED, STAKE], default=FIXED, required=True, key="cost_way",
                bind="query-params",
            ) or FIXED  # fmt: skip
        share, default = 1.0, None
        if way == STAKE:
            share = st.number_input(
                "Share of it that is lost (%)", 0.0, 100.0, 60.0, 5.0, key="cost_lost",
                bind="query-params", width=220,
            ) / 100  # fmt: skip
        else:
            default = st.number_input(
                f"An approved default costs ({unit})", 0.0, None, 1000.0, 100.0,
                key="cost_default", bind="query-params", width=260,
            )  # fmt: skip
        declined = st.number_input(
            f"A declined good customer costs ({unit})", 0.0, None, 100.0, 10.0,
            key="cost_declined", bind="query-params", width=280,
        )  # fmt: skip
    found: pd.DataFrame = state.ask(
        source, "costs", where, default=default, declined=declined, loss_given_default=share,
        at=threshold,
    )  # fmt: skip
    return found
