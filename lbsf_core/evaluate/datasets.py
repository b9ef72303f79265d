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
from lbsf_core.evaluate.contestants import Data, Setting
from lbsf_core.fold.fold import fold
from lbsf_core.fold.store import FoldedStore
from lbsf_core.payments.ingest import ingest
from lbsf_core.payments.labels import ingest_labels
from lbsf_core.settings import load_settings
from lbsf_core.train.histories import read_histories


@dataclass(frozen=True)
class Dataset:
    """How a dataset is made, and the setting of networks on it.

    Attributes:
        name: of the folder and of the report's section.
        payments: raw files and the mapping of each; the first holds the labelled users.
        labels: file of the labels, its mapping, and the labels that are predicted.
        window_days: observation window; None = all history.
        setting: of neural contestants.
        proxy: whether the labels stand in for defaults.
        note: what every reader of its figures must know.
    """

    name: str
    payments: tuple[tuple[str, str], ...]
    labels: tuple[str, str, tuple[str, ...]]
    window_days: int | None
    setting: Setting
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
        proxy=False,
        note="real bank payments and loans; 30 of 354 went bad, so every figure is uncertain.",
    ),
}
