"""What the workspace hands out: plain frozen values and data frames, nothing that draws."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import pandas as pd

#: Names of the bands, from the safest fifth of the scored samples to the riskiest twentieth.
BANDS: tuple[str, ...] = ("very low", "low", "medium", "high", "very high")
#: Percentile (of the workspace's own samples) at which each band but the first begins.
BAND_STARTS: tuple[float, ...] = (20.0, 50.0, 80.0, 95.0)


@dataclass(frozen=True)
class SampleFilter:
    """Which samples are meant; every condition must hold, an empty one always does.

    Attributes:
        user: literal part of the user id (`%` and `_` mean themselves), any case.
        merchants: literal parts of merchants' names, any case; the sample paid inside its window
            at one merchant at least for each of them.
        pd_min: lowest PD, inclusive.
        pd_max: highest PD, inclusive.
        labels: some of "good", "bad", "unknown".
        bands: some of `BANDS`.
        parts: some of "train", "validation", "test" (which part of training saw the user).
        payments_min: fewest payments in the window.
        payments_max: most payments in the window.
        cutoff_from: first cutoff, inclusive.
        cutoff_to: last cutoff, inclusive.
        ids: whole user ids; None = any. An empty list keeps nobody.
        area: corners (x, y) of an area on the map of `Nearest.map`, joined in their order and the
            last with the first; who lies inside is kept. Empty = anywhere.
    """

    user: str = ""
    merchants: tuple[str, ...] = ()
    pd_min: float = 0.0
    pd_max: float = 1.0
    labels: tuple[str, ...] = ()
    bands: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    payments_min: int | None = None
    payments_max: int | None = None
    cutoff_from: date | None = None
    cutoff_to: date | None = None
    ids: tuple[str, ...] | None = None
    area: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Summary:
    """What a workspace holds, in one glance. `payments` and `merchants` count what was kept.

    `scored_before`, `at_stake` and `explained_twice` count the samples with an earlier score, with
    an amount, and with explanations by two methods to be compared.
    """

    name: str
    samples: int
    users: int
    payments: int
    merchants: int
    labelled: int
    bad: int
    currency: str
    window_days: int | None
    first_cutoff: datetime | None
    last_cutoff: datetime | None
    label: str
    proxy: bool
    simulated: bool
    extra_fields: tuple[str, ...]
    dropped_payments: int
    max_delta: float
    additive_share: float
    warnings: tuple[str, ...]
    scored_before: int = 0
    at_stake: int = 0
    explained_twice: int = 0


@dataclass(frozen=True)
class Case:
    """One sample as the header of the user page shows it.

    Attributes:
        percentile: share of the workspace's samples with a lower or equal PD, 0-100.
        rank: 1 for the highest PD.
        label: "good", "bad" or "unknown".
        part: "train", "validation", "test" or "new".
        dropped_amount: sum of the absolute amounts of what the caps dropped.
        warnings: plain sentences, e.g. an empty history or a dropped tail.
    """

    sample: int
    user_id: str
    cutoff: datetime
    window_start: datetime | None
    logit: float
    pd: float
    percentile: float
    rank: int
    samples: int
    band: str
    label: str
    part: str
    payments: int
    merchants: int
    money_in: float
    money_out: float
    dropped_payments: int
    dropped_merchants: int
    dropped_amount: float
    currency: str
    first_payment: datetime | None
    last_payment: datetime | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class CohortComparison:
    """Two cohorts in detail, and up to two more beside them; every frame is ready to draw.

    `sizes`, `scores`, `spend` and `inside` have rows of all of them, the other frames are about the
    two, A and B.

    Attributes:
        names: of the two cohorts, as given.
        beside: names of the others.
        sizes: one row a cohort: cohort, samples, users, payments, labelled, bad,
            default_rate, lo, hi (95 % Wilson interval), mean_pd, median_pd, spend
            (mean money out per sample), merchants (mean per sample).
        scores: cohort, pd_low, pd_high, samples, share (of the cohort).
        merchants: merchant, share_a, share_b (share of each cohort's samples that paid there),
            samples_a, samples_b, ratio (share_a / share_b, add-half smoothed), lo, hi
            (95 % interval of the ratio), significant (interval excludes 1 after
            Benjamini-Hochberg at 5 %); most over-represented in A first.
        spend: cohort, month (first day), spend (mean money out per sample and month that its
            window covers), payments (mean count likewise).
        attributions: merchant, mean_a, mean_b (mean attribution per sample of the cohort; a
            sample that never paid there counts 0), lo_a, hi_a, lo_b, hi_b (95 %), samples_a,
            samples_b; largest difference first.
        shifts: feature, psi (population stability index), chance (the PSI that is passed once in
            twenty by chance), significant (after Benjamini-Hochberg), median_a, median_b.
        inside: one row a cohort, over its labelled samples: cohort, bad, good, auc, lo, hi (95 %
            interval by Hanley and McNeil), ks, ece, mean_pd, default_rate; NaN with fewer than five
            bad or five good.
        overlap: samples that lie in both A and B.
        warnings: plain sentences, e.g. a cohort of fewer than ten samples.
    """

    names: tuple[str, str]
    sizes: pd.DataFrame
    scores: pd.DataFrame
    merchants: pd.DataFrame
    spend: pd.DataFrame
    attributions: pd.DataFrame
    shifts: pd.DataFrame
    inside: pd.DataFrame
    overlap: int
    warnings: tuple[str, ...]
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Performance:
    """How well the scores rank and how true they are, on samples that training never saw.

    Attributes:
        source: in words, e.g. "held-out users (147 samples, 21 bad)" or "5-fold
            cross-validation, 3 repeats".
        metrics: name, value, lo, hi (95 % bootstrap by user), better ("higher", "lower" or
            "near 1").
        roc: fpr, tpr, threshold.
        pr: threshold (PD), precision, recall; empty in a workspace made before it was kept.
        lift: part (tenths, highest PDs first), samples, bad, rate, lift (rate over that of all),
            captured (share of all bad in this part and those before it); may be empty likewise.
        ks: threshold (PD), bad (share of bad at or above), good (share of good at or above);
            the KS statistic is the largest gap.
        calibration: bin, pd (mean predicted), rate (observed), lo, hi (95 % Wilson), samples.
        by_history: history (payments, e.g. "1-49"), samples, bad, auc (NaN with fewer than
            five bad or five good), lo, hi, mean_pd, default_rate.
        warnings: plain sentences, e.g. few bad samples.
        compared_on: what contestants were compared on, in words; empty without a comparison.
        contestants: name, about, auc, lo, hi, repeats, control (LBSF with something changed).
        differences: pair ("one - other"), auc, lo, hi, repeats.
    """

    source: str
    metrics: pd.DataFrame
    roc: pd.DataFrame
    ks: pd.DataFrame
    calibration: pd.DataFrame
    by_history: pd.DataFrame
    warnings: tuple[str, ...]
    compared_on: str = ""
    contestants: pd.DataFrame = field(default_factory=pd.DataFrame)
    differences: pd.DataFrame = field(default_factory=pd.DataFrame)
    pr: pd.DataFrame = field(default_factory=pd.DataFrame)
    lift: pd.DataFrame = field(default_factory=pd.DataFrame)


@dataclass(frozen=True)
class Drift:
    """How far later samples lie from those that the model was trained on.

    Attributes:
        reference: what later samples are held against, in words; empty where there is nothing.
        trained: whether these are the training's own samples.
        per: "month", "quarter" or "year": the shortest that has samples enough.
        periods: start (first day, of the cutoff), samples, feature, psi (population stability
            index), chance (the PSI that is passed once in twenty by chance), significant (after
            Benjamini-Hochberg within the period), median (in it), reference (median of the
            reference); in order.
        left_out: periods with too few samples to say anything.
    """

    reference: str
    trained: bool
    per: str
    periods: pd.DataFrame
    left_out: int


@dataclass(frozen=True)
class Card:
    """The bundle's card: what the model is, how it was made, what it must not be used for.

    Attributes:
        text: sentences under headings, heading -> list of sentences.
        facts: label -> value pairs, in order, for a table.
        raw: the bundle's manifest as plain JSON values, for download.
    """

    text: dict[str, list[str]]
    facts: dict[str, str]
    raw: dict[str, Any]
