"""The selected merchant in figures, and the table of payments that follows the selection."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.components import formats, shell, table_file
from dashboard.components.text import escape, visible_frame
from lbsf_core.workspace import Case, Explanation

TABLE_SORTS = ("Largest effect", "Latest first", "Largest amount")
#: Rows sent to the browser; the CSV holds all.
MOST_ROWS = 2_000


def summary(
    row: pd.Series, explanation: Explanation, currency: str, what: str = "Selected"
) -> None:
    """What one merchant did, was paid, and goes with."""
    with st.container(border=True, key=f"{what.lower()}_merchant"):
        st.markdown(f"**{what}: {escape(row['merchant'], 'markdown', width=80)}**")
        st.caption(
            formats.listing(
                [
                    formats.plural(int(row["payments"]), "payment"),
                    f"out {escape(formats.money(row['money_out'], currency), 'markdown')}",
                    f"in {escape(formats.money(row['money_in'], currency), 'markdown')}",
                    f"{formats.day(row['first'])} to {formats.day(row['last'])}",
                    f"attribution **{formats.effect(row['attribution'])}** logit{_interval(row)}",
                    f"attention {formats.percent(row['weight'])}",
                    _goes_with(int(row["segment"]), explanation),
                ]
            )
        )


def _interval(row: pd.Series) -> str:
    """The 95 % interval of a sampled value, in brackets; nothing where it is exact."""
    if not row["hi"] > row["lo"]:
        return ""
    return f" ({formats.effect(row['lo'])} to {formats.effect(row['hi'])})"


def _goes_with(segment: int, explanation: Explanation) -> str:
    """The merchants that this one looks at most."""
    weights = explanation.relations[segment].copy()
    weights[segment] = 0
    best = [int(i) for i in weights.argsort()[::-1][:3] if weights[i] > 0]
    if not best:
        return ""
    named = [
        f"{escape(explanation.merchants[i], 'markdown', width=30)} {formats.percent(weights[i], 0)}"
        for i in best
    ]
    return "looks at " + ", ".join(named)


def payments(
    case: Case,
    payments: pd.DataFrame,
    explanation: Explanation,
    selected: str | None,
    beside: str | None = None,
) -> None:
    """The table of payments that follows the selection, and what can be done with its rows.

    Args:
        case: the case.
        payments: `Explanation.payments_frame()`.
        explanation: what they are valued by.
        selected: the merchant that is followed; None = all.
        beside: another one, whose payments stand with them.
    """
    shown = [name for name in (selected, beside) if name is not None]
    rows = payments[payments["merchant"].isin(shown)] if shown else payments
    if selected is None and explanation.opened is not None:  # removal values one merchant's
        rows = payments[explanation.opened[payments["segment"]]]
        selected = str(rows["merchant"].iloc[0])
    title = "Payments with their attribution" + ", whole and per field" * bool(explanation.fields)
    shell.section(
        title,
        f"{formats.plural(len(rows), 'payment')}"
        + ("" if selected is None else f" at {escape(selected, 'markdown', width=60)}")
        + ("" if beside is None else f" and {escape(beside, 'markdown', width=60)}")
        + f" · together {formats.effect(float(rows['attribution'].sum()))} logit · "
        + escape(formats.money(float(rows["amount"].sum()), case.currency), "markdown"),
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        sort = st.segmented_control(
            "Order", TABLE_SORTS, default="Largest effect", required=True,
            key="table_sort", bind="query-params", label_visibility="collapsed",
        )  # fmt: skip
        table_file.download("payments", lambda: taken_away(rows))
    segments = "_".join(str(s) for s in rows["segment"].unique()) if selected else "all"
    ticked = payments_table(
        rows, explanation.fields, list(explanation.extras), case.currency,
        sort or "Largest effect", f"payments_table_{case.sample}_{segments}_{sort}",
    )  # fmt: skip
    if ticked:
        line = "remove rows " + ",".join(str(number) for number in sorted(ticked))
        if st.button(
            f"Take out the {formats.plural(len(ticked), 'ticked payment')} under what if",
            icon=":material/playlist_add:", on_click=state.add_edits, args=([line],),
            key="take_out_ticked", type="tertiary",
        ):  # fmt: skip
            st.rerun()  # of all the page: the list that it goes to stands outside


def payments_table(
    payments: pd.DataFrame,
    fields: tuple[str, ...],
    extras: list[str],
    currency: str,
    sort: str,
    key: str,
) -> list[int]:
    """Payments with their attribution, whole and per field; returns the rows that are ticked.

    Args:
        payments: rows of `Explanation.payments_frame()`.
        fields: names of the fields, for the columns `field:<name>`.
        extras: names of the extra fields' columns.
        sort: one of `TABLE_SORTS`.
        key: of what the table shows; ticks are places in it, so another table has another.

    Returns:
        Numbers of the ticked payments, as in the column `payment`.
    """
    rows = _sorted(payments, sort)
    kind = st.column_config
    effect = formats.table_effect(float(payments["attribution"].abs().max()))
    effects = {
        f"field:{name}": kind.NumberColumn(
            f"↳ {escape(name)}", format=effect, width=30 + 6 * len(name),
            help="This field's share of the payment's attribution (logit).",
        )
        for name in fields
    }  # fmt: skip
    names = [
        name
        for name in ("merchant", "description")
        # A column that says one thing in all rows, or repeats its neighbour, only takes room.
        if not (name == "merchant" and rows["merchant"].nunique() == 1)
        and not (name == "description" and (rows["description"] == rows["merchant"]).all())
    ]
    sampled = [] if fields else ["lo", "hi"]  # removal says how sure it is, and names no fields
    order = ["timestamp", *(names or ["merchant"]), "amount", *extras, "attribution"]
    event = st.dataframe(
        visible_frame(rows.head(MOST_ROWS)),
        hide_index=True,
        height="content" if len(rows) <= 12 else 458,
        alt="Payments with their attribution, whole and per field",
        key=key,
        on_select="rerun",
        selection_mode="multi-row",
        column_order=[*order, *sampled, *effects],
        column_config={
            "timestamp": kind.DatetimeColumn("Time (UTC)", format=formats.TABLE_TIME, width=121),
            "merchant": kind.TextColumn("Merchant", width=118),
            "description": kind.TextColumn("Description", width=116),
            **{name: _extra(rows[name], name) for name in extras},
            "amount": kind.NumberColumn(
                f"Amount ({currency})", format=formats.TABLE_MONEY, width=88
            ),
            "attribution": kind.NumberColumn(
                "Attribution", format=effect, width=84,
                help="What the payment adds to the logit; the ↳ columns are its parts, by field.",
            ),
            **{
                end: kind.NumberColumn(
                    word, format=effect, width=84, help="End of the 95 % interval of sampling."
                )
                for end, word in (("lo", "95 % from"), ("hi", "to"))
            },
            **effects,
        },
    )  # fmt: skip
    if len(rows) > MOST_ROWS:
        st.caption(f"The first {MOST_ROWS:,} of {len(rows):,} payments; the CSV holds all.")
    ticked = [at for at in event["selection"]["rows"] if at < min(len(rows), MOST_ROWS)]
    return [int(number) for number in rows["payment"].iloc[ticked]]


def _extra(values: pd.Series, name: str) -> object:
    """An extra field's column: numbers as numbers, anything else as it is."""
    label = escape(name).replace("_", " ").capitalize()
    if pd.api.types.is_numeric_dtype(values):
        return st.column_config.NumberColumn(label, format=formats.TABLE_MONEY, width=88)
    return st.column_config.Column(label, width=92)


def taken_away(payments: pd.DataFrame) -> pd.DataFrame:
    """All payments with their attributions, under names that other tools take."""
    table = payments.drop(columns=["payment", "segment"], errors="ignore")
    return table.rename(columns=lambda c: str(c).replace("field:", "attribution_"))


def _sorted(payments: pd.DataFrame, sort: str) -> pd.DataFrame:
    if sort == "Latest first":
        return payments.sort_values("timestamp", ascending=False, kind="stable")
    size = payments["amount" if sort == "Largest amount" else "attribution"].abs().to_numpy()
    return payments.take(np.argsort(-size, kind="stable"))
