"""The benchmark's datasets, made from their raw files; the files are no part of the project.

FOLDER/birmingham/payments.parquet, labels.parquet    purchase cards; proxies of risk
FOLDER/berka/trans.csv, loan.asc, trans_1993_other_export.csv    a bank; loans that went bad
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lbsf_core.config import FoldConfig, PretrainConfig
from lbsf_core.errors import LbsfError
from lbsf_core.evaluate.contestants import CONTESTANTS, Data, Setting
from lbsf_core.evaluate.controls import CONTROLS
from lbsf_core.fold.fold import fold
from lbsf_core.fold.store import FoldedStore
from lbsf_core.payments.ingest import ingest
from lbsf_core.payments.labels import ingest_labels
from lbsf_core.settings import load_settings
from lbsf_core.train.histories import read_histories

#: Contestants that every repeat runs, but for `SLOW_REPEATS`; the others run the first alone.
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
#: Repeats, at most, of the GRU and of other folds: the whole table has to fit into three hours.
SLOW_REPEATS = 3
#: LBSF with something taken away or changed.
ABLATIONS = (
    "no_relations",
    "meetings",
    "mean_pooling",
    "no_rhythm",
    "no_levels",
    "decoupled",
    *(name for name in CONTROLS if name not in FOLDS),
)


@dataclass(frozen=True)
class Dataset:
    """How a dataset is made and what is run on it.

    Attributes:
        name: of the folder and of the report's section.
        payments: raw files and the mapping of each; the first holds the labelled users.
        labels: file of the labels, its mapping, and the labels that are predicted.
        window_days: observation window; None = all history.
        setting: of neural contestants.
        repeats: of the main contestants.
        ablation_label: the label that ablations are run on.
        proxy: whether the labels stand in for defaults.
        note: what every reader of its figures must know.
    """

    name: str
    payments: tuple[tuple[str, str], ...]
    labels: tuple[str, str, tuple[str, ...]]
    window_days: int | None
    setting: Setting
    repeats: int
    ablation_label: str
    proxy: bool
    note: str

    def prepare(self, raw: Path, work: Path) -> None:
        """Ingest and fold what is not yet in the working folder.

        Raises:
            LbsfError: the raw files are not there.
        """
        for index, (file, mapping) in enumerate(self.payments):
            source = raw / self.name / file
            if not source.is_file():
                raise LbsfError(f"{source}: no such file; give the folder that holds it.")
            out = work / f"payments{index}.parquet"
            if not out.is_file():
                ingest([source], mapping, out)
        file, mapping, names = self.labels
        for name in names:
            if not (work / name).is_dir():
                labels = work / f"{name}.parquet"
                label = name if len(names) > 1 else None
                ingest_labels([raw / self.name / file], mapping, labels, label=label)
                config = FoldConfig(window_days=self.window_days)
                fold(work / "payments0.parquet", labels, work / name, config)

    def load(self, work: Path) -> Data:
        """The dataset, from the working folder."""
        stores = {name: FoldedStore.open(work / name, verify=False) for name in self.labels[2]}
        first = next(iter(stores.values()))
        batch = first.read(np.arange(len(first.samples)))
        labels = {name: store.samples["label"].to_numpy(float) for name, store in stores.items()}
        paths = [work / f"payments{index}.parquet" for index in range(len(self.payments))]
        histories = read_histories(paths, self.window_days, self.setting.pretrain)
        return Data(batch, first.manifest.extra_fields, labels, histories, self.setting)

    def repeats_of(self) -> dict[str, int]:
        """Contestant -> repeats, in the order in which they are run."""
        found = dict.fromkeys(MAIN, self.repeats)
        found |= dict.fromkeys(("gru", *FOLDS), min(self.repeats, SLOW_REPEATS))
        found |= dict.fromkeys((*OTHERS, *ABLATIONS), 1)
        return {name: repeats for name, repeats in found.items() if name in CONTESTANTS}

    def labels_of(self) -> dict[str, tuple[str, ...]]:
        """Contestants that are run on some labels only."""
        return dict.fromkeys(ABLATIONS, (self.ablation_label,))


_FEW = load_settings("few-labels")
_SMALL = Setting(
    model=_FEW.model,
    grid=({"dropout": 0.2, "rhythm": True}, {"rhythm": True}, {}),
    flat_grid=({"dropout": 0.2}, {}, {"text_dropout": 0.8}),
    train=_FEW.train,
    flat_epochs=30,
    pretrain_model=replace(_FEW.model, dropout=0.2, rhythm=True, user_gap=True),
    pretrain=PretrainConfig(
        epochs=30, epoch_share=0.2, batch_samples=64, end="user", horizon_days=90, every_days=30
    ),
)
DATASETS: dict[str, Dataset] = {
    "birmingham": Dataset(
        name="birmingham",
        payments=(("payments.parquet", "birmingham"),),
        labels=("labels.parquet", "birmingham", ("label_stop60", "label_drop120")),
        window_days=365,
        setting=Setting(),
        repeats=3,
        ablation_label="label_stop60",
        proxy=True,
        note="real purchase-card payments; the labels are proxies of risk (payments that stop, "
        "spending that drops), not defaults.",
    ),
    "berka": Dataset(
        name="berka",
        payments=(("trans.csv", "berka"), ("trans_1993_other_export.csv", "berka-1993")),
        labels=("loan.asc", "berka", ("bad",)),
        window_days=None,
        setting=_SMALL,
        repeats=5,
        ablation_label="bad",
        proxy=False,
        note="real bank payments and loans; 30 of 354 went bad, so every figure is uncertain.",
    ),
}
