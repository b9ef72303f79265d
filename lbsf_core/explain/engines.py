"""One question, two engines, one answer: integrated gradients or removal, against any baseline.

| | gradient | removal |
|---|---|---|
| goes down to | fields | payments of the merchants that are opened |
| held against | a typical payment in every slot, or that of real users | nothing, or real users |
| says | how the logit slopes on the way | what the logit loses by folding without it |
| sampling error | none | 95 % intervals above 11 merchants |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import pandas as pd

from lbsf_core.errors import LbsfError
from lbsf_core.explain.attention import attention_view
from lbsf_core.explain.baselines import (
    CHECK,
    EMPTY,
    TYPICAL_PAYMENT,
    Baseline,
    disagreement,
    find_baseline,
)
from lbsf_core.explain.gradient import explain_against
from lbsf_core.explain.removal import Coalitions, explain_by_removal
from lbsf_core.explain.result import Explanation
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.lbsf import LBSF

Method = Literal["gradient", "removal"]
METHODS: tuple[Method, ...] = get_args(Method)
#: What each engine is held against where nothing is said.
FIRST_BASELINE: dict[str, Baseline] = {"gradient": TYPICAL_PAYMENT, "removal": EMPTY}
#: Coalitions spent on each baseline that an explanation is compared with.
CHECK_BUDGET = 1_000


def explain_sample(
    bundle: Bundle,
    batch: FoldedBatch,
    *,
    method: Method = "gradient",
    baseline: Baseline | None = None,
    others: Sequence[Baseline] = (),
    opened: Sequence[str] = (),
    budget: int = 2000,
    seed: int = 0,
) -> Explanation:
    """Explain one sample.

    Args:
        bundle: the model and its calibration.
        batch: one sample.
        method: the engine.
        baseline: what the score is held against; each engine has one of its own.
        others: baselines to try as well: where other merchants come first, a warning says so.
        opened: with removal, merchants whose payments are valued.
        budget: with removal, about how many coalitions are asked for.
        seed: of removal's orders.

    Raises:
        LbsfError: no such method, a merchant that is not there, or a baseline that the engine
            can't use.
    """
    if method not in METHODS:
        raise LbsfError(f"'{method}' is no method; choose one of {', '.join(METHODS)}.")
    baseline = baseline or FIRST_BASELINE[method]

    others = [other for other in others if other.name != baseline.name]
    if method == "gradient":
        (found,), values = explain_against(bundle, batch, baseline, others)
    else:

        def ask(held: Baseline, asked: int, wanted: Sequence[str] = ()) -> Explanation:
            return explain_by_removal(
                bundle, batch, baseline=held, opened=wanted, budget=asked, seed=seed
            )

        found = ask(baseline, budget, opened)
        values = [ask(other, CHECK_BUDGET).merchant_attributions for other in others]
    named = {other.words: value for other, value in zip(others, values, strict=True)}
    told = disagreement(found.merchant_attributions, named)
    return replace(found, warnings=(*found.warnings, *told))


def explain_one(
    store: FoldedStore,
    bundle: Bundle,
    batch: FoldedBatch,
    *,
    method: Method = "gradient",
    baseline: str | None = None,
    threshold: float | None = None,
    opened: Sequence[str] = (),
    budget: int = 2000,
    seed: int = 0,
) -> Explanation:
    """Explain a sample of a store, and say where another baseline would put others first.

    Args:
        store: the real users that baselines are made of.
        bundle: the model and its calibration.
        batch: one sample of it.
        method: the engine.
        baseline: name of one of `baselines.BASELINES`.
        threshold: PD below which a user may be typical.
        opened, budget, seed: see `explain_sample`.
    """
    if method not in METHODS:
        raise LbsfError(f"'{method}' is no method; choose one of {', '.join(METHODS)}.")
    names = dict.fromkeys([baseline or FIRST_BASELINE[method].name])
    names |= dict.fromkeys([FIRST_BASELINE[method].name, CHECK])
    held = [find_baseline(store, bundle, name, threshold=threshold, seed=seed) for name in names]
    return explain_sample(
        bundle,
        batch,
        method=method,
        baseline=held[0],
        others=held[1:],
        opened=opened,
        budget=budget,
        seed=seed,
    )


def pairs(model: LBSF, batch: FoldedBatch) -> pd.DataFrame:
    """Every pair of merchants of one sample: what they are worth together, and how the model looks
    from one to the other.

    Returns:
        first, second (segments), merchant, merchant_2, interaction (logit units, see
        `Coalitions.interactions`), relation (weight from the first to the second and back, mean
        of both and of heads), largest interactions first.
    """
    together = Coalitions(model, batch).interactions()
    looked = attention_view(model, batch)
    first, second = np.triu_indices(len(looked.merchants), 1)
    names = np.asarray(looked.merchants, dtype=object)
    frame = pd.DataFrame(
        {
            "first": first,
            "second": second,
            "merchant": names[first],
            "merchant_2": names[second],
            "interaction": together[first, second],
            "relation": (looked.relations + looked.relations.T)[first, second] / 2,
        }
    )
    order = frame["interaction"].abs().sort_values(ascending=False, kind="stable").index
    return frame.loc[order].reset_index(drop=True)
