"""Run contestants and report on them: on the benchmark's datasets, or on a store of your own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lbsf_core.errors import LbsfError
from lbsf_core.evaluate.benchmark import Plan, digest, fill, run
from lbsf_core.evaluate.comparison import about, compare
from lbsf_core.evaluate.contestants import BLENDS, CONTESTANTS, Data, Setting
from lbsf_core.evaluate.datasets import DATASETS
from lbsf_core.evaluate.plans import plans_of
from lbsf_core.evaluate.predictions import Kept, cpu_seconds, fingerprint
from lbsf_core.evaluate.scores import read_scores
from lbsf_core.fold.store import FoldedStore
from lbsf_core.machine import machine
from lbsf_core.train.histories import read_histories

#: Called with (words, done, in all).
Progress = Callable[[str, int, int], None]


def benchmark(
    raw: Path,
    work: Path,
    names: Sequence[str] = tuple(DATASETS),
    *,
    repeats: int | None = None,
    contestants: Sequence[str] | None = None,
    workers: int | None = None,
    run_missing: bool = True,
    kept: Path | None = None,
    keep: Path | None = None,
    progress: Progress | None = None,
    told: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run what is missing and report on what there is.

    Args:
        raw: folder of the raw datasets.
        work: where stores and finished runs are kept; a stopped run goes on from there.
        names: datasets.
        repeats: at most; by default what `plans.TIMES` says.
        contestants: only these; all by default.
        workers: processes.
        run_missing: else only report on what there is.
        kept: a file of kept runs. Those that today's code would make again count as done; where
            nothing is run, the report is of the file's runs alone, whatever code made them.
        keep: file to keep all runs in; what it held before stays in it.
        progress: called with (words, folds done, folds in all).
        told: called with what was taken from `kept`, in words.

    Returns:
        {"<dataset>/<label>": see `comparison.compare`, plus "out_of_time"}, and "about", with the
        processor time that every contestant took ("cpu_seconds").

    Raises:
        LbsfError: raw files are missing, or kept runs are of other samples.
    """
    if kept and not kept.is_file():
        raise LbsfError(f"{kept}: no such file.")
    taken, store = Kept(kept) if kept else None, Kept(keep) if keep else None
    report: dict[str, Any] = {}
    cost: dict[str, dict[str, float]] = {}
    for name in names:
        dataset, folder = DATASETS[name], work / name
        folder.mkdir(parents=True, exist_ok=True)
        dataset.prepare(raw, folder)
        make = partial(dataset.load, folder)
        data = make()
        plans = plans_of(name, data, repeats=repeats, contestants=contestants)
        with tempfile.TemporaryDirectory(prefix="lbsf-benchmark-") as temporary:
            runs = Path(temporary) if taken and not run_missing else folder
            if taken:
                fits, others = fill(taken, name, data, plans, runs, any_code=not run_missing)
                if told:
                    why = "on other folds" + " or by other code" * run_missing
                    told(f"{name}: {fits} runs from {kept}; {others} left out, {why}")
            for key, plan in plans.items():
                if run_missing:
                    step = partial(progress, f"{name}, {key}") if progress else None
                    run(make, plan, runs / key, workers=workers, progress=step)
            if store:
                samples = fingerprint(data.batch, data.labels)
                store.add(name, samples, {key: runs / key for key in plans})
                store.save()
            cost |= {f"{name}/{key}": cpu_seconds(runs / key) for key in plans}
            for label in data.labels:
                scores = read_scores(data, plans["runs"], runs / "runs", label)
                entry = compare(data, label, scores)
                if (runs / "out_of_time").is_dir():
                    later = read_scores(data, plans["out_of_time"], runs / "out_of_time", label)
                    entry["out_of_time"] = compare(data, label, later)
                entry["predictions"] = digest(runs / "runs")
                report[f"{name}/{label}"] = entry
    notes = [
        {"name": name, "note": DATASETS[name].note, "proxy": DATASETS[name].proxy} for name in names
    ]
    return {"about": about(notes, machine()) | {"cpu_seconds": cost}, **report}


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
        wanted |= dict.fromkeys(BLENDS[name].parts if name in BLENDS else ())
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
