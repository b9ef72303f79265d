"""The benchmark's datasets, made from their raw files; the files are no part of the project.

FOLDER/birmingham/payments.parquet, labels.parquet    purchase cards; proxies of risk
FOLDER/berka/trans.csv, loan.asc, trans_1993_other_export.csv    a bank; loans that went bad
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lbsf_core.config import FoldConfig, ModelConfig, PretrainConfig, TrainConfig
from lbsf_core.errors import LbsfError
from lbsf_core.evaluate.benchmark import Plan, digest, read_scores, run
from lbsf_core.evaluate.comparison import about, compare
from lbsf_core.evaluate.contestants import BLENDS, CONTESTANTS, Data, Setting
from lbsf_core.evaluate.controls import CONTROLS
from lbsf_core.fold.fold import fold
from lbsf_core.fold.store import FoldedStore
from lbsf_core.machine import machine
from lbsf_core.payments.ingest import ingest
from lbsf_core.payments.labels import ingest_labels
from lbsf_core.train.pretrain import read_histories

#: Called with (words, done, in all).
Progress = Callable[[str, int, int], None]

#: Contestants that every repeat runs; the others run the first repeat alone.
MAIN = ("lightgbm_user", "lightgbm_merchant", "scorecard", "lbsf_pretrained", "lbsf_alone", "gru")
#: LBSF folded otherwise, with every repeat too: what folding by merchant is worth.
FOLDS = ("random_merchants", "no_fold")
OTHERS = ("transformer", "coles")
#: LBSF with something taken away or changed.
ABLATIONS = (
    "no_relations",
    "mean_pooling",
    "no_rhythm",
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
        found = dict.fromkeys((*MAIN, *FOLDS), self.repeats)
        found |= dict.fromkeys((*OTHERS, *ABLATIONS), 1)
        return {name: repeats for name, repeats in found.items() if name in CONTESTANTS}

    def labels_of(self) -> dict[str, tuple[str, ...]]:
        """Contestants that are run on some labels only."""
        return dict.fromkeys(ABLATIONS, (self.ablation_label,))


_SMALL = Setting(
    model=ModelConfig(width=32, text_dropout=0.9, dropout=0.2),
    train=TrainConfig(epochs=30, batch_samples=32, keep="last"),
    pretrain=PretrainConfig(
        epochs=20, epoch_share=0.2, batch_samples=64, end="user", horizon_days=90, every_days=30
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


def benchmark(
    raw: Path,
    work: Path,
    names: Sequence[str] = tuple(DATASETS),
    *,
    repeats: int | None = None,
    contestants: Sequence[str] | None = None,
    workers: int | None = None,
    run_missing: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run what is missing and report on what there is.

    Args:
        raw: folder of the raw datasets.
        work: where stores and finished runs are kept; a stopped run goes on from there.
        names: datasets.
        repeats: at most; by default what each dataset asks for.
        contestants: only these; all by default.
        workers: processes.
        run_missing: else only report on what there is.
        progress: called with (words, folds done, folds in all).

    Returns:
        {"<dataset>/<label>": see `comparison.compare`, plus "out_of_time"}, and "about".
    """
    report: dict[str, Any] = {}
    for name in names:
        dataset, folder = DATASETS[name], work / name
        folder.mkdir(parents=True, exist_ok=True)
        dataset.prepare(raw, folder)
        chosen = {
            who: min(times, repeats or times)
            for who, times in dataset.repeats_of().items()
            if contestants is None or who in contestants
        }
        make = partial(dataset.load, folder)
        data = make()
        plans = {"runs": Plan(5, chosen, dataset.labels_of())}
        if len(set(data.batch.cutoffs)) <= 24:  # cutoffs that many samples share
            main = {who: 1 for who in MAIN if who in chosen}
            plans["out_of_time"] = Plan(1, main, {}, by="time")
        for key, plan in plans.items():
            told = partial(progress, f"{name}, {key}") if progress else None
            if run_missing:
                run(make, plan, folder / key, workers=workers, progress=told)
        for label in data.labels:
            entry = compare(data, label, read_scores(data, plans["runs"], folder / "runs", label))
            if (folder / "out_of_time").is_dir():
                later = read_scores(data, plans["out_of_time"], folder / "out_of_time", label)
                entry["out_of_time"] = compare(data, label, later)
            entry["predictions"] = digest(folder / "runs")
            report[f"{name}/{label}"] = entry
    notes = [
        {"name": name, "note": DATASETS[name].note, "proxy": DATASETS[name].proxy} for name in names
    ]
    return {"about": about(notes, machine()), **report}


def compare_store(
    store: str | Path,
    names: Sequence[str] | None,
    payments: Sequence[Path] = (),
    *,
    folds: int = 5,
    repeats: int = 1,
    by: str = "user",
    seed: int = 0,
    setting: Setting | None = None,
    work: Path | None = None,
    workers: int | None = None,
    draws: int = 1000,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compare contestants on a labelled store.

    Args:
        store: folded, with labels.
        names: contestants; None = all that can run.
        payments: unlabelled payments for pre-training; contestants that need them are left out
            where there are none.
        folds: by user, stratified.
        repeats: times the folds are drawn anew.
        by: "user", or "time": early cutoffs train, the last one tests.
        seed: of folds and members.
        setting: of neural contestants.
        work: where finished runs are kept, to go on from; by default nowhere.
        workers: processes.
        draws: bootstrap draws.
        progress: called with (words, folds done, folds in all).

    Raises:
        LbsfError: a contestant is unknown, or there are too few users of a class.
    """
    known = (*CONTESTANTS, *BLENDS)
    unknown = sorted(set(names or ()) - set(known))
    if unknown:
        raise LbsfError(f"'{unknown[0]}' is no contestant; `lbsf contestants` lists them.")
    if by not in ("user", "time"):
        raise LbsfError(f"--by is '{by}'; choose user or time.")
    wanted = dict.fromkeys(names or CONTESTANTS)
    for name in list(wanted):  # a blend needs its parts
        wanted |= dict.fromkeys(BLENDS.get(name, ("", ()))[1])
    make = partial(_load_store, Path(store), tuple(payments), setting or Setting())
    data = make()
    labels = data.labels["label"]
    users = np.asarray(data.batch.user_ids, dtype=object)
    for value, word in ((1, "bad"), (0, "good")):
        if len(set(users[labels == value])) < folds * 3:
            raise LbsfError(
                f"{store}: {len(set(users[labels == value]))} {word} users are too few for "
                f"{folds} folds of three inner parts. Use fewer folds or give more labels."
            )
    chosen = {name: repeats if by == "user" else 1 for name in wanted if name in CONTESTANTS}
    plan = Plan(folds if by == "user" else 1, chosen, {}, by=by, seed=seed)
    with tempfile.TemporaryDirectory(prefix="lbsf-compare-") as temporary:
        folder = work or Path(temporary)
        told = partial(progress, "comparing") if progress else None
        run(make, plan, folder, workers=workers, progress=told)
        entry = compare(data, "label", read_scores(data, plan, folder, "label"), draws=draws)
        entry["predictions"] = digest(folder)
    manifest = FoldedStore.open(store, verify=False).manifest
    notes = []
    if manifest.proxy:
        notes.append("the label is a proxy of risk, not a default.")
    if manifest.simulated:
        notes.append("simulated payments: never evidence of predictive power.")
    about_store = {"name": Path(store).name, "note": " ".join(notes), "proxy": manifest.proxy}
    return {"about": about([about_store], machine()), Path(store).name: entry}


def _load_store(store: Path, payments: Sequence[Path], setting: Setting) -> Data:
    folded = FoldedStore.open(store, verify=False)
    labels = folded.samples["label"].to_numpy(dtype=np.float64)
    rows = np.flatnonzero(np.isfinite(labels))
    window = folded.config.window_days
    histories = read_histories(payments, window, setting.pretrain) if payments else None
    extra = folded.manifest.extra_fields
    return Data(folded.read(rows), extra, {"label": labels[rows]}, histories, setting)
