"""`Workspace`: the only door through which the dashboard reaches the library."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from lbsf_core.errors import UnknownUserError, WorkspaceError
from lbsf_core.explain.result import TOLERANCE
from lbsf_core.files import read_json, recover
from lbsf_core.model.bundle_files import check_bundle
from lbsf_core.workspace import cohorts
from lbsf_core.workspace.checked import AGAIN, Checked
from lbsf_core.workspace.drift import drift
from lbsf_core.workspace.layout import (
    GROUPS,
    MANIFEST,
    PERFORMANCE,
    SUMMARY,
    WORKSPACE_VERSION,
)
from lbsf_core.workspace.nearest import Nearest
from lbsf_core.workspace.portfolio import Portfolio
from lbsf_core.workspace.queries import Tables
from lbsf_core.workspace.questions import Questions
from lbsf_core.workspace.summed import from_json
from lbsf_core.workspace.types import (
    Card,
    Case,
    CohortComparison,
    Drift,
    Performance,
    SampleFilter,
    Summary,
)

if TYPE_CHECKING:
    from lbsf_core.explain.importance import By

#: Below this many payments a score rests on little.
SHORT_HISTORY = 10


def find_workspaces(path: str | Path) -> dict[str, Path]:
    """The workspace at a path, or every workspace directly inside it, by name.

    Raises:
        WorkspaceError: there is none.
    """
    path = Path(path)
    if (path / MANIFEST).is_file() and "workspace_version" in read_json(path / MANIFEST):
        return {str(read_json(path / MANIFEST)["name"]): path}
    found = {}
    for entry in sorted(path.iterdir()) if path.is_dir() else ():
        if entry.name.startswith(".") or not (entry / MANIFEST).is_file():
            continue
        manifest = read_json(entry / MANIFEST)
        if "workspace_version" in manifest:
            name = str(manifest["name"])
            found[name if name not in found else f"{name} ({entry.name})"] = entry
    if not found:
        raise WorkspaceError(
            f"{path}: holds no workspace. Make one with `lbsf workspace STORE BUNDLE --out DIR`, "
            "or run `lbsf demo`."
        )
    return found


class Workspace(Portfolio, Nearest, Questions):
    """An opened workspace. Safe to share between threads: it never changes after opening."""

    def __init__(self, path: Path, manifest: dict[str, Any], checked: Checked) -> None:
        self.path = path
        self.manifest = manifest
        self.name: str = manifest["name"]
        self.checked = checked
        self._tables = Tables(checked)

    @classmethod
    def open(cls, path: str | Path, *, verify: bool | Literal["when read"] = True) -> Workspace:
        """Open a workspace.

        Args:
            path: its folder.
            verify: compare every file with its SHA-256 (reads all bytes once): now, or each before
                it is first read.

        Raises:
            WorkspaceError: missing, damaged, or made by another version.
            StoreError, BundleError: its store or bundle is damaged. Verified when read, methods
                raise these errors.
        """
        path = Path(path)
        recover(path)
        if not (path / MANIFEST).is_file():
            raise WorkspaceError(f"{path}: is no workspace (no {MANIFEST}). {AGAIN}")
        manifest = read_json(path / MANIFEST)
        version = manifest.get("workspace_version") if isinstance(manifest, dict) else None
        if version != WORKSPACE_VERSION:
            raise WorkspaceError(
                f"{path}: workspace version {version}, this lbsf reads {WORKSPACE_VERSION}. "
                + AGAIN
            )
        checked = Checked(path, manifest["files"] if verify else {})
        if verify is True:
            checked.all()
        workspace = cls(path, manifest, checked)
        if verify is True:
            _ = workspace.store  # checks its own hashes
            check_bundle(path / "bundle")
        return workspace

    def summary(self) -> Summary:
        """What the workspace holds."""
        return from_json(read_json(self.checked.path(SUMMARY)))

    # ---- one case -------------------------------------------------------------------------------

    def cases(self, user_id: str) -> list[Case]:
        """Every sample of a user, latest cutoff first.

        Raises:
            UnknownUserError: the user is not in the workspace.
        """
        rows = self._tables.records(self._tables.of_user(user_id), _OF_A_CASE)
        if not rows:
            raise UnknownUserError(
                f"User '{user_id}' is not in this workspace. Search for part of the id in the "
                "portfolio, or open the workspace that holds the user."
            )
        rows.sort(key=itemgetter("cutoff"), reverse=True)
        return [self._case(row) for row in rows]

    def case(self, user_id: str, cutoff: datetime | None = None) -> Case:
        """The sample of a user at a cutoff, or the latest.

        Raises:
            UnknownUserError: the user, or that cutoff, is not in the workspace.
        """
        cases = self.cases(user_id)
        for case in cases:
            if cutoff is None or case.cutoff == cutoff:
                return case
        known = ", ".join(str(case.cutoff.date()) for case in cases)
        raise UnknownUserError(
            f"User '{user_id}' has no score at {cutoff}. Scores exist at: {known}."
        )

    def _case(self, row: dict[str, Any]) -> Case:
        payments = int(row["payments"])
        warnings = []
        if not payments:
            warnings.append(
                "No payment in the window: the score is the model's answer to an empty history."
            )
        elif payments < SHORT_HISTORY:
            warnings.append(f"Only {payments} payments in the window: the score rests on little.")
        if row["dropped_payments"]:
            warnings.append(
                f"The fold's caps dropped {int(row['dropped_payments']):,} payments "
                f"({int(row['dropped_merchants']):,} merchants) that the model never saw."
            )
        if abs(row["delta"]) > TOLERANCE:
            warnings.append(f"The attributions miss the score by {row['delta']:+.4f}.")
        if row["part"] in ("train", "validation"):
            warnings.append(
                f"The model was built with this user (part: {row['part']}): the score is no proof."
            )
        return Case(
            sample=int(row["sample"]),
            user_id=row["user_id"],
            cutoff=row["cutoff"].astimezone(UTC),
            window_start=_utc(row["window_start"]),
            logit=float(row["logit"]),
            pd=float(row["pd"]),
            percentile=float(row["percentile"]),
            rank=int(row["rank"]),
            samples=self._tables.samples.num_rows,
            band=row["band"],
            label=row["label"],
            part=row["part"],
            payments=payments,
            merchants=int(row["merchants"]),
            money_in=float(row["money_in"]),
            money_out=float(row["money_out"]),
            dropped_payments=int(row["dropped_payments"]),
            dropped_merchants=int(row["dropped_merchants"]),
            dropped_amount=float(row["dropped_amount"]),
            currency=self.store.manifest.currency,
            first_payment=_utc(row["first_payment"]),
            last_payment=_utc(row["last_payment"]),
            warnings=tuple(warnings),
        )

    def dossier(
        self,
        case: Case,
        *,
        by: str,
        form: Literal["html", "pdf"] = "html",
        **asked: Any,  # noqa: ANN401 - each as its attribute says
    ) -> bytes:
        """The case on one page to take away; the HTML holds its data, for `lbsf replay`.

        Args:
            case: the case.
            by: who takes it.
            form: of the page.
            asked: method, baseline, opened, edits, language, as in `dossier.Question`.

        Raises:
            LbsfError: what was asked makes no sense for this case.
        """
        from lbsf_core.workspace.dossier import Question, html_page, make_dossier, pdf_page

        found = make_dossier(self, Question.about(case, **asked), by=by)
        return pdf_page(found) if form == "pdf" else html_page(found).encode()

    def neighbours(
        self,
        case: Case,
        chosen: SampleFilter | None = None,
        *,
        sort: str = "pd",
        descending: bool = True,
    ) -> tuple[tuple[str, datetime] | None, tuple[str, datetime] | None]:
        """The case before and the case after in the queue: (user id, cutoff) or None."""
        queue = self._tables.order(chosen or SampleFilter(), sort, descending=descending)
        place = np.flatnonzero(queue == case.sample)
        if not len(place):
            return None, None
        at = int(place[0])
        before = self._named(queue[at - 1]) if at else None
        return before, self._named(queue[at + 1]) if at + 1 < len(queue) else None

    def _named(self, sample: int) -> tuple[str, datetime]:
        """A sample's user and cutoff."""
        row = self._tables.records([sample], ["user_id", "cutoff"])[0]
        return row["user_id"], row["cutoff"].astimezone(UTC)

    # ---- many -----------------------------------------------------------------------------------

    def compare(
        self,
        first: SampleFilter,
        second: SampleFilter,
        names: tuple[str, str] = ("A", "B"),
        beside: Sequence[tuple[str, SampleFilter]] = (),
    ) -> CohortComparison:
        """Two cohorts in detail; others, each a name and a filter, beside them."""
        return cohorts.compare(self._tables, first, second, names, beside)

    def importance(self, by: By = "kind", chosen: SampleFilter | None = None) -> pd.DataFrame:
        """What moves the scores of some samples, by kind of merchant, field or time.

        Columns: see `explain.importance.importance`. Empty where the filter keeps no sample.
        """
        return self._importances([chosen], by)[0]

    def _importances(self, several: list[SampleFilter | None], by: By) -> list[pd.DataFrame]:
        """`importance` of several groups of samples; the file is read once."""
        from lbsf_core.explain.importance import importance
        from lbsf_core.workspace.groups import stored_groups

        of = [None if chosen is None else self._tables.kept(chosen) for chosen in several]
        users = self._tables.samples["user_id"]
        wanted = np.zeros(len(users), dtype=bool)
        for numbers in of:
            wanted[slice(None) if numbers is None else numbers] = True
        union = None if wanted.all() else np.flatnonzero(wanted)
        groups = stored_groups(self.checked.path(GROUPS), by, union, users)
        if groups is None:
            return [pd.DataFrame(columns=["group", "samples"]) for _ in of]
        return [
            importance(groups if numbers is None else groups.only(numbers))
            if numbers is None or len(numbers)
            else pd.DataFrame(columns=["group", "samples"])
            for numbers in of
        ]

    def compare_importance(
        self, first: SampleFilter, second: SampleFilter, by: By = "kind"
    ) -> pd.DataFrame:
        """Mean attribution of two cohorts by kind of merchant, field or time, with 95 % intervals.

        Columns: see `cohorts.mean_groups`.
        """
        return cohorts.mean_groups(*self._importances([first, second], by))

    def compare_reasons(
        self, first: SampleFilter, second: SampleFilter, side: str = "risk"
    ) -> pd.DataFrame:
        """How often each reason code is given in two cohorts. Columns: see `cohorts.reason_mix`."""
        return cohorts.reason_mix(self._tables, first, second, side=side)

    def cohort_report(
        self,
        first: SampleFilter,
        second: SampleFilter,
        names: tuple[str, str] = ("A", "B"),
        *,
        form: Literal["html", "pdf"] = "html",
        **told: Any,  # noqa: ANN401 - each as its argument says
    ) -> bytes:
        """Two cohorts in detail, others beside them, on one page to take away.

        Args:
            first, second: the two cohorts.
            names: of both.
            form: of the page.
            told: words, by, beside, at, as in `report.make_report`.
        """
        from lbsf_core.workspace.report import html_report, make_report, pdf_report

        found = make_report(self, first, second, names, **told)
        return pdf_report(found) if form == "pdf" else html_report(found).encode()

    def performance(self) -> Performance:
        """How well the scores rank and how true they are on samples that training never saw."""
        data = read_json(self.checked.path(PERFORMANCE))
        columns = {
            "metrics": ["name", "value", "lo", "hi", "better"],
            "roc": ["fpr", "tpr", "threshold"],
            "pr": ["threshold", "precision", "recall"],
            "ks": ["threshold", "bad", "good"],
            "lift": ["part", "samples", "bad", "rate", "lift", "captured"],
            "calibration": ["bin", "pd", "rate", "lo", "hi", "samples"],
            "by_history": [
                *("history", "samples", "bad", "auc", "lo", "hi", "mean_pd", "default_rate"),
            ],
        }
        frames = {
            name: pd.DataFrame(data.get(name, []), columns=wanted)
            for name, wanted in columns.items()
        }
        for name in ("auc", "lo", "hi"):
            frames["by_history"][name] = frames["by_history"][name].astype(float)
        return Performance(
            source=data["source"],
            warnings=tuple(data["warnings"]),
            compared_on=data.get("compared_on", ""),
            contestants=pd.DataFrame(data.get("contestants", [])),
            differences=pd.DataFrame(data.get("differences", [])),
            **frames,
        )

    def drift(self) -> Drift:
        """How far samples that training never saw lie from those it was fitted on, over time."""
        return drift(self._tables)

    def card(self) -> Card:
        """The bundle's card, facts for a table, and its manifest for download."""
        raw = self.bundle.manifest() | {"workspace": self.manifest}
        training, config = self.bundle.training, self.bundle.model.config
        sizes = training.get("sizes", {})
        facts = {
            "Bundle": str(self.manifest["bundle"])[:16],
            "Store": str(self.manifest["store"])[:16],
            "Code": str(training.get("code", "unknown"))[:16],
            "Parameters": f"{sum(p.numel() for p in self.bundle.model.parameters()):,}",
            "Width, heads, relation layers": (
                f"{config.width}, {config.heads}, {config.relation_layers}"
            ),
            "Training samples": f"{sizes.get('train', 0):,}",
            "Best epoch": str(training.get("best_epoch", "unknown")),
            "Field weights": ", ".join(
                f"{name} {weight:.2f}"
                for name, weight in zip(
                    self.bundle.model.field_names,
                    self.bundle.model.field_weights().tolist(),
                    strict=True,
                )
            ),
            "Versions": ", ".join(f"{k} {v}" for k, v in training.get("versions", {}).items()),
        }
        text = {heading: list(lines) for heading, lines in self.bundle.card.items()}
        return Card(text=text, facts=facts, raw=raw)


#: What a case says of a sample.
_OF_A_CASE = (
    *("sample", "user_id", "cutoff", "window_start", "logit", "pd", "percentile", "rank", "band"),
    *("label", "part", "payments", "merchants", "money_in", "money_out", "dropped_payments"),
    *("dropped_merchants", "dropped_amount", "first_payment", "last_payment", "delta"),
)


def _utc(value: datetime | None) -> datetime | None:
    return None if value is None else value.astimezone(UTC)
