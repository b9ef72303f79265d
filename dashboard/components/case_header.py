"""The head of the user page: the score, the window, what is missing, and whether it adds up."""

from __future__ import annotations

import streamlit as st

from dashboard.components import formats
from dashboard.components.text import escape
from lbsf_core.workspace import Case, Explanation

BAND_COLOURS = {
    "very low": "blue", "low": "blue", "medium": "gray", "high": "orange", "very high": "red",
}  # fmt: skip
LABEL_WORDS = {"good": "Label: good", "bad": "Label: bad", "unknown": "No label yet"}
PART_WORDS = {
    "train": "The model learnt from this user: its score here flatters the model.",
    "validation": "Training was stopped by users like this one.",
    "test": "The model never saw this user.",
    "new": "The model never saw this user.",
}


def badges(case: Case) -> None:
    """Band, label and part of training, for the title's row."""
    st.badge(f"{case.band} risk", color=BAND_COLOURS.get(case.band, "gray"))  # type: ignore[arg-type]
    st.badge(
        LABEL_WORDS.get(case.label, case.label),
        color="red" if case.label == "bad" else "gray",
        help="What happened after the cutoff. The model never sees it.",
    )
    st.badge(case.part, color="gray", help=PART_WORDS.get(case.part))


def figures(case: Case) -> None:
    """The score, the counts, the window and what was dropped."""
    with st.grid(6, min_column_width=150, gap="small"):
        st.metric(
            "Probability of default",
            formats.percent(case.pd),
            border=True,
            help=f"Calibrated. The model's raw output (logit) is {formats.number(case.logit, 2)}.",
        )
        st.metric(
            "Riskier than",
            f"{case.percentile:.0f}%" if case.percentile < 99.5 else f"{case.percentile:.1f}%",
            border=True,
            help=f"Share of this workspace's samples with a lower or equal PD: rank {case.rank:,} "
            f"of {case.samples:,}.",
        )
        st.metric("Payments", formats.count(case.payments), border=True)
        st.metric("Merchants", formats.count(case.merchants), border=True)
        st.metric(
            f"Money in ({escape(case.currency, 'markdown')})", _money(case.money_in), border=True
        )
        st.metric(
            f"Money out ({escape(case.currency, 'markdown')})", _money(case.money_out), border=True
        )
    st.caption(_window(case))
    _warn(case.warnings)


def _money(value: float) -> str:
    return formats.amount(value, "")


def _window(case: Case) -> str:
    end = f"{formats.instant(case.cutoff)} (UTC, the cutoff itself not included)"
    start = case.window_start
    parts = [
        f"Window {formats.instant(start)} to {end}" if start else f"Whole history up to {end}",
        f"first payment {formats.day(case.first_payment)}" if case.first_payment else "",
        f"last {formats.day(case.last_payment)}" if case.last_payment else "",
    ]
    if case.dropped_payments:
        dropped = f"{formats.plural(case.dropped_payments, 'payment')} dropped by caps"
        if case.dropped_merchants:
            dropped += f" at {formats.plural(case.dropped_merchants, 'merchant')}"
        money = escape(formats.money(case.dropped_amount, case.currency), "markdown")
        parts.append(f"**{dropped}, {money} in all**")
    else:
        parts.append("nothing dropped")
    return formats.listing(parts)


def additivity(explanation: Explanation) -> None:
    """Whether the tree adds up, with its sum; a broken sum is an error nobody overlooks."""
    total = float(explanation.merchant_attributions.sum())
    effort = formats.plural(explanation.steps, "step")
    if explanation.coalitions:
        effort = formats.plural(explanation.coalitions, "coalition")
    others = ""
    if explanation.others:
        others = f" {formats.effect(explanation.others)} from not paying where the baseline does"
    problems = explanation.problems()
    if problems:
        st.error(
            "**This explanation does not add up: do not use its attributions.**  \n"
            + "  \n".join(escape(p, "markdown") for p in problems)
            + "  \nThe score itself is not affected. Report the case, with the workspace's name.",
            icon=":material/error:",
        )
        return
    st.caption(
        f":material/check_circle: Adds up: baseline {formats.number(explanation.baseline_logit)} "
        f"{formats.effect(total)} from merchants{others} "
        f"= logit {formats.number(explanation.logit)} "
        f"(error {abs(explanation.delta):.4f}, allowed 0.001) · "
        f"{escape(explanation.method, 'markdown')}, {effort} · "
        f"baseline: {escape(explanation.baseline, 'markdown')}"
    )
    _warn(explanation.warnings)


def _warn(sentences: tuple[str, ...]) -> None:
    """Small, and not as captions: those fade, and a faded colour is hard to read."""
    for sentence in sentences:
        st.markdown(f":small[:material/warning: :orange[{escape(sentence, 'markdown')}]]")
