"""Model: how well the scores rank, how true they are, and the model's card."""

import json

import streamlit as st

from dashboard import state
from dashboard.charts import compared
from dashboard.charts import model as charts
from dashboard.components import drift_panel, faithfulness, formats, shell, states, table_file, text
from lbsf_core.workspace import Card, Performance

#: Names that a narrow card can't hold -> what it shows instead; the tooltip says all.
SHORT = {"Top-decile capture": "Capture (10%)"}
#: What each metric says, for its tooltip.
MEANING = {
    "AUC": "Chance that a random bad sample scores above a random good one; 0.5 is guessing.",
    "KS": "Largest gap between the shares of bad and good at or above a score.",
    "PR-AUC": "Mean precision over all recalls; guessing gives the share of bad samples.",
    "Brier": "Mean squared error of the PD; lower is better.",
    "Top-decile capture": "Share of all bad samples among the tenth with the highest PD.",
    "Calibration slope": "1 = PDs as spread as the outcomes; below 1 = PDs too extreme.",
    "ECE": "Mean distance between predicted and observed rate over bins; lower is better.",
}


def main() -> None:
    """Settings, answers, drawing."""
    source = shell.choose_source()
    shell.heading("Model", state.ask(source, "summary"))
    performance = state.ask(source, "performance")
    st.caption(f"Measured on {text.escape(performance.source, 'markdown')}. Intervals are 95%.")
    states.warnings(performance.warnings)
    if performance.metrics.empty:
        states.empty(
            "No figures: there are no labels to measure against",
            "Add labels with `lbsf ingest-labels`, fold again, and make the workspace again.",
            icon="monitoring",
        )
    else:
        _metrics(performance)
        _curves(performance)
    drift_panel.show(state.ask(source, "drift"))
    if not performance.contestants.empty:
        _compared(performance)
    faithfulness.show(state.ask(source, "faithfulness"))
    _card(state.ask(source, "card"), performance)


def _metrics(performance: Performance) -> None:
    with st.grid(max(len(performance.metrics), 1), min_column_width=130, gap="small"):
        known = {name.lower(): at for at, name in enumerate(MEANING)}
        ranks = performance.metrics["name"].str.lower().map(known).fillna(len(known))
        for row in performance.metrics.iloc[ranks.argsort(kind="stable")].itertuples():
            meaning = next((m for k, m in MEANING.items() if k.lower() == row.name.lower()), None)
            st.metric(
                text.escape(SHORT.get(row.name, row.name), "markdown"),
                formats.number(row.value),
                delta=formats.interval(row.lo, row.hi),
                delta_color="off",
                delta_arrow="off",
                border=True,
                help=meaning or f"{row.better} is better",
            )


def _curves(performance: Performance) -> None:
    left, middle, right = st.columns(3)
    with left:
        shell.section("Ranking (ROC)", "Bad found for each share of good declined.")
        _draw(charts.roc(performance.roc), "roc", "ROC curve against guessing")
    with middle:
        shell.section("Precision and recall", "Who is declined: how many are bad, of how many.")
        _draw(charts.precision_recall(performance.pr), "pr",
              "Precision against recall, beside guessing")  # fmt: skip
    with right:
        shell.section("Separation (KS)", "Shares at or above each PD; dashed: the widest gap.")
        _draw(charts.ks(performance.ks), "ks", "Shares of bad and good at or above each PD")
    left, right = st.columns(2)
    with left:
        shell.section("Lift", "Under each bar: the share of all bad up to there.")
        _draw(charts.lift(performance.lift), "lift",
              "Default rate of each tenth of the samples over that of all")  # fmt: skip
    with right:
        shell.section("Calibration", "Observed rates with their 95% intervals.")
        _draw(charts.calibration(performance.calibration), "calibration",
              "Observed default rate against predicted, with intervals")  # fmt: skip
    shell.section("By length of history", "A short history leaves the model little to go by.")
    _draw(charts.by_history(performance.by_history), "by_history",
          "AUC and default rate by number of payments")  # fmt: skip


def _compared(performance: Performance) -> None:
    """Who else could have scored, and what LBSF's parts are worth."""
    shell.section(
        "Against what a team would use instead",
        f"AUC on {text.escape(performance.compared_on, 'markdown')}; the same folds for all.",
    )
    _draw(compared.contestants(performance.contestants), "contestants",
          "AUC of every contestant with its 95% interval")  # fmt: skip
    frame = performance.differences
    names = performance.contestants.set_index("name")["about"].to_dict()
    pairs = [pair.split(" - ") for pair in frame["pair"]]
    st.dataframe(
        {
            "Gain in AUC": frame["auc"].map("{:+.3f}".format),
            "95% interval": [f"{row.lo:+.3f} to {row.hi:+.3f}" for row in frame.itertuples()],
            "Of": [text.escape(names.get(pair[0], pair[0])) for pair in pairs],
            "Over": [text.escape(names.get(pair[-1], pair[-1])) for pair in pairs],
        },
        hide_index=True,
        height="content",
    )
    st.caption("An interval that holds 0 proves no difference.")


def _card(card: Card, performance: Performance) -> None:
    shell.section("The model's card")
    left, right = st.columns([3, 2])
    with left:
        for title, sentences in card.text.items():
            st.markdown(f"**{text.escape(title, 'markdown')}**")
            st.markdown("\n".join(f"- {text.escape(s, 'markdown')}" for s in sentences))
    with right:
        if card.facts:
            st.table(
                {
                    text.escape(k, "markdown"): text.escape(v, "markdown")
                    for k, v in card.facts.items()
                },
                border="horizontal",
            )
        with st.container(horizontal=True):
            st.download_button(
                "Card as JSON", json.dumps(card.raw, indent=2, default=str), file_name="card.json",
                mime="application/json", on_click="ignore", icon=":material/download:",
                type="tertiary",
            )  # fmt: skip
            table_file.download("metrics", performance.metrics, "Metrics")


def _draw(figure: object, key: str, alt: str) -> None:
    st.plotly_chart(figure, key=key, config=state.picture(key), alt=alt)


main()
