"""Where the model looked from one merchant to another, and what two are worth together."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.charts import relations
from dashboard.components import shell
from dashboard.components.text import escape
from lbsf_core.workspace import Case, Explanation


def show(
    source: state.Source,
    case: Case,
    explanation: Explanation,
    merchants: pd.DataFrame,
    selected: str | None,
    beside: str | None,
) -> None:
    """The heat map and the graph; a click on a square or a line follows both merchants."""
    shell.section(
        "Relations between merchants",
        "How much the model looks from one merchant to another when it puts the history together: "
        "where it looked, not a cause. Point at a line to read what was measured of the two by "
        "taking out each and both.",
    )
    if len(merchants) < 2:
        st.caption("One merchant only: there is no relation to show.")
        return
    chosen = relations.pick(merchants, always=[one for one in (selected, beside) if one])
    weights = explanation.relations[chosen][:, chosen]
    together = state.ask(source, "interactions", case, tuple(chosen))
    rows = merchants.set_index("segment", drop=False).loc[chosen]
    weakest = st.slider(
        "Draw lines from", 0, 100, 40, 5, format="%d%%", key="relations_from", bind="query-params",
        width=320,
        help="On the way from the weakest relation of any two merchants (0%) to the strongest "
        f"(100%). {relations.LINES} lines at most; a selected merchant's five strongest always.",
    )  # fmt: skip
    names = rows["merchant"].tolist()
    if selected in names and beside in names:
        a, b = names.index(selected), names.index(beside)
        st.markdown(
            f"**{escape(selected, 'markdown')}** and **{escape(beside, 'markdown')}**: "
            f"{relations.relation_words(weights, a, b)}; "
            f"{relations.interaction_words(together, a, b)}."
        )
    left, right = st.columns(2)
    with left:
        st.caption("Row looks at column. Click a square to follow both.")
        st.plotly_chart(
            relations.heat_map(weights, names, selected), key="relation_map",
            on_select=lambda: state.pick_relation("relation_map"), selection_mode="points",
            config=state.picture("relation_map"),
            alt="Relation weights between merchants as a heat map",
        )  # fmt: skip
    with right:
        st.caption(
            "Size: money moved. Colour: pushes the score :orange[up] or :blue[down]. "
            "Click a merchant, or the middle of a line, to follow it."
        )
        st.plotly_chart(
            relations.graph(
                weights, rows, selected, interactions=together, weakest=weakest / 100
            ),
            key="relation_graph", on_select=lambda: state.pick_relation("relation_graph"),
            selection_mode="points", config=state.picture("relation_graph"),
            alt="Strongest relations between merchants as a graph",
        )  # fmt: skip
    if len(chosen) < len(merchants):
        st.caption(
            f"The {len(chosen)} merchants with the most attention and attribution, of "
            f"{len(merchants)}."
        )
