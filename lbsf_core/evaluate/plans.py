"""What the benchmark runs on each dataset, and how often; all of it must fit into three hours.

What a run says does not hang on what else is run: this may change, and kept runs stay good.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from lbsf_core.evaluate.benchmark import Plan
from lbsf_core.evaluate.contestants import CONTESTANTS, Data
from lbsf_core.evaluate.controls import CONTROLS

#: Contestants that every repeat runs.
MAIN = (
    "lightgbm_user",
    "lightgbm_merchant",
    "lightgbm_refit",
    "scorecard",
    "lowest_balance",
    "lbsf_pretrained",
    "lbsf_boosted",
    "lbsf_alone",
    "gru",
)
#: LBSF folded otherwise, with as many repeats as the GRU: what folding by merchant is worth.
FOLDS = ("random_merchants", "no_fold")
OTHERS = ("transformer", "coles")
#: LBSF with something taken away or changed; one repeat, one label.
ABLATIONS = (
    "no_relations",
    "meetings",
    "mean_pooling",
    "no_rhythm",
    "no_levels",
    "decoupled",
    *(name for name in CONTROLS if name not in FOLDS),
)
#: Most cutoffs that many samples share, for a split by time to be one.
_CUTOFFS = 24


@dataclass(frozen=True)
class Times:
    """How often contestants run on a dataset.

    Attributes:
        repeats: of the main contestants.
        slow_repeats: of the GRU and of other folds.
        ablation_label: the label that ablations are run on.
    """

    repeats: int
    slow_repeats: int
    ablation_label: str

    def of(self) -> dict[str, int]:
        """Contestant -> repeats, in the order in which they are run."""
        found = dict.fromkeys(MAIN, self.repeats)
        found |= dict.fromkeys(("gru", *FOLDS), self.slow_repeats)
        found |= dict.fromkeys((*OTHERS, *ABLATIONS), 1)
        return {name: repeats for name, repeats in found.items() if name in CONTESTANTS}


#: Berka's histories are long, and its intervals wide whatever is repeated: its GRU runs once.
TIMES: dict[str, Times] = {
    "birmingham": Times(repeats=3, slow_repeats=3, ablation_label="label_stop60"),
    "berka": Times(repeats=5, slow_repeats=1, ablation_label="bad"),
}


def plans_of(
    name: str,
    data: Data,
    *,
    repeats: int | None = None,
    contestants: Collection[str] | None = None,
) -> dict[str, Plan]:
    """What is run on a dataset: "runs", five folds by user; and "out_of_time", where one can.

    Args:
        name: of the dataset.
        data: the dataset.
        repeats: at most.
        contestants: only these; all by default.
    """
    times = TIMES[name]
    chosen = {
        who: min(count, repeats or count)
        for who, count in times.of().items()
        if contestants is None or who in contestants
    }
    plans = {"runs": Plan(5, chosen, dict.fromkeys(ABLATIONS, (times.ablation_label,)))}
    if len(set(data.batch.cutoffs)) <= _CUTOFFS:
        plans["out_of_time"] = Plan(1, {who: 1 for who in MAIN if who in chosen}, {}, by="time")
    return plans
