"""What one may ask about one case: why, what if, what would change it, what alone keeps it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from lbsf_core.errors import LbsfError
from lbsf_core.explain.result import Explanation
from lbsf_core.files import read_json
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.fold.store import MANIFEST as STORE_MANIFEST
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle_files import MANIFEST as BUNDLE_MANIFEST
from lbsf_core.workspace.checked import Checked
from lbsf_core.workspace.layout import BASELINES, KEPT
from lbsf_core.workspace.types import Case

if TYPE_CHECKING:
    from lbsf_core.explain.attention import AttentionView
    from lbsf_core.explain.baselines import Baseline
    from lbsf_core.explain.counterfactual import Counterfactuals
    from lbsf_core.explain.engines import Method
    from lbsf_core.explain.reasons import Reasons
    from lbsf_core.explain.sufficient import Sufficient
    from lbsf_core.explain.whatif import Standing, WhatIf
    from lbsf_core.model.bundle import Bundle

Floats = npt.NDArray[np.float64]


#: How many threads ask something right now, and whether oneDNN was used before the first of them.
_asking, _before = 0, True
_counting = threading.Lock()


@contextmanager
def loops_of_torch() -> Iterator[None]:
    """While a question about one case is answered, GELU is computed by torch's own loops.

    oneDNN compiles code for every size that it meets, and each case has sizes of its own: of an
    explanation 7 % (some 350 payments) to 12 % (some 80), of reasons as much. Scoring keeps oneDNN:
    torch's loops end on another one, so that the last bits of a row hang on where it stands.
    """
    global _asking, _before  # noqa: PLW0603 - torch has one setting for the process
    import torch

    with _counting:
        if not _asking:
            _before = bool(torch.backends.mkldnn.enabled)
        _asking += 1
        torch.backends.mkldnn.set_flags(False)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        with _counting:
            _asking -= 1
            if not _asking:
                torch.backends.mkldnn.set_flags(_before)  # type: ignore[no-untyped-call]


class Questions:
    """The part of a workspace that asks the model, whose framework the first question loads."""

    path: Path
    checked: Checked

    @cached_property
    def store(self) -> FoldedStore:
        """The folded store."""
        return FoldedStore.open(self.checked.path(f"store/{STORE_MANIFEST}").parent)

    @cached_property
    def bundle(self) -> Bundle:
        """The bundle. Loads the model's framework, which opening a workspace does not."""
        from lbsf_core.model.bundle import Bundle

        return Bundle.load(self.checked.path(f"bundle/{BUNDLE_MANIFEST}").parent)

    @loops_of_torch()
    def explanation(
        self,
        case: Case,
        *,
        method: Method = "gradient",
        baseline: str | None = None,
        opened: Sequence[str] = (),
        now: bool = False,
    ) -> Explanation:
        """Why the case has its score, from its payments and the bundle.

        By gradients against their own baseline everybody was explained when the workspace was
        made: those values are told where the model, asked now, gives the score that they are of.
        All else is computed now.

        Args:
            case: the case.
            method: "gradient" (down to fields) or "removal" (Shapley values by refolding).
            baseline: one of `baselines_of(method)`; each method has one of its own.
            opened: with removal, merchants whose payments are valued.
            now: nothing that was kept is told.

        Raises:
            AttributionsError: what was kept of the case is damaged.
        """
        from lbsf_core.explain.baselines import CHECK
        from lbsf_core.explain.engines import FIRST_BASELINE, explain_sample

        first = FIRST_BASELINE[method].name
        name = baseline or first
        tried = [other for other in (first, CHECK) if other in self.baselines_of(method)]
        others = [self._baseline(other) for other in dict.fromkeys(tried) if other != name]
        if method == "gradient" and name == first and not now:
            found = self._kept_explanation(case, others)
            if found is not None:
                return found
        return explain_sample(
            self.bundle,
            self._batch(case),
            method=method,
            baseline=self._baseline(name),
            others=others,
            opened=opened,
        )

    def _kept_explanation(self, case: Case, others: Sequence[Baseline]) -> Explanation | None:
        """What was kept of a case; None where it does not fit."""
        from lbsf_core.explain.kept import explain_kept, read_kept

        # Nobody waits until the whole file is compared: each sample has a digest of its own.
        kept = read_kept(self.checked.folder / KEPT, case.sample)
        return explain_kept(self.bundle, self._batch(case), kept, others)

    def baselines_of(self, method: Method) -> list[str]:
        """Names of the baselines that a method can be held against, its own first.

        Those of real samples only where somebody can stand for them.
        """
        from lbsf_core.explain.baselines import OF_SAMPLES
        from lbsf_core.explain.engines import FIRST_BASELINE

        kept = [name for name in OF_SAMPLES if name in self._kept_baselines]
        return [FIRST_BASELINE[method].name, *kept]

    @loops_of_torch()
    def attention(self, case: Case) -> AttentionView:
        """Where the model looked, per head too, and how evenly; never a cause."""
        from lbsf_core.explain.attention import attention_view

        return attention_view(self.bundle.model, self._batch(case))

    @loops_of_torch()
    def pairs(self, case: Case) -> pd.DataFrame:
        """Pairs of merchants: what they are worth together, and the relation weight beside it.

        Columns: first, second (segments), merchant, merchant_2, interaction (logit units),
        relation; largest interactions first.
        """
        from lbsf_core.explain.engines import pairs

        return pairs(self.bundle.model, self._batch(case))

    @loops_of_torch()
    def interactions(self, case: Case, segments: Sequence[int]) -> Floats:
        """(K, K) logit units: what each two of K merchants are worth together beyond each alone.

        See `removal.Coalitions.interactions`.
        """
        from lbsf_core.explain.removal import Coalitions

        chosen = list(segments)
        found = Coalitions(self.bundle.model, self._batch(case)).interactions(chosen)
        return found[np.ix_(chosen, chosen)]

    def edits(self, lines: Sequence[str]) -> list[dict[str, Any]]:
        """Edits from lines as a person types them or a link carries them, for `what_if`.

        Raises:
            EditError: a line is no edit.
        """
        from lbsf_core.explain.edit_codes import edit_of

        return [edit_of(line).to_dict() for line in lines]

    def lines(self, edits: Sequence[Mapping[str, Any]]) -> list[str]:
        """Edits as lines, the other way round."""
        from lbsf_core.explain.edit_codes import line_of
        from lbsf_core.explain.edits import Edit

        return [line_of(Edit.from_dict(edit)) for edit in edits]

    @loops_of_torch()
    def what_if(self, case: Case, edits: Sequence[Mapping[str, Any]]) -> WhatIf:
        """The score after edits, each given as the JSON of `explain.edits.Edit`.

        Raises:
            EditError: an edit makes no sense or does not fit the case.
        """
        from lbsf_core.explain.edits import Edit
        from lbsf_core.explain.whatif import what_if

        made = [Edit.from_dict(edit) for edit in edits]
        return what_if(self.bundle, self._batch(case), made, window_days=self._window)

    @loops_of_torch()
    def score_history(self, case: Case, months: int = 12) -> list[Standing]:
        """The score month by month, the cutoff moved back; oldest first."""
        from lbsf_core.explain.whatif import score_history

        return score_history(
            self.bundle, self._batch(case), window_days=self._window, months=months
        )

    @loops_of_torch()
    def counterfactuals(
        self,
        case: Case,
        threshold: float,
        *,
        leave: Sequence[str] = (),
        touch_regular: bool = False,
    ) -> Counterfactuals:
        """The smallest changes that bring the PD under a threshold, each scored from the start."""
        from lbsf_core.explain.counterfactual import counterfactuals

        return counterfactuals(
            self.bundle, self._batch(case), threshold, leave=leave, touch_regular=touch_regular
        )

    @loops_of_torch()
    def sufficient(self, case: Case, threshold: float) -> Sufficient:
        """The fewest merchants and payments that alone keep the decision at a threshold."""
        from lbsf_core.explain.sufficient import sufficient

        return sufficient(self.bundle, self._batch(case), threshold)

    @loops_of_torch()
    def reasons(
        self,
        case: Case,
        *,
        threshold: float | None = None,
        always: bool = False,
        language: str = "en",
    ) -> Reasons:
        """At most four reason codes, each of which lowers the score when its payments are gone."""
        from lbsf_core.explain.reasons import reasons

        return reasons(
            self.bundle,
            self._batch(case),
            threshold=threshold,
            always=always,
            language=language,
        )

    def faithfulness(self) -> dict[str, Any]:
        """What `lbsf faithfulness --keep` measured for this bundle; empty where it never was."""
        return dict(self.bundle.faithfulness)

    def _batch(self, case: Case) -> FoldedBatch:
        return self._read(case.sample)

    @cached_property
    def _read(self) -> Callable[[int], FoldedBatch]:
        """One sample's payments; the last few are kept, a page asks several things of each."""
        return lru_cache(maxsize=16)(lambda sample: self.store.read([sample]))

    @property
    def _window(self) -> int | None:
        return self.store.config.window_days

    @cached_property
    def _kept_baselines(self) -> dict[str, Any]:
        """Name -> samples and words of each baseline that was chosen when this was built."""
        kept: dict[str, Any] = read_json(self.checked.path(BASELINES))
        return kept

    @cached_property
    def _baselines(self) -> dict[str, Baseline]:
        return {}

    def _baseline(self, name: str) -> Baseline:
        """A baseline from this workspace's own samples, chosen when it was built, read once."""
        from lbsf_core.explain.baselines import OF_SAMPLES, Baseline, find_baseline

        if name not in OF_SAMPLES:
            return find_baseline(self.store, self.bundle, name)
        if name not in self._baselines:
            if name not in self._kept_baselines:
                raise LbsfError(f"{self.path.name}: nobody's score is low enough to be '{name}'.")
            kept = self._kept_baselines[name]
            self._baselines[name] = Baseline.from_dict(cast(Any, name), kept, self.store)
        return self._baselines[name]
