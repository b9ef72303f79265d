"""Two to four cohorts side by side: sizes, scores, merchants, attributions, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import scipy  # its parts are loaded when they are first used: statistics take most of a second

from lbsf_core.evaluate.intervals import Z95, auc_interval, wilson, wilsons
from lbsf_core.explain.attributions import REASON_COLUMNS
from lbsf_core.workspace.groups import merchant_sums
from lbsf_core.workspace.layout import GROUPS
from lbsf_core.workspace.queries import Tables
from lbsf_core.workspace.types import CohortComparison, SampleFilter

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Cohorts below this size are flagged: their figures may point at single people.
SMALL = 10
#: A merchant is compared when at least this many samples of both cohorts paid there; scores are
#: measured inside a cohort with at least so many bad and so many good.
FEWEST = 5
#: A month of spend is shown when the windows of a cohort cover it at least this many times over.
FEWEST_MONTHS = 0.5
#: Most rows handed out in the merchant and attribution tables.
MOST = 200
#: What `shifts` compares: in words -> column of the samples.
FEATURES = {
    "PD": "pd",
    "payments": "payments",
    "merchants": "merchants",
    "money in": "money_in",
    "money out": "money_out",
    "days since the last payment": "idle_days",
}


def compare(
    tables: Tables,
    first: SampleFilter,
    second: SampleFilter,
    names: tuple[str, str],
    beside: Sequence[tuple[str, SampleFilter]] = (),
) -> CohortComparison:
    """Compare two cohorts of a workspace in detail, with others beside them.

    See `CohortComparison` for what each frame holds.
    """
    cohorts = [*zip(names, (first, second), strict=True), *beside]
    label = {chr(ord("a") + at): name for at, (name, _) in enumerate(cohorts)}
    numbers = {key: tables.kept(chosen) for key, (_, chosen) in zip(label, cohorts, strict=True)}
    sides = {key: _members(tables, samples) for key, samples in numbers.items()}
    overlap = len(np.intersect1d(numbers["a"], numbers["b"], assume_unique=True))
    warnings = [
        f"Cohort {label[key]} holds {len(side)} samples: too few to say anything about."
        for key, side in sides.items()
        if len(side) < SMALL
    ]
    seen = sum(int(side["part"].isin(("train", "validation")).sum()) for side in sides.values())
    if seen:
        warnings.append(
            f"The model was built with {seen:,} of these samples: their default rates by score "
            "look better than they would on new users."
        )
    if overlap:
        warnings.append(
            f"{overlap:,} samples lie in both cohorts; differences and their intervals understate."
        )
    paid = merchant_sums(tables.checked.path(GROUPS), numbers["a"], numbers["b"])
    paid = paid[paid["samples_a"] + paid["samples_b"] >= FEWEST].reset_index(drop=True)
    spend = _spend(tables, numbers)
    # A window covers only part of a month at its ends: per covered month, not per sample.
    spend = spend[spend["covered"] >= FEWEST_MONTHS].reset_index(drop=True)
    size = {key: len(side) for key, side in sides.items()}
    for column in ("spend", "payments"):
        spend[column] = spend[column] / spend["covered"]
    spend.insert(0, "cohort", spend.pop("side").map(label))
    spend = spend.drop(columns="covered")
    return CohortComparison(
        names=names,
        sizes=pd.DataFrame([_size(label[key], side) for key, side in sides.items()]),
        scores=pd.concat([_scores(label[k], side) for k, side in sides.items()], ignore_index=True),
        merchants=_over_representation(paid, size),
        spend=spend,
        attributions=_mean_attributions(paid, size),
        shifts=shifts(sides["a"], sides["b"]),
        inside=pd.DataFrame([_inside(label[key], side) for key, side in sides.items()]),
        overlap=overlap,
        warnings=tuple(warnings),
        beside=tuple(name for name, _ in beside),
    )


def reason_mix(
    tables: Tables, first: SampleFilter, second: SampleFilter, *, side: str = "risk"
) -> pd.DataFrame:
    """How often each reason code is given in two cohorts, largest difference first.

    Reason codes were asked of some samples, drawn at random, when the workspace was built.

    Args:
        tables: of the workspace.
        first, second: the cohorts.
        side: "risk" or "protective".

    Returns:
        code, kind (of merchants, "" = none), asked_a, asked_b (samples), given_a, given_b (of
        them), share_a, share_b with lo_ and hi_ (95 % Wilson), significant (the shares differ,
        Fisher's exact test, after Benjamini-Hochberg at 5 %).
    """
    if side not in REASON_COLUMNS:
        raise ValueError(f"side is '{side}'; choose one of {', '.join(REASON_COLUMNS)}.")
    counted: dict[str, pd.Series] = {}
    asked: dict[str, int] = {}
    for key, chosen in (("a", first), ("b", second)):
        codes = tables.taken(pa.array(tables.kept(chosen)), [side])[side]
        asked[key] = len(codes) - codes.null_count
        counted[f"given_{key}"] = pc.list_flatten(codes).to_pandas().value_counts()
    found = pd.DataFrame(counted).fillna(0).astype(np.int64).sort_index()
    found = found.rename_axis("code").reset_index()
    for key, count in asked.items():
        found[f"asked_{key}"] = count
    split = [str(code).partition("|") for code in found["code"]]
    found["code"], found["kind"] = [one for one, _, _ in split], [kind for _, _, kind in split]
    for key in ("a", "b"):
        given, of = (found[f"{name}_{key}"].to_numpy(np.int64) for name in ("given", "asked"))
        found[f"share_{key}"], found[f"lo_{key}"], found[f"hi_{key}"] = wilsons(given, of)
    counts = found[["given_a", "asked_a", "given_b", "asked_b"]].to_numpy(np.int64)
    chances = [
        float(scipy.stats.fisher_exact(np.array([[a, of_a - a], [b, of_b - b]])).pvalue)
        for a, of_a, b, of_b in counts
    ]
    found["significant"] = scipy.stats.false_discovery_control(chances) < 0.05 if chances else False
    gap = (found["share_a"] - found["share_b"]).abs()
    ranked = found.loc[gap.sort_values(ascending=False, kind="stable").index]
    return ranked.reset_index(drop=True)


def _spend(tables: Tables, numbers: Mapping[str, Ints]) -> pd.DataFrame:
    """Money and payments a month of each side, and how often its windows cover the month.

    Args:
        tables: of the workspace.
        numbers: side -> its samples.
    """
    columns = ["sample", "window_start", "first_payment", "cutoff"]
    members = pa.concat_tables(
        tables.taken(pa.array(samples), columns).append_column(
            "side", pa.repeat(pa.scalar(side), len(samples))
        )
        for side, samples in numbers.items()
    )
    return tables.ask(
        """
        WITH spans AS (  -- many samples are of the same days
            SELECT side, epoch(coalesce(window_start, first_payment)) AS start,
                   epoch(cutoff) AS stop, count(*) AS times
            FROM members WHERE first_payment IS NOT NULL GROUP BY ALL
        ), months AS (
            SELECT side, month, epoch(month) AS low, epoch(month + INTERVAL 1 MONTH) AS high,
                   sum(m.spend) AS spend, sum(m.payments)::DOUBLE AS payments
            FROM members JOIN read_parquet($months) m USING (sample) GROUP BY ALL
        )
        SELECT side, month, any_value(spend) AS spend, any_value(payments) AS payments,
               sum(times * greatest(least(stop, high) - greatest(start, low), 0) / (high - low))
                   AS covered
        FROM months JOIN spans USING (side) GROUP BY side, month ORDER BY side, month
        """,
        tables={"members": members},
    )


def _members(tables: Tables, samples: Ints) -> pd.DataFrame:
    """The samples of a cohort, in the order given."""
    columns = ["sample", "user_id", "pd", "label", "payments", "merchants", "money_in", "money_out"]
    found = tables.rows(samples, [*columns, "part", "cutoff", "last_payment"])
    idle = found.pop("cutoff") - found.pop("last_payment")
    return found.assign(idle_days=idle.dt.total_seconds() / 86_400)


def _size(name: str, side: pd.DataFrame) -> dict[str, Any]:
    bad, labelled = int((side["label"] == "bad").sum()), int((side["label"] != "unknown").sum())
    rate, lo, hi = wilson(bad, labelled)
    nothing = float("nan")
    return {
        "cohort": name,
        "samples": len(side),
        "users": side["user_id"].nunique(),
        "payments": int(side["payments"].sum()),
        "labelled": labelled,
        "bad": bad,
        "default_rate": rate,
        "lo": lo,
        "hi": hi,
        "mean_pd": float(side["pd"].mean()) if len(side) else nothing,
        "median_pd": float(side["pd"].median()) if len(side) else nothing,
        "spend": float(side["money_out"].mean()) if len(side) else nothing,
        "merchants": float(side["merchants"].mean()) if len(side) else nothing,
    }


def _inside(name: str, side: pd.DataFrame) -> dict[str, Any]:
    """How well the scores rank inside a cohort, and how true they are."""
    from lbsf_core.evaluate.metrics import auc, ece, ks  # loads scikit-learn

    known = side[side["label"] != "unknown"]
    bad, good = int((known["label"] == "bad").sum()), int((known["label"] == "good").sum())
    found: dict[str, Any] = {"cohort": name, "bad": bad, "good": good}
    nothing = float("nan")
    if min(bad, good) < FEWEST:
        return found | dict.fromkeys(
            ("auc", "lo", "hi", "ks", "ece", "mean_pd", "default_rate"), nothing
        )
    labels: Floats = np.asarray(known["label"] == "bad", dtype=np.float64)
    pds = known["pd"].to_numpy(np.float64)
    area = auc(labels, pds)
    low, high = auc_interval(area, bad, good)
    return found | {
        "auc": area,
        "lo": low,
        "hi": high,
        "ks": ks(labels, pds),
        "ece": ece(labels, pds),
        "mean_pd": float(pds.mean()),
        "default_rate": bad / (bad + good),
    }


def _scores(name: str, side: pd.DataFrame, bins: int = 25) -> pd.DataFrame:
    counts, edges = np.histogram(side["pd"], bins=bins, range=(0.0, 1.0))
    return pd.DataFrame(
        {
            "cohort": name,
            "pd_low": edges[:-1],
            "pd_high": edges[1:],
            "samples": counts,
            "share": counts / max(len(side), 1),
        }
    )


def _over_representation(paid: pd.DataFrame, size: dict[str, int]) -> pd.DataFrame:
    """Risk ratio of paying at each merchant, A over B; Benjamini-Hochberg at 5 % over all."""
    columns = ["merchant", "share_a", "share_b", "samples_a", "samples_b", "ratio", "lo", "hi"]
    if paid.empty or not size["a"] or not size["b"]:
        return pd.DataFrame(columns=[*columns, "significant"])
    a, b = paid["samples_a"].to_numpy(float), paid["samples_b"].to_numpy(float)
    # Add one half to every count, so that a merchant that only one cohort pays has a ratio too.
    log_ratio = np.log((a + 0.5) / (size["a"] + 0.5)) - np.log((b + 0.5) / (size["b"] + 0.5))
    error = np.sqrt(1 / (a + 0.5) - 1 / (size["a"] + 0.5) + 1 / (b + 0.5) - 1 / (size["b"] + 0.5))
    z = np.divide(log_ratio, error, out=np.zeros_like(error), where=error > 0)
    adjusted = scipy.stats.false_discovery_control(2 * scipy.stats.norm.sf(np.abs(z)))
    frame = pd.DataFrame(
        {
            "merchant": paid["merchant"],
            "share_a": a / size["a"],
            "share_b": b / size["b"],
            "samples_a": paid["samples_a"],
            "samples_b": paid["samples_b"],
            "ratio": np.exp(log_ratio),
            "lo": np.exp(log_ratio - Z95 * error),
            "hi": np.exp(log_ratio + Z95 * error),
            "significant": (adjusted < 0.05) & (np.abs(z) > Z95),
        }
    )
    order = np.argsort(-z, kind="stable")
    # Both ends matter: what A has more of, and what B has more of.
    keep = (
        order if len(order) <= MOST else np.concatenate([order[: MOST // 2], order[-MOST // 2 :]])
    )
    return frame.iloc[keep].reset_index(drop=True)


def shifts(a: pd.DataFrame, b: pd.DataFrame, bins: int = 10) -> pd.DataFrame:
    """How far score and activity of two groups of samples lie apart: population stability index.

    Bins hold equal counts of both groups together, and every count has one half added, so that a
    bin that one group leaves empty counts instead of being dropped. Two groups by chance have a PSI
    too: (1/n_a + 1/n_b) times a chi-square of bins - 1, which gives each figure its p-value;
    Benjamini-Hochberg at 5 % over all of them.

    Args:
        a, b: samples, with the columns of `FEATURES`; a value that is not known is missing.
        bins: at most; fewer where values tie.

    Returns:
        feature, psi, chance (the PSI that two groups of this size pass once in twenty by chance),
        significant, median_a, median_b; largest first.
    """
    columns = ["feature", "psi", "chance", "significant", "median_a", "median_b"]
    if a.empty or b.empty:
        return pd.DataFrame(columns=columns)
    scale = 1 / len(a) + 1 / len(b)
    rows, chances = [], []
    for feature, column in FEATURES.items():
        one, other = (side[column].to_numpy(np.float64, na_value=np.nan) for side in (a, b))
        both = np.concatenate([one, other])
        known = both[np.isfinite(both)]
        steps = np.linspace(0, 1, bins + 1)[1:-1]
        inner: Floats = np.unique(np.quantile(known, steps)) if len(known) else np.zeros(0)
        # A value that is not known (no payment) is a bin of its own.
        counts = [np.bincount(_bin(side, inner), minlength=len(inner) + 2) for side in (one, other)]
        used = np.flatnonzero(counts[0] + counts[1])
        shares = [(count[used] + 0.5) / (count.sum() + 0.5 * len(used)) for count in counts]
        psi = float(np.sum((shares[0] - shares[1]) * np.log(shares[0] / shares[1])))
        free = max(len(used) - 1, 1)
        chances.append(float(scipy.stats.chi2.sf(psi / scale, free)))
        limit = float(scipy.stats.chi2.ppf(0.95, free)) * scale
        medians = [
            float(np.median(side[np.isfinite(side)])) if np.isfinite(side).any() else np.nan
            for side in (one, other)
        ]
        rows.append((feature, psi, limit, False, *medians))
    frame = pd.DataFrame(rows, columns=columns)
    frame["significant"] = scipy.stats.false_discovery_control(chances) < 0.05
    return frame.sort_values("psi", ascending=False, kind="stable", ignore_index=True)


def _bin(values: Floats, inner: Floats) -> npt.NDArray[np.int64]:
    """(N,) number of the bin of each value; the last one holds what is not known."""
    found = np.searchsorted(inner, values, side="left")
    return np.where(np.isfinite(values), found, len(inner) + 1).astype(np.int64)


def mean_groups(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Two frames of `explain.importance.importance` side by side, largest difference first.

    Returns:
        group, mean_a, mean_b, lo_a, hi_a, lo_b, hi_b (logit units a sample), samples_a, samples_b.
        A group that a cohort has nothing of is 0 there.
    """
    named = []
    for side, frame in (("a", first), ("b", second)):
        chosen = frame.reindex(columns=["group", "mean", "mean_lo", "mean_hi", "samples"])
        names = {"mean": "mean", "mean_lo": "lo", "mean_hi": "hi", "samples": "samples"}
        chosen = chosen.rename(columns={old: f"{new}_{side}" for old, new in names.items()})
        named.append(chosen.set_index("group"))
    frame = named[0].join(named[1], how="outer").fillna(0.0)
    frame[["samples_a", "samples_b"]] = frame[["samples_a", "samples_b"]].astype(np.int64)
    gap = (frame["mean_a"] - frame["mean_b"]).abs()
    frame = frame.loc[gap.sort_values(ascending=False, kind="stable").index]
    order = ["mean_a", "mean_b", "lo_a", "hi_a", "lo_b", "hi_b", "samples_a", "samples_b"]
    return frame[order].rename_axis("group").reset_index()


def _mean_attributions(paid: pd.DataFrame, size: dict[str, int]) -> pd.DataFrame:
    """Mean attribution per sample of a cohort; a sample that never paid there counts 0."""
    frame = paid[["merchant", "samples_a", "samples_b"]].copy()
    for key in ("a", "b"):
        n = max(size[key], 1)
        mean: npt.NDArray[np.float64] = paid[f"sum_{key}"].to_numpy(float) / n
        variance = np.maximum(paid[f"square_{key}"].to_numpy(float) / n - mean**2, 0.0)
        half = Z95 * np.sqrt(variance / n)
        frame[f"mean_{key}"], frame[f"lo_{key}"], frame[f"hi_{key}"] = (
            mean,
            mean - half,
            mean + half,
        )
    gap = (frame["mean_a"] - frame["mean_b"]).abs()
    order = [
        "merchant",
        "mean_a",
        "mean_b",
        "lo_a",
        "hi_a",
        "lo_b",
        "hi_b",
        "samples_a",
        "samples_b",
    ]
    ranked = frame.loc[gap.sort_values(ascending=False, kind="stable").index, order]
    return ranked.head(MOST).reset_index(drop=True)
