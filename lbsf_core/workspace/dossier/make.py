"""What a dossier holds, as JSON values: the question, the answer, and what made it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from lbsf_core.errors import DossierError
from lbsf_core.files import code_hash, dump_json

if TYPE_CHECKING:
    from lbsf_core.explain.engines import Method
    from lbsf_core.explain.result import Explanation
    from lbsf_core.workspace.facade import Workspace
    from lbsf_core.workspace.types import Case

DOSSIER_VERSION = 1
#: Methods whose faithfulness a dossier tells: the engines, and what they must be better than.
_TOLD = ("gradient", "removal", "attention", "random")


@dataclass(frozen=True)
class Question:
    """What a dossier answers.

    Attributes:
        user: user id.
        cutoff: of the sample, ISO format with its zone.
        method: the engine of the explanation.
        baseline: what the score is held against; None = the method's own.
        opened: with removal, merchants whose payments are valued.
        edits: a what-if, each edit as the JSON of `explain.edits.Edit`.
        language: of the reasons.
    """

    user: str
    cutoff: str
    method: Method = "gradient"
    baseline: str | None = None
    opened: tuple[str, ...] = ()
    edits: tuple[Mapping[str, Any], ...] = ()
    language: str = "en"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"opened": list(self.opened), "edits": [dict(e) for e in self.edits]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Question:
        """From JSON values.

        Raises:
            DossierError: a part is missing or unknown.
        """
        try:
            return cls(**{**data, "opened": tuple(data["opened"]), "edits": tuple(data["edits"])})
        except (KeyError, TypeError) as error:
            raise DossierError(f"the dossier's question is incomplete ({error}).") from error

    @classmethod
    def about(cls, case: Case, **asked: Any) -> Question:  # noqa: ANN401 - the other attributes
        """A question about one case."""
        return cls(case.user_id, case.cutoff.isoformat(), **asked)


def make_dossier(
    workspace: Workspace, question: Question, *, by: str, at: datetime | None = None
) -> dict[str, Any]:
    """Ask a workspace everything that a dossier tells of one score.

    Args:
        workspace: an opened one.
        question: what to ask.
        by: who asks, as the dossier names them.
        at: when; now by default.

    Returns:
        "dossier_version", "made" (at, by), "from" (hashes of data, bundle and code; versions),
        "about" (what kind of payments and label these are), "asked", "said" (see `answer`).

    Raises:
        UnknownUserError: no such user, or not at that cutoff.
        EditError: the what-if makes no sense.
    """
    about = workspace.store.manifest
    return {
        "dossier_version": DOSSIER_VERSION,
        "made": {"at": (at or datetime.now(UTC)).isoformat(timespec="seconds"), "by": by},
        "from": provenance(workspace),
        "about": {
            "label": about.label,
            "proxy": about.proxy,
            "simulated": about.simulated,
            "currency": about.currency,
            "window_days": about.fold["window_days"],
        },
        "asked": question.to_dict(),
        "said": answer(workspace, question),
    }


def provenance(workspace: Workspace) -> dict[str, Any]:
    """Names of the data, the model and the code that an answer depends on (SHA-256), versions."""
    from lbsf_core.model.bundle import versions

    model = f"{workspace.bundle.weights_digest()}\n{dump_json(dict(workspace.bundle.calibration))}"
    return {
        "workspace": workspace.name,
        "store": workspace.store.digest,
        "bundle": hashlib.sha256(model.encode()).hexdigest(),
        "code": code_hash(),
        "versions": versions(),
    }


def answer(workspace: Workspace, question: Question) -> dict[str, Any]:
    """Everything that depends on payments and model alone: asked again, it must be the same.

    Returns:
        "case" (the score and its place), "explanation", "payments" (one list a payment, in the
        explanation's order, "columns" names what is in it), "reasons", "what_if" (None without
        edits), "faithfulness" (what was measured for this bundle, {} = nothing).
    """
    case = workspace.case(question.user, datetime.fromisoformat(question.cutoff))
    found = workspace.explanation(  # now: `lbsf replay` finds the same numbers elsewhere too
        case, method=question.method, baseline=question.baseline, opened=question.opened, now=True
    )
    edits = [dict(edit) for edit in question.edits]
    return {
        "case": {
            key: value.isoformat() if isinstance(value, datetime) else value
            for key, value in asdict(case).items()
        },
        "explanation": found.to_dict(),
        "payments": _payments(found),
        "reasons": workspace.reasons(case, always=True, language=question.language).to_dict(),
        "what_if": workspace.what_if(case, edits).to_dict() if edits else None,
        "faithfulness": _faithfulness(workspace.faithfulness()),
    }


def _payments(found: Explanation) -> dict[str, Any]:
    frame = found.payments_frame()
    names = ["merchant", "timestamp", "amount", "description", *found.extras]
    frame["timestamp"] = np.datetime_as_string(found.timestamps, unit="s")
    columns = [[_plain(value) for value in frame[name].tolist()] for name in names]
    return {"columns": names, "rows": [list(row) for row in zip(*columns, strict=True)]}


def _plain(value: Any) -> Any:  # noqa: ANN401 - a cell
    """A cell as JSON has it: a number that is not known is null."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _faithfulness(measured: Mapping[str, Any]) -> dict[str, Any]:
    if not measured:
        return {}
    kept = {key: measured[key] for key in ("default", "users", "date")}
    return kept | {
        "methods": {
            name: {key: found[key] for key in ("comprehensiveness", "sufficiency")}
            for name, found in measured["methods"].items()
            if name in _TOLD
        }
    }
