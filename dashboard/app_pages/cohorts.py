"""Cohorts: two to four groups of samples side by side."""

from collections.abc import Sequence
from itertools import combinations

import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.charts import cohorts as charts
from dashboard.charts.cohorts import LETTERS, Pair
from dashboard.components import (
    filters,
    formats,
    map_panel,
    saved,
    shell,
    states,
    table_file,
    take_away,
    text,
)
from lbsf_core.workspace import CohortComparison, SampleFilter, Summary

#: Word on the screen -> how attributions are added up.
GROUPED = {"Kind of merchant": "kind", "Field": "field", "Time before the cutoff": "time"}
#: Word on the screen -> which side's reason codes.
SIDES = {"Why risky": "risk", "What speaks for them": "protective"}
#: Score bands and labels that the cohorts begin with, by letter; how each letter is coloured.
FIRST = (("high", "very high"), ("very low", "low"), ("medium",), ())
COLOURS = ("green", "violet", "blue", "orange")


def main() -> None:
    """Settings, answers, drawing."""
    source = shell.choose_source()
    summary = state.ask(source, "summary")
    shell.heading("Cohorts", summary)
    with st.container(horizontal=True, vertical_alignment="center"):
        count = st.segmented_control(
            "Cohorts side by side", (2, 3, 4), default=2, required=True, key="cohorts",
            bind="query-params", label_visibility="collapsed",
        )  # fmt: skip
        st.caption(
            "cohorts side by side. The address holds them all, so the link shows somebody else the "
            "same comparison."
        )
    chosen = _cohorts(source, int(count or 2), summary)
    if not _shown(source, chosen):
        return
    at = _pair(len(chosen))
    (a_name, a), (b_name, b) = (list(chosen.items())[place] for place in at)
    others = tuple(item for place, item in enumerate(chosen.items()) if place not in at)
    with st.skeleton(height=300):
        found = state.ask(source, "compare", a, b, names=(a_name, b_name), beside=others)
    _notes(found, at)
    names = tuple(chosen)
    _sizes(found, names, summary)
    _inside(found, names)
    _charts(found, names, at, summary)
    _groups(source, a, b, found, at)
    _reasons(source, a, b, found, at)
    map_panel.show(source, summary, chosen)
    _downloads(found)
    take_away.cohorts(source, a, b, (a_name, b_name), others)


def _cohorts(source: state.Source, count: int, summary: Summary) -> dict[str, SampleFilter]:
    """Name -> filter of each, in the order of their letters; drawn two in a row."""
    found: dict[str, SampleFilter] = {}
    for begin in range(0, count, 2):
        for place, box in zip(range(begin, count), st.columns(2), strict=False):
            with box.container(border=True, height="stretch"):
                name, where = _cohort(source, place, summary)
            found[name if name not in found else f"{name} ({LETTERS[place]})"] = where
    return found


def _cohort(source: state.Source, place: int, summary: Summary) -> tuple[str, SampleFilter]:
    letter = LETTERS[place]
    prefix = f"{letter.lower()}_"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f":{COLOURS[place]}[**Cohort {letter}**]", width="content")
        name = st.text_input(
            f"Name of cohort {letter}", key=f"{prefix}name", bind="query-params", max_chars=40,
            placeholder="name it, if you like", label_visibility="collapsed",
        )  # fmt: skip
        drawer = st.container()
    where = filters.cohort_filters(source, prefix, summary, bands=FIRST[place])
    with drawer:
        saved.drawer(source, prefix, name or "", where)
    return (name or "").strip() or _short_name(letter, where), where


def _shown(source: state.Source, chosen: dict[str, SampleFilter]) -> bool:
    """Whether every cohort holds samples enough to be shown; else it is said which does not."""
    smallest = state.smallest_cohort()
    for name, where in chosen.items():
        count = state.ask(source, "count", where)
        if 0 < count < smallest:
            states.empty(
                f"Cohort {text.escape(name, 'markdown')} holds fewer than {smallest} samples, so "
                "nothing of it is shown",
                "Figures of so few may point at single people. Widen its filters above; whoever "
                f"runs the dashboard sets the limit with `{state.SMALLEST_ENV}`.",
                icon="group_off",
            )
            return False
        if not count:
            states.empty(
                f"Cohort {text.escape(name, 'markdown')} is empty: no sample matches "
                f"{filters.in_words(where)}",
                "Clear one of its filters above. All need samples to be compared.",
            )
            return False
    return True


def _pair(count: int) -> Pair:
    """Which two are compared in detail."""
    pairs = {f"{LETTERS[a]} and {LETTERS[b]}": (a, b) for a, b in combinations(range(count), 2)}
    if len(pairs) == 1:
        return 0, 1
    state.first_if_stale("pair", list(pairs))
    words = st.segmented_control(
        "Compared in detail", list(pairs), default=next(iter(pairs)), required=True, key="pair",
        bind="query-params",
        help="Merchants, attributions and shifts are compared between two at a time.",
    )  # fmt: skip
    return pairs[words or next(iter(pairs))]


def _short_name(letter: str, where: SampleFilter) -> str:
    """A name from the filters, for the legend."""
    parts = [*where.labels]
    if where.bands:
        parts.append(" + ".join(where.bands) + " risk")
    if where.merchants:
        parts.append("paid at " + " and ".join(where.merchants))
    if where.ids is not None:
        parts.append("by ids")
    if not parts:
        return f"{letter}: " + ("all" if filters.is_open(where) else "filtered")
    return f"{letter}: " + ", ".join(parts)


def _notes(found: CohortComparison, at: Pair) -> None:
    sentences = list(found.warnings)
    if found.overlap and not any("both" in s or "overlap" in s.lower() for s in sentences):
        both = "both cohorts" if not found.beside else " and ".join(LETTERS[one] for one in at)
        sentences.insert(
            0,
            f"{formats.plural(found.overlap, 'sample')} lie in {both}, which draws the two "
            "closer together than they are.",
        )
    states.warnings(sentences)


def _in_order(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """One row a cohort, in the order of their letters, whichever are compared in detail."""
    return frame.set_index("cohort").loc[list(names)].reset_index()


def _sizes(found: CohortComparison, names: Sequence[str], summary: Summary) -> None:
    sizes = _in_order(found.sizes, names)
    table = sizes.assign(
        interval=[
            formats.interval(lo, hi, as_percent=True)
            for lo, hi in zip(sizes["lo"], sizes["hi"], strict=True)
        ],
        default_rate=[formats.percent(v) for v in sizes["default_rate"]],
        mean_pd=[formats.percent(v) for v in sizes["mean_pd"]],
        median_pd=[formats.percent(v) for v in sizes["median_pd"]],
    )
    kind = st.column_config
    money = f"Money out per sample ({summary.currency})"
    st.dataframe(
        text.visible_frame(table),
        hide_index=True,
        alt="Size, default rate and activity of the cohorts",
        column_order=["cohort", "samples", "users", "payments", "labelled", "bad", "default_rate",
                      "interval", "mean_pd", "median_pd", "spend", "merchants"],
        column_config={
            "cohort": kind.TextColumn("Cohort", pinned=True),
            "samples": kind.NumberColumn("Samples", format=formats.TABLE_COUNT),
            "users": kind.NumberColumn("Users", format=formats.TABLE_COUNT),
            "payments": kind.NumberColumn("Payments", format=formats.TABLE_COUNT),
            "labelled": kind.NumberColumn("Labelled", format=formats.TABLE_COUNT),
            "bad": kind.NumberColumn("Bad", format=formats.TABLE_COUNT),
            "default_rate": kind.TextColumn("Default rate", alignment="right"),
            "interval": kind.TextColumn("95% interval", alignment="right"),
            "mean_pd": kind.TextColumn("Mean PD", alignment="right"),
            "median_pd": kind.TextColumn("Median PD", alignment="right"),
            "spend": kind.NumberColumn(money, format=formats.TABLE_MONEY),
            "merchants": kind.NumberColumn("Merchants per sample", format="%.1f"),
        },
    )  # fmt: skip


def _inside(found: CohortComparison, names: Sequence[str]) -> None:
    shell.section(
        "How the scores do inside each",
        "Over the samples with a label. A model may rank a whole portfolio well and a part of it "
        "badly.",
    )
    inside = _in_order(found.inside, names)
    numbers = {name: inside[name].map(formats.number) for name in ("auc", "ks", "ece")}
    table = inside.assign(
        **numbers,
        interval=[formats.interval(row.lo, row.hi) for row in inside[["lo", "hi"]].itertuples()],
        **{name: inside[name].map(formats.percent) for name in ("mean_pd", "default_rate")},
    )
    kind = st.column_config
    right = {
        "auc": "AUC", "interval": "95% interval", "ks": "KS", "ece": "ECE",
        "mean_pd": "Mean PD of them", "default_rate": "Default rate",
    }  # fmt: skip
    st.dataframe(
        text.visible_frame(table),
        hide_index=True,
        alt="AUC, KS and calibration of the scores inside the cohorts",
        column_order=["cohort", "bad", "good", *right],
        column_config={
            "cohort": kind.TextColumn("Cohort", pinned=True),
            "bad": kind.NumberColumn("Bad", format=formats.TABLE_COUNT),
            "good": kind.NumberColumn("Good", format=formats.TABLE_COUNT),
            **{name: kind.TextColumn(words, alignment="right") for name, words in right.items()},
        },
    )
    if found.inside["auc"].isna().any():
        st.caption("A cohort with fewer than five bad or five good samples is not measured.")


def _charts(found: CohortComparison, names: Sequence[str], at: Pair, summary: Summary) -> None:
    left, right = st.columns(2)
    with left:
        shell.section("Score distribution")
        _draw(charts.scores(found.scores, names), "cohort_scores",
              "Score distribution of the cohorts")  # fmt: skip
    with right:
        shell.section("Observed default rate, with 95% interval")
        _draw(charts.default_rates(found.sizes, names), "cohort_rates",
              "Default rate of the cohorts with interval")  # fmt: skip
    left, right = st.columns(2)
    with left:
        shell.section(
            "Where they pay",
            f"How many times as often {LETTERS[at[0]]} paid there as {LETTERS[at[1]]}; best "
            "supported first.",
        )
        _draw(charts.over_representation(found.merchants, found.names, at=at), "cohort_merchants",
              "Merchants by over-representation")  # fmt: skip
    with right:
        shell.section(
            "What the model makes of it",
            "Mean attribution per sample, 95% interval; never paid there counts 0.",
        )
        _draw(charts.attributions(found.attributions, found.names, at=at), "cohort_attributions",
              "Mean attribution by merchant in both cohorts")  # fmt: skip
    shell.section("Spend over time", "Mean money out per sample, and month that its window covers.")
    _draw(charts.spend(found.spend, names, summary.currency), "cohort_spend",
          "Mean monthly spend of the cohorts")  # fmt: skip


def _groups(
    source: state.Source, a: SampleFilter, b: SampleFilter, found: CohortComparison, at: Pair
) -> None:
    """What moves the scores, added up; and how far the cohorts lie apart."""
    left, right = st.columns(2)
    with left:
        shell.section(
            "What moves the scores, added up",
            "Mean attribution per sample, 95% interval by user.",
        )
        word = st.segmented_control(
            "By", list(GROUPED), default="Kind of merchant", required=True, key="by",
            bind="query-params", label_visibility="collapsed",
        )  # fmt: skip
        by = GROUPED[word or "Kind of merchant"]
        _draw(
            charts.attributions(
                state.ask(source, "compare_importance", a, b, by), found.names, of="group", at=at
            ),
            "cohort_groups",
            "Mean attribution in both cohorts by kind of merchant, field or time",
        )
    with right:
        shell.section(
            "How far apart they lie",
            "Population stability index of score and activity; by custom below 0.1 is stable, "
            "above 0.25 another population.",
        )
        _draw(charts.shifts(found.shifts, at), "cohort_shifts",
              "Population stability index of score and activity between the cohorts")  # fmt: skip


def _reasons(
    source: state.Source, a: SampleFilter, b: SampleFilter, found: CohortComparison, at: Pair
) -> None:
    """Which reason codes are given how often."""
    shell.section(
        "Which reasons are given",
        "Share of samples with each reason code, 95% interval. Codes were asked of samples drawn "
        "at random when the workspace was made.",
    )
    word = st.segmented_control(
        "Side", list(SIDES), default=next(iter(SIDES)), required=True, key="side",
        bind="query-params", label_visibility="collapsed",
    )  # fmt: skip
    mix = state.ask(source, "compare_reasons", a, b, SIDES[word or next(iter(SIDES))])
    if len(mix):
        asked = mix.iloc[0]
        st.caption(
            f"Asked: {formats.plural(int(asked['asked_a']), 'sample')} of {LETTERS[at[0]]}, "
            f"{formats.plural(int(asked['asked_b']), 'sample')} of {LETTERS[at[1]]}."
        )
    _draw(charts.reason_mix(mix, found.names, at=at), "cohort_reasons",
          "Share of samples with each reason code in both cohorts")  # fmt: skip


def _downloads(found: CohortComparison) -> None:
    with st.container(horizontal=True):
        for label, frame in (
            ("Merchants", found.merchants),
            ("Attributions", found.attributions),
            ("Shifts", found.shifts),
        ):
            table_file.download(f"cohorts-{label.lower()}", frame, label)


def _draw(figure: object, key: str, alt: str) -> None:
    st.plotly_chart(figure, key=key, config=state.picture(key), alt=alt)


main()
