"""What one page shows of a dossier, as words and places; HTML and PDF draw the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import sqrt
from typing import Any

from lbsf_core.text import shortened, visible

#: Merchants that get a lane and a bar, those with the largest attribution first.
LANES = 12
#: Longest name of a merchant on the page.
WIDTH = 34


@dataclass(frozen=True)
class Lane:
    """One merchant: a bar and its payments.

    Attributes:
        name: as it may be shown.
        payments, total: how many, and their signed sum, in words.
        effect: attribution in words, with its interval where it was sampled.
        bar: (from, to) of the bar, in [0, 1] across the chart.
        whisker: (from, to) of the interval; None = exact.
        raises: whether it raises the score.
        weight: attention in words.
        dots: (when, size, money in) of its payments; when and size in [0, 1].
        opacity: how crowded its dots are, 1 = few.
    """

    name: str
    payments: str
    total: str
    effect: str
    bar: tuple[float, float]
    whisker: tuple[float, float] | None
    raises: bool
    weight: str
    dots: tuple[tuple[float, float, bool], ...]
    opacity: float


@dataclass(frozen=True)
class View:
    """A page.

    Attributes:
        title: user and cutoff.
        pd, band: the score in words.
        notes: what the reader must know first: simulated, a proxy, a shaky explanation.
        figures: label and value of the header.
        risk, protective: sentence, and what the score does without its payments.
        lanes: merchants drawn; `rest` says what the others add up to.
        currency: of every sum.
        sampled: whether values have intervals.
        zero: where attribution 0 lies across the chart, in [0, 1].
        ends: first and last day of the chart.
        summed: that it adds up, or that it does not.
        adds_up: which of the two.
        what_if: lines of a what-if; empty without one.
        cited: payments that the reasons cite: day, merchant, description, amount.
        truth: how faithful the method was found to be.
        made: who, when, from what.
    """

    title: str
    pd: str
    band: str
    notes: tuple[str, ...]
    figures: tuple[tuple[str, str], ...]
    risk: tuple[tuple[str, str], ...]
    protective: tuple[tuple[str, str], ...]
    lanes: tuple[Lane, ...]
    rest: str
    currency: str
    sampled: bool
    zero: float
    ends: tuple[str, str]
    summed: str
    adds_up: bool
    what_if: tuple[str, ...]
    cited: tuple[tuple[str, str, str, str], ...]
    truth: str
    made: tuple[tuple[str, str], ...]


def view(dossier: Mapping[str, Any]) -> View:
    """The page of a dossier's data."""
    said, about = dossier["said"], dossier["about"]
    case, explained, reasons = said["case"], said["explanation"], said["reasons"]
    currency = visible(about["currency"])
    rows = said["payments"]["rows"]
    start = _instant(case["window_start"] or case["first_payment"] or case["cutoff"])
    end = _instant(case["cutoff"])
    lanes, zero, rest = _lanes(explained, rows, start, end)
    return View(
        title=f"User {visible(case['user_id'])} at {_day(case['cutoff'])}",
        pd=_percent(case["pd"]),
        band=f"{case['band']} risk",
        notes=tuple(_notes(about, case, explained)),
        figures=(
            ("Riskier than", f"{case['percentile']:.1f}% of {case['samples']:,} samples"),
            ("Logit", f"{case['logit']:.3f}"),
            ("Payments", f"{case['payments']:,} at {case['merchants']:,} merchants"),
            ("Money in", f"{case['money_in']:,.2f} {currency}"),
            ("Money out", f"{case['money_out']:,.2f} {currency}"),
            ("Window", f"{_day(start.isoformat())} to {_day(case['cutoff'])}, itself not included"),
        ),
        risk=tuple(_reason(one) for one in reasons["risk"]),
        protective=tuple(_reason(one) for one in reasons["protective"]),
        lanes=lanes,
        rest=rest,
        currency=currency,
        sampled=any(lane.whisker for lane in lanes),
        zero=zero,
        ends=(_day(start.isoformat()), _day(case["cutoff"])),
        summed=_summed(explained),
        adds_up=not explained["problems"],
        what_if=tuple(_what_if(said["what_if"])),
        cited=tuple(_cited(reasons, rows, currency)),
        truth=_truth(said["faithfulness"], dossier["asked"]["method"]),
        made=made_lines(dossier["from"], dossier["made"]),
    )


def _notes(
    about: Mapping[str, Any], case: Mapping[str, Any], explained: Mapping[str, Any]
) -> list[str]:
    notes = []
    if about["simulated"]:
        notes.append("Simulated payments: this shows how the tool works and is no evidence.")
    if about["proxy"]:
        notes.append(f"No default was observed: bad stands for a proxy, {visible(about['label'])}.")
    notes += [visible(words) for words in case["warnings"]]
    return notes + [visible(words) for words in explained["warnings"]]


def _reason(one: Mapping[str, Any]) -> tuple[str, str]:
    sentence = shortened(one["text"], 300)
    count = len(one["payments"])
    without = f"{signed(-one['effect'])} logit without {count:,} payment{'s' * (count != 1)}"
    return sentence[:1].upper() + sentence[1:], without


def _lanes(
    explained: Mapping[str, Any],
    rows: Sequence[Sequence[Any]],
    start: datetime,
    end: datetime,
) -> tuple[tuple[Lane, ...], float, str]:
    """The strongest merchants, where 0 lies, and what the others come to."""
    merchants = explained["merchants"]
    order = sorted(range(len(merchants)), key=lambda s: (-abs(merchants[s]["attribution"]), s))
    drawn, others = order[:LANES], order[LANES:]
    ends = [0.0]
    for s in drawn:
        ends += [merchants[s]["lo"], merchants[s]["hi"], merchants[s]["attribution"]]
    low, high = min(ends), max(ends)
    span = (high - low) or 1.0

    def across(value: float) -> float:
        return (value - low) / span

    paid: dict[str, list[Sequence[Any]]] = {}
    for row in rows:
        paid.setdefault(row[0], []).append(row)
    largest = max((abs(row[2]) for row in rows), default=0.0) or 1.0
    seconds = (end - start).total_seconds() or 1.0
    lanes = []
    for s in drawn:
        told = merchants[s]
        own = paid.get(told["merchant"], [])
        value, exact = told["attribution"], told["lo"] == told["hi"]
        interval = "" if exact else f" ({signed(told['lo'])} to {signed(told['hi'])})"
        lanes.append(
            Lane(
                name=shortened(told["merchant"], WIDTH),
                payments=f"{len(own):,}",
                total=money(sum(row[2] for row in own)),
                effect=signed(value) + interval,
                bar=(across(min(value, 0.0)), across(max(value, 0.0))),
                whisker=None if exact else (across(told["lo"]), across(told["hi"])),
                raises=value > 0,
                weight=f"{told['weight']:.1%}",
                dots=tuple(
                    (
                        (_instant(row[1]) - start).total_seconds() / seconds,
                        sqrt(abs(row[2]) / largest),
                        row[2] > 0,
                    )
                    for row in own
                ),
                opacity=1.0 if len(own) < 60 else 0.35,
            )
        )
    total = sum(merchants[s]["attribution"] for s in others)
    rest = f"{len(others):,} more merchants: {signed(total)} logit in all." if others else ""
    return tuple(lanes), across(0.0), rest


def _summed(explained: Mapping[str, Any]) -> str:
    if explained["problems"]:
        return "Does not add up: " + " ".join(visible(words) for words in explained["problems"])
    total = sum(one["attribution"] for one in explained["merchants"])
    others = f" {signed(explained['others'])} elsewhere" if explained["others"] else ""
    effort = f"{explained['steps']:,} steps"
    if explained["coalitions"]:
        effort = f"{explained['coalitions']:,} coalitions"
    return (
        f"Adds up: baseline {explained['baseline_logit']:.3f} {signed(total)} from merchants"
        f"{others} = logit {explained['logit']:.3f} (error {abs(explained['delta']):.4f}) · "
        f"{explained['method']}, {effort} · baseline: {visible(explained['baseline'])}"
    )


def _what_if(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return []
    lines = [shortened(edit["words"], 200) for edit in found["edits"]]
    before, after = found["pd"]["before"], found["pd"]["after"]
    return [*lines, f"PD {_percent(before)} → {_percent(after)}, folded again and scored"]


def _cited(
    reasons: Mapping[str, Any], rows: Sequence[Sequence[Any]], currency: str
) -> list[tuple[str, str, str, str]]:
    """The payments that reasons cite, latest first."""
    at = {n for side in ("risk", "protective") for one in reasons[side] for n in one["payments"]}
    found = sorted((rows[n] for n in at), key=lambda row: (row[1], row[0]), reverse=True)
    return [
        (
            row[1].replace("T", " ").removesuffix(" 00:00:00"),
            shortened(row[0], WIDTH),
            shortened(row[3] or "", WIDTH),
            f"{money(row[2])} {currency}",
        )
        for row in found
    ]


def _truth(measured: Mapping[str, Any], method: str) -> str:
    found = measured.get("methods", {}) if measured else {}
    if method not in found:
        return "How faithful such explanations are was not measured for this model."
    told = ", ".join(
        f"{name} {found[name]['comprehensiveness']:.2f}"
        for name in (method, "attention", "random")
        if name in found
    )
    return (
        "How far the score moves when what is named first is taken out, of the most that any "
        f"order can move it (mean over {measured['users']:,} samples, measured on this model): "
        f"{told}. Attention says where the model looked, not why."
    )


def made_lines(source: Mapping[str, Any], made: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Who made a page, when and from what, as labels and words."""
    versions = ", ".join(f"{key} {value}" for key, value in sorted(source["versions"].items()))
    return (
        ("Made by", visible(made["by"])),
        ("At", visible(made["at"])),
        ("Workspace", visible(source["workspace"])),
        ("Data (SHA-256)", source["store"]),
        ("Model (SHA-256)", source["bundle"]),
        ("Explainer (SHA-256)", source["code"]),
        ("Versions", versions),
    )


def signed(value: float) -> str:
    """A logit contribution with its sign."""
    return f"{value:+.3f}".replace("-", "−")


def money(value: float) -> str:
    """An amount, with a true minus."""
    return f"{value:,.2f}".replace("-", "−")


def _percent(value: float) -> str:
    return "< 0.1%" if 0 < value < 0.001 else f"{value:.1%}"


def _instant(text: str) -> datetime:
    """An instant in UTC, without its zone, to measure distances with."""
    return datetime.fromisoformat(text).replace(tzinfo=None)


def _day(text: str) -> str:
    """An instant as its day, with the time where that says something."""
    when = _instant(text)
    return f"{when:%Y-%m-%d}" if f"{when:%H%M%S}" == "000000" else f"{when:%Y-%m-%d %H:%M}"
