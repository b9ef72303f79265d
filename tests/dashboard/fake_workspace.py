"""A workspace made of a few invented samples, answering like the real one but in no time.

Page tests need the types and the awkward cases (empty, one payment, hostile names, a broken sum),
not a model: this one holds all of them under speaking user ids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from lbsf_core.errors import LbsfError, UnknownUserError, WorkspaceError
from lbsf_core.explain.counterfactual import Answer, Change, Counterfactuals
from lbsf_core.explain.edits import Edit, Edited
from lbsf_core.explain.reasons import Reason, Reasons
from lbsf_core.explain.result import Explanation
from lbsf_core.explain.sufficient import Sufficient
from lbsf_core.explain.whatif import Standing, WhatIf
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.workspace.questions import Questions
from lbsf_core.workspace.types import (
    BAND_STARTS,
    BANDS,
    Card,
    Case,
    CohortComparison,
    Drift,
    Performance,
    SampleFilter,
    Summary,
)

EVIL_IMAGE = "![x](http://127.0.0.1:9/evil)"
EVIL_TAG = "<img src=x onerror=alert(1)><b>bold</b>"
EVIL_BIDI = "pay\u200bpal \u202eknab"
EVIL_CELL = "=HYPERLINK(1)"
EVIL = (EVIL_IMAGE, EVIL_TAG, EVIL_BIDI, EVIL_CELL, "[link](javascript:alert(1))", "$x^2$ :red[a]")
SHOPS = (
    "acme payroll", "riverside lettings", "green grocer", "metro transit", "lucky star casino",
    "quick cash atm", "pay in 3", "northwind energy", "city gym", "coffee corner", "book nook",
    "blue airline", "corner pharmacy", "tele mobile", "home garden", "stream box", "bistro 21",
    "pet planet", "toy town", "shoe street", "fuel and go", "aqua utility", "old bank transfer",
    "kiosk central", "bakery lane", "vinyl cellar", "sushi go", "hardware hub", "parking plus",
    "cinema royal",
)  # fmt: skip
FIELDS = ("description", "amount", "time", "kind")
CUTOFF = datetime(2024, 3, 31, tzinfo=UTC)


def make_explanation(
    user: str = "U001",
    *,
    merchants: tuple[str, ...] = SHOPS[:12],
    payments: int = 240,
    seed: int = 1,
    broken: bool = False,
) -> Explanation:
    """An explanation that adds up, unless `broken`."""
    rng = np.random.default_rng(seed)
    count = min(len(merchants), payments)
    merchants = merchants[:count]
    extra = rng.multinomial(payments - count, rng.dirichlet(np.ones(count))) if count else []
    offsets = np.concatenate([[0], np.cumsum(np.asarray(extra, dtype=np.int64) + 1)]).astype(int)
    offsets = offsets if count else np.zeros(1, dtype=np.int64)
    n = int(offsets[-1])
    segment = np.repeat(np.arange(count), np.diff(offsets))
    seconds = np.sort(rng.integers(0, 365 * 86400, n))
    order = np.lexsort((seconds, segment))
    stamps = np.datetime64(CUTOFF.replace(tzinfo=None), "us") - (
        (365 * 86400 - seconds[order]).astype("timedelta64[s]")
    )
    fields = rng.normal(0, 0.05, (n, len(FIELDS)))
    per_payment = fields.sum(axis=1)
    per_merchant = np.array(
        [per_payment[offsets[s] : offsets[s + 1]].sum() for s in range(count)], dtype=float
    )
    heads = rng.dirichlet(np.ones(max(count, 1)), (2, max(count, 1)))[:, :count, :count]
    total = float(per_merchant.sum())
    weights = rng.dirichlet(np.ones(count)) if count else np.zeros(0)
    inside = rng.random(n)
    for s in range(count):
        inside[offsets[s] : offsets[s + 1]] /= inside[offsets[s] : offsets[s + 1]].sum()
    signs = np.where(np.array([m == "acme payroll" for m in merchants])[segment], 1.0, -1.0)
    return Explanation(
        user=user,
        cutoff=CUTOFF,
        logit=-1.5 + total + (0.4 if broken else 0.0),
        baseline_logit=-1.5,
        pd=0.123,
        delta=0.4 if broken else 0.0002,
        method="integrated gradients",
        baseline="an average payment at every place",
        steps=32,
        fields=FIELDS,
        merchants=merchants,
        offsets=offsets,
        timestamps=stamps,
        amounts=np.round(signs * rng.lognormal(3, 1, n), 2),
        descriptions=tuple(f"{merchants[s].upper()} {i:04d}" for i, s in enumerate(segment)),
        field_attributions=fields,
        payment_attributions=per_payment,
        merchant_attributions=per_merchant,
        merchant_weights=weights,
        payment_weights=inside,
        relation_weights=heads,
        extras={"kind": np.array(["card"] * n, dtype=object)},
        kinds=tuple(("salary", "rent", "gambling", EVIL_TAG)[s % 4] for s in range(count)),
        regular=frozenset(merchants[:2]),
    )


def by_removal(found: Explanation, opened: Sequence[str]) -> Explanation:
    """The same values, as removal would tell them: payments of the opened merchants alone."""
    told = np.array([name in opened for name in found.merchants], dtype=bool)
    segment = np.repeat(np.arange(len(told)), np.diff(found.offsets))
    values = np.where(told[segment], found.payment_attributions, np.nan)
    return replace(
        found,
        method="removal (Shapley)",
        steps=0,
        coalitions=2000,
        fields=(),
        field_attributions=np.zeros((len(values), 0)),
        payment_attributions=values,
        payment_lo=values - 0.01,
        payment_hi=values + 0.01,
        merchant_lo=found.merchant_attributions - 0.02,
        merchant_hi=found.merchant_attributions + 0.02,
        opened=told,
    )


class FakeWorkspace:
    """The facade's methods over about forty samples. `U000` is the riskiest."""

    def __init__(self, path: Path | str = "/nowhere/demo", **summary: Any) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self.compared = 0
        self.checked = SimpleNamespace(all=self._compare)
        self._summary = summary
        users = [f"U{i:03d}" for i in range(34)]
        users += ["empty", "one-payment", "one-merchant", "hostile", "broken", "big", "huge"]
        rng = np.random.default_rng(3)
        pd_ = np.sort(rng.beta(1, 6, len(users)))[::-1]
        self._cases = []
        for i, user in enumerate(users):
            percentile = 100.0 * (len(users) - i) / len(users)
            counts = {"empty": (0, 0), "one-payment": (1, 1), "one-merchant": (30, 1)}
            counts |= {"hostile": (60, 6), "big": (1500, 30), "huge": (10_000, 30)}
            payments, merchants = counts.get(user, (240, 12))
            self._cases.append(
                Case(
                    sample=i, user_id=user, cutoff=CUTOFF, window_start=CUTOFF - timedelta(365),
                    logit=float(np.log(pd_[i] / (1 - pd_[i]))), pd=float(pd_[i]),
                    percentile=percentile, rank=i + 1, samples=len(users),
                    band=BANDS[int(np.searchsorted(BAND_STARTS, percentile, "right"))],
                    label=("bad" if rng.random() < pd_[i] else "good") if i % 7 else "unknown",
                    part=("train", "validation", "test")[i % 3], payments=payments,
                    merchants=merchants, money_in=12000.0 if payments else 0.0,
                    money_out=9000.5 if payments else 0.0, dropped_payments=3 if i == 1 else 0,
                    dropped_merchants=1 if i == 1 else 0, dropped_amount=45.5 if i == 1 else 0.0,
                    currency="EUR", first_payment=CUTOFF - timedelta(360) if payments else None,
                    last_payment=CUTOFF - timedelta(1) if payments else None,
                    warnings=("No payment lies in the window.",) if not payments else (),
                )
            )  # fmt: skip

    def summary(self) -> Summary:
        values: dict[str, Any] = {
            "name": self.name, "samples": len(self._cases), "users": len(self._cases),
            "payments": 9400, "merchants": len(SHOPS), "labelled": 34, "bad": 5,
            "currency": "EUR", "window_days": 365, "first_cutoff": CUTOFF, "last_cutoff": CUTOFF,
            "label": "missed three instalments in a row within 180 days", "proxy": False,
            "simulated": True, "extra_fields": ("kind",), "dropped_payments": 3,
            "max_delta": 0.0002, "additive_share": 1.0, "warnings": (),
        }  # fmt: skip
        return Summary(**(values | self._summary))

    def _match(self, where: SampleFilter) -> list[Case]:
        return [
            c
            for c in self._cases
            if where.user.lower() in c.user_id.lower()
            and where.pd_min <= c.pd <= where.pd_max
            and (not where.labels or c.label in where.labels)
            and (not where.bands or c.band in where.bands)
            and (not where.parts or c.part in where.parts)
            and c.payments >= (where.payments_min or 0)
            and (where.payments_max is None or c.payments <= where.payments_max)
            and (where.cutoff_from is None or c.cutoff.date() >= where.cutoff_from)
            and (where.cutoff_to is None or c.cutoff.date() <= where.cutoff_to)
            and (where.ids is None or c.user_id in where.ids)
            and all(any(part in m for m in self._names(c.user_id)) for part in where.merchants)
        ]

    def queue(
        self,
        where: SampleFilter = SampleFilter(),  # noqa: B008 - frozen
        *,
        sort: str = "pd",
        descending: bool = True,
        limit: int = 50,
        offset: int = 0,
    ) -> pd.DataFrame:
        cases = sorted(
            self._match(where),
            key=lambda c: (getattr(c, sort, c.pd) is not None, getattr(c, sort, c.pd)),
            reverse=descending,
        )
        rows = [
            {
                "rank": c.rank, "sample": c.sample, "user_id": c.user_id,
                "cutoff": pd.Timestamp(c.cutoff), "pd": c.pd, "percentile": c.percentile,
                "band": c.band, "label": c.label, "part": c.part, "payments": c.payments,
                "merchants": c.merchants, "money_in": c.money_in, "money_out": c.money_out,
                "last_payment": pd.Timestamp(c.last_payment) if c.last_payment else pd.NaT,
                "dropped_payments": c.dropped_payments,
                "activity": [float((i * c.rank) % 7) for i in range(12)],
                "top_merchant": (self._names(c.user_id) or ("",))[0], "top_attribution": 0.4,
                "previous_pd": c.pd / 2, "change": c.pd / 2, "at_stake": 5000.0,
                "expected_loss": 5000 * c.pd, "disagreement": 0.25,
            }
            for c in cases[offset : offset + limit]
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def count(self, where: SampleFilter = SampleFilter()) -> int:  # noqa: B008
        return len(self._match(where))

    def score_distribution(self, where: SampleFilter, bins: int = 40) -> pd.DataFrame:
        edges = np.linspace(0, 1, bins + 1)
        rows = []
        for label in ("good", "bad", "unknown"):
            values = [c.pd for c in self._match(where) if c.label == label]
            for low, high, n in zip(
                edges[:-1], edges[1:], np.histogram(values, edges)[0], strict=True
            ):
                if n:
                    rows.append({"pd_low": low, "pd_high": high, "label": label, "samples": n})
        return pd.DataFrame(rows, columns=["pd_low", "pd_high", "label", "samples"])

    def _compare(self, go_on: Callable[[], bool]) -> None:
        self.compared += go_on()

    def threshold(self, where: SampleFilter, value: float) -> dict[str, float]:
        cases = self._match(where)
        known = [c for c in cases if c.label != "unknown"]
        ok = [c for c in known if c.pd < value]
        bad = sum(c.label == "bad" for c in known)
        bad_ok = sum(c.label == "bad" for c in ok)
        rate = bad_ok / len(ok) if ok else float("nan")
        declined = len(known) - len(ok)
        return {
            "threshold": value,
            "approved": sum(c.pd < value for c in cases) / len(cases) if cases else float("nan"),
            "default_rate": rate, "lo": max(0, rate - 0.05), "hi": rate + 0.05,
            "declined_default_rate": (bad - bad_ok) / declined if declined else float("nan"),
            "capture": (bad - bad_ok) / bad if bad else float("nan"),
            "samples": len(cases), "labelled": len(known),
        }  # fmt: skip

    def thresholds(self, where: SampleFilter) -> pd.DataFrame:
        return pd.DataFrame([self.threshold(where, v) for v in np.linspace(0, 1, 51)])

    def costs(
        self,
        where: SampleFilter,
        *,
        default: float | None,
        declined: float,
        loss_given_default: float = 1.0,
        at: float | None = None,
    ) -> pd.DataFrame:
        lost = 5000 * loss_given_default if default is None else default
        steps = np.union1d(np.linspace(0, 1, 51), [] if at is None else [at])
        return pd.DataFrame(
            {"threshold": steps, "approved": steps,
             "expected": lost * steps**2 / 100 + declined * (1 - steps),
             "observed": lost * steps**2 + declined * (1 - steps), "samples": 20, "labelled": 15}
        )  # fmt: skip

    def unknown_users(self, ids: Sequence[str]) -> list[str]:
        return [one for one in ids if one not in {c.user_id for c in self._cases}]

    def find_users(self, text: str, limit: int = 20) -> list[str]:
        found = [c.user_id for c in self._cases if text.lower() in c.user_id.lower()]
        return found[:limit]

    def cases(self, user_id: str) -> list[Case]:
        found = [c for c in self._cases if c.user_id == user_id]
        if not found:
            raise UnknownUserError(f"No user {user_id!r} in this workspace; search the queue.")
        return found

    def case(self, user_id: str, cutoff: datetime | None = None) -> Case:
        return self.cases(user_id)[0]

    def neighbours(
        self, case: Case, where: SampleFilter, sort: str = "pd", descending: bool = True
    ) -> tuple[tuple[str, str] | None, tuple[str, str] | None]:
        at = case.sample
        before = self._cases[at - 1] if at else None
        after = self._cases[at + 1] if at + 1 < len(self._cases) else None
        pair = [(c.user_id, c.cutoff.isoformat()) if c else None for c in (before, after)]
        return pair[0], pair[1]

    def _names(self, user: str) -> tuple[str, ...]:
        special = {"empty": (), "one-payment": SHOPS[:1], "one-merchant": SHOPS[:1]}
        return (special | {"hostile": EVIL, "big": SHOPS, "huge": SHOPS}).get(user, SHOPS[:12])

    def explanation(
        self,
        case: Case,
        *,
        method: str = "gradient",
        baseline: str | None = None,
        opened: Sequence[str] = (),
    ) -> Explanation:
        found = make_explanation(
            case.user_id,
            merchants=self._names(case.user_id),
            payments=case.payments,
            seed=case.sample,
            broken=case.user_id == "broken",
        )
        if baseline:
            found = replace(found, baseline=baseline, warnings=("Other merchants come first.",))
        return found if method == "gradient" else by_removal(found, opened)

    def baselines_of(self, method: str) -> list[str]:
        own = "typical payment" if method == "gradient" else "empty history"
        return [own, "typical user", "cohort mean"]

    def faithfulness(self) -> dict[str, Any]:
        named = {"removal": 0.96, "gradient": 0.9, "attention": 0.6, "random": 0.4}
        methods = {
            name: {"comprehensiveness": value, "sufficiency": value}
            for name, value in named.items()
        }
        gap = {"mean": 0.36, "lo": 0.3, "hi": 0.42}
        least = {"mean": -0.01, "lo": -0.03, "hi": 0.01}
        return {
            "methods": methods,
            "differences": {
                "default - attention": {"comprehensiveness": gap, "sufficiency": gap},
                "default - gradient": {"comprehensiveness": least, "sufficiency": gap},
            },
            "users": 100,
            "default": "removal",
            "date": "2026-11-24",
            "attention_uniform": {"difference": {"mean": 0.002, "lo": -0.004, "hi": 0.006}},
            "stability": {
                **{"seeds": 5, "top": 4},
                **{"identical": {"share": 0.78}, "flagged": {"share": 0.43}},
            },
            "randomisation": {
                "stages": {
                    "head": {
                        "removal": {"mean": -0.05},
                        "gradient": {"mean": 0.04},
                        "attention": {"mean": 1.0},
                    }
                }
            },
        }

    def interactions(self, case: Case, segments: Sequence[int]) -> np.ndarray:
        count = len(segments)
        return np.full((count, count), 0.25) - 0.25 * np.eye(count)

    def map(self, most: int = 2_000) -> pd.DataFrame:
        rng = np.random.default_rng(2)
        cases = self._cases[:most]
        return pd.DataFrame(
            {"sample": [c.sample for c in cases], "user_id": EVIL_TAG, "cutoff": CUTOFF,
             "x": rng.normal(size=len(cases)), "y": rng.normal(size=len(cases)),
             "pd": [c.pd for c in cases], "label": "good"}
        )  # fmt: skip

    def score_history(self, case: Case, months: int = 12) -> list[Standing]:
        if case.payments < 2:
            return [Standing(case.cutoff, case.logit, case.pd, case.payments, whole=True)]
        cutoffs = [case.cutoff - timedelta(days=30 * back) for back in range(5, -1, -1)]
        return [
            Standing(when, 0.0, case.pd * (at + 1) / 6, 10 * at, whole=at == 5)
            for at, when in enumerate(cutoffs)
        ]

    def reasons(self, case: Case, *, always: bool = False, **_: Any) -> Reasons:
        if case.user_id == "one-merchant":
            raise LbsfError("the bundle does not know its default rate.")

        def reason(text: str, effect: float) -> Reason:
            return Reason(
                "rose", text, "groceries", (), "rose", {}, (0, 1), effect, effect, case.pd / 2
            )

        names = self._names(case.user_id)[:2]
        risk = [reason(f"payments at {name} rose from 1.0 to 6.3 a month", 0.4) for name in names]
        good = [reason(f"payments at {name} stayed", -0.2) for name in names[:1]]
        return Reasons(
            case.user_id, "2024-03-31Z", case.logit, case.pd, 0.1, True, tuple(risk), tuple(good),
            9, "en",
        )  # fmt: skip

    def similar(self, case: Case, count: int = 10) -> pd.DataFrame:
        others = [c for c in self._cases if c.user_id != case.user_id and c.payments][:count]
        rows = [
            {"sample": c.sample, "user_id": c.user_id, "cutoff": pd.Timestamp(c.cutoff),
             "similarity": 0.9 - 0.05 * at, "pd": c.pd, "label": c.label, "part": c.part,
             "payments": c.payments, "top_merchant": EVIL_TAG}
            for at, c in enumerate(others)
        ]  # fmt: skip
        return pd.DataFrame(rows)

    edits, lines = Questions.edits, Questions.lines

    def what_if(self, case: Case, edits: Sequence[Mapping[str, Any]]) -> WhatIf:
        made = tuple(Edit.from_dict(edit) for edit in edits)
        rest = FoldedBatch.from_rows([(case.user_id, "2024-03-31", [])])
        edited = Edited(rest, np.zeros(0, dtype=np.int64), 0)
        return WhatIf(made, case.logit, case.logit - 1, case.pd, case.pd / 2, edited)

    def dossier(self, case: Case, *, by: str, form: str, **asked: Any) -> bytes:
        return f"{form} by {by}: {case.user_id} {asked}".encode()

    def cohort_report(
        self, a: SampleFilter, b: SampleFilter, names: tuple[str, str], *, form: str, **told: Any
    ) -> bytes:
        return f"{form} of {names}: {told}".encode()

    def counterfactuals(self, case: Case, threshold: float) -> Counterfactuals:
        if case.pd < threshold:
            return Counterfactuals(threshold, case.pd, (), "Already under.", 0)
        edit = {"kind": "remove", "merchant": self._names(case.user_id)[0]}
        found = self.what_if(case, [edit])
        answer = Answer((Change(0, found.edits[0], 0.25),), found)
        return Counterfactuals(threshold, case.pd, (answer,), "", 12)

    def sufficient(self, case: Case, threshold: float) -> Sufficient:
        names = self._names(case.user_id)
        rows = np.arange(2)
        counts = (case.merchants, case.payments)
        return Sufficient(
            "declined", threshold, case.pd, case.pd, threshold, names[:1], rows, *counts
        )

    def compare(
        self,
        a: SampleFilter,
        b: SampleFilter,
        names: tuple[str, str] = ("A", "B"),
        beside: Sequence[tuple[str, SampleFilter]] = (),
    ) -> CohortComparison:
        others = {name: self._match(where) for name, where in beside}
        return fake_comparison(self._match(a), self._match(b), names, others)

    def compare_importance(
        self, a: SampleFilter, b: SampleFilter, by: str = "kind"
    ) -> pd.DataFrame:
        names = {"kind": ("gambling", EVIL_TAG), "field": FIELDS, "time": ("last 30 days",)}[by]
        columns = ("mean_a", "mean_b", "lo_a", "hi_a", "lo_b", "hi_b", "samples_a", "samples_b")
        values = dict(zip(columns, (0.4, 0.1, 0.3, 0.5, 0.0, 0.2, 12, 9), strict=True))
        return pd.DataFrame([{"group": name} | values for name in names])

    def compare_reasons(self, a: SampleFilter, b: SampleFilter, side: str = "risk") -> pd.DataFrame:
        rows = [
            (f"{side}-rose", "gambling", 12, 9, 8, 2, 0.66, 0.22, 0.4, 0.06, 0.86, 0.55, True),
            ("all-stopped", EVIL_TAG, 12, 9, 3, 2, 0.25, 0.22, 0.1, 0.06, 0.5, 0.55, False),
        ]
        columns = ["code", "kind", "asked_a", "asked_b", "given_a", "given_b", "share_a", "share_b",
                   "lo_a", "lo_b", "hi_a", "hi_b", "significant"]  # fmt: skip
        return pd.DataFrame(rows, columns=columns)

    def performance(self) -> Performance:
        return fake_performance()

    def drift(self) -> Drift:
        months = pd.to_datetime(["2024-01-01", "2024-02-01"])
        rows = [
            (month, 60, feature, psi, 0.2, psi > 0.2, 0.1, 0.12)
            for month in months
            for feature, psi in (("PD", 0.31), ("payments", 0.05))
        ]
        columns = ["start", "samples", "feature", "psi", "chance", "significant", "median",
                   "reference"]  # fmt: skip
        periods = pd.DataFrame(rows, columns=columns)
        return Drift("the 300 samples of training", True, "month", periods, 1)

    def card(self) -> Card:
        return Card(
            text={"What it is": ["A model of payments."], "Not for": ["Deciding by itself."]},
            facts={"Parameters": "120,345", "Trained on": EVIL_IMAGE},
            raw={"model": "lbsf", "seed": 1},
        )

    def merchants(self, text: str = "", limit: int = 200) -> list[str]:
        return [m for m in (*SHOPS, *EVIL) if text in m][:limit]


def fake_comparison(
    a: list[Case],
    b: list[Case],
    names: tuple[str, str] = ("A", "B"),
    others: Mapping[str, list[Case]] = MappingProxyType({}),
) -> CohortComparison:
    """Figures of the right shape; the samples' own values where that is one line."""
    rng = np.random.default_rng(5)
    sizes, scores = [], []
    for name, cases in zip((*names, *others), (a, b, *others.values()), strict=True):
        bad = sum(c.label == "bad" for c in cases)
        known = sum(c.label != "unknown" for c in cases)
        rate = bad / known if known else np.nan
        pds = [c.pd for c in cases] or [np.nan]
        sizes.append(
            {"cohort": name, "samples": len(cases), "users": len(cases), "labelled": known,
             "payments": sum(c.payments for c in cases), "bad": bad, "default_rate": rate,
             "lo": max(rate - 0.1, 0), "hi": rate + 0.1, "mean_pd": np.mean(pds),
             "median_pd": np.median(pds), "spend": 9000.0, "merchants": 11.0}
        )  # fmt: skip
        n = np.histogram([c.pd for c in cases], np.linspace(0, 1, 21))[0]
        for i in range(20):
            share = n[i] / max(len(cases), 1)
            scores.append({"cohort": name, "pd_low": i / 20, "pd_high": (i + 1) / 20,
                           "samples": n[i], "share": share})  # fmt: skip
    shops = [*SHOPS[:16], EVIL_IMAGE, EVIL_TAG] if a and b else []
    ratio = np.sort(rng.lognormal(0, 0.8, len(shops)))[::-1]
    merchants = pd.DataFrame(
        {"merchant": shops, "share_a": 0.4, "share_b": 0.3, "samples_a": 12, "samples_b": 9,
         "ratio": ratio, "lo": ratio / 1.6, "hi": ratio * 1.6, "significant": ratio / 1.6 > 1}
    )  # fmt: skip
    months = pd.date_range("2023-04-01", periods=12, freq="MS")
    spend = pd.DataFrame(
        [{"cohort": n, "month": m, "spend": 700 + 40 * i, "payments": 18.0}
         for n in (*names, *others) for i, m in enumerate(months)]
    )  # fmt: skip
    mean = rng.normal(0, 0.3, (len(shops), 2))
    attributions = pd.DataFrame(
        {"merchant": shops, "mean_a": mean[:, 0], "mean_b": mean[:, 1],
         "lo_a": mean[:, 0] - 0.1, "hi_a": mean[:, 0] + 0.1, "lo_b": mean[:, 1] - 0.1,
         "hi_b": mean[:, 1] + 0.1, "samples_a": 12, "samples_b": 9}
    )  # fmt: skip
    shifts = pd.DataFrame(
        [("PD", 2.4, 0.1, True, 0.3, 0.05), ("payments", 0.04, 0.1, False, 120.0, 118.0)],
        columns=["feature", "psi", "chance", "significant", "median_a", "median_b"],
    )  # fmt: skip
    inside = pd.DataFrame(
        [{"cohort": name, "bad": 6, "good": 9, "auc": auc, "lo": auc - 0.1, "hi": auc + 0.1,
          "ks": 0.4, "ece": 0.05, "mean_pd": 0.2, "default_rate": 0.4}
         for name, auc in zip((*names, *others), (0.7, np.nan, 0.6, 0.8), strict=False)]
    )  # fmt: skip
    both = {c.sample for c in a} & {c.sample for c in b}
    small = [f"Cohort {n} has fewer than ten samples: read its figures as hints."
             for n, c in zip(names, (a, b), strict=True) if len(c) < 10]  # fmt: skip
    return CohortComparison(
        names=names, sizes=pd.DataFrame(sizes), scores=pd.DataFrame(scores), merchants=merchants,
        spend=spend if a and b else spend.iloc[:0], attributions=attributions, shifts=shifts,
        inside=inside,
        overlap=len(both), warnings=tuple(small), beside=tuple(others),
    )  # fmt: skip


def fake_performance() -> Performance:
    """A plausible model."""
    grid = np.linspace(0, 1, 51)
    metric = pd.DataFrame(
        [("AUC", 0.78, 0.71, 0.84, "higher"), ("KS", 0.46, 0.35, 0.55, "higher"),
         ("PR-AUC", 0.41, 0.3, 0.52, "higher"), ("Brier", 0.11, 0.09, 0.13, "lower"),
         ("ECE", 0.03, 0.02, 0.06, "lower")],
        columns=["name", "value", "lo", "hi", "better"],
    )  # fmt: skip
    return Performance(
        source="held-out users (147 samples, 21 bad)",
        metrics=metric,
        roc=pd.DataFrame({"fpr": grid, "tpr": grid**0.35, "threshold": 1 - grid}),
        ks=pd.DataFrame({"threshold": grid, "bad": 1 - grid**2, "good": (1 - grid) ** 3}),
        calibration=pd.DataFrame(
            {"bin": range(5), "pd": [0.02, 0.08, 0.15, 0.3, 0.6], "samples": 30,
             "rate": [0.03, 0.07, 0.2, 0.25, 0.62], "lo": [0.01, 0.03, 0.1, 0.15, 0.45],
             "hi": [0.1, 0.15, 0.33, 0.4, 0.77]}
        ),
        by_history=pd.DataFrame(
            {"history": ["0", "1-49", "50-199", "200+"], "samples": [2, 30, 60, 55],
             "bad": [0, 5, 9, 7], "auc": [np.nan, 0.7, 0.75, 0.8], "lo": [np.nan, 0.5, 0.6, 0.7],
             "hi": [np.nan, 0.85, 0.86, 0.9], "mean_pd": [0.1, 0.2, 0.15, 0.12],
             "default_rate": [0.0, 0.17, 0.15, 0.13]}
        ),
        pr=pd.DataFrame(
            {"threshold": grid, "precision": 0.15 + 0.6 * grid, "recall": 1 - grid}
        ),
        lift=pd.DataFrame(
            {"part": range(1, 4), "samples": [49, 49, 49], "bad": [14, 5, 2],
             "rate": [0.29, 0.1, 0.04], "lift": [2.0, 0.71, 0.29], "captured": [0.67, 0.9, 1.0]}
        ),
        warnings=("Only 21 bad samples: the intervals are wide.",),
        compared_on="invented: 147 samples, 21 bad",
        contestants=pd.DataFrame(
            {"name": ["lbsf", "lightgbm", "gru", "no_fold"], "auc": [0.78, 0.76, 0.74, 0.73],
             "about": [f"LBSF {EVIL_TAG}", "LightGBM", "flat GRU", "LBSF, no fold"],
             "lo": [0.7, 0.69, 0.66, 0.65], "hi": [0.85, 0.83, 0.81, 0.8], "repeats": 3,
             "control": [False, False, False, True]}
        ),
        differences=pd.DataFrame(
            {"pair": ["lbsf - gru"], "auc": [0.04], "lo": [0.01], "hi": [0.07], "repeats": [3]}
        ),
    )  # fmt: skip


def broken_open(path: Path | str, *, verify: bool | str = True) -> FakeWorkspace:
    """`Workspace.open` of a damaged folder."""
    raise WorkspaceError(
        f"{path}: scores.parquet does not match its hash. Make the workspace again with "
        "`lbsf workspace STORE BUNDLE --out DIR`."
    )


__all__ = ["BANDS", "CUTOFF", "EVIL", "FakeWorkspace", "date", "make_explanation"]
