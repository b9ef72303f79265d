"""The benchmark: every contestant over the same folds, with intervals on every difference.

For each repeat and fold (by user, stratified), the training users are cut into `MEMBERS` inner
parts. A contestant is an ensemble of as many members, each fitted without one inner part; what a
member says of the part that it did not see chooses between settings and fits the calibration, and
the mean of the members scores the test users; a contestant with `refits` scores them by fits on all
training users instead. So nothing is learned from a test user, for any contestant.

Every finished (repeat, fold, contestant) is kept in the working folder: a run that was stopped goes
on, and a report can be made of what there is.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from lbsf_core.evaluate.aggregates import Aggregates
from lbsf_core.evaluate.contestants import (
    CONTESTANTS,
    TREES,
    Contestant,
    Data,
    Task,
    boosted,
    can_run,
)
from lbsf_core.evaluate.metrics import auc
from lbsf_core.evaluate.predictions import Kept, contestant_code, fingerprint, write_run
from lbsf_core.fold.batch import Ints

Floats = npt.NDArray[np.float64]

#: Members of every contestant, and inner parts of the training users.
MEMBERS = 3
#: Inverse penalty where outputs are combined by logistic regression.
_STRENGTH = 0.03


@dataclass(frozen=True)
class Run:
    """One contestant on one fold of one label."""

    label: str
    contestant: str
    repeat: int
    fold: int

    @property
    def file(self) -> str:
        """Its name in the working folder."""
        return f"{self.label}.{self.contestant}.{self.repeat}.{self.fold}.parquet"


@dataclass(frozen=True)
class Plan:
    """What is to be run on one dataset.

    Attributes:
        folds: outer folds.
        repeats: contestant -> times that the folds are drawn anew.
        labels: contestant -> labels it is run on; all where it is not named.
        by: "user", or "time": one fold, early cutoffs train and the last one tests, as in use.
        seed: of the folds; members are seeded from it too.
    """

    folds: int
    repeats: dict[str, int]
    labels: dict[str, tuple[str, ...]]
    by: str = "user"
    seed: int = 0

    def runs(self, data: Data) -> list[Run]:
        """Every run, repeat by repeat, so that a stopped one has whole repeats."""
        found = []
        for repeat in range(max(self.repeats.values())):
            for fold in range(self.folds):
                for name, repeats in self.repeats.items():
                    if repeat >= repeats or not can_run(name, data):
                        continue
                    for label in self.labels.get(name, tuple(data.labels)):
                        found.append(Run(label, name, repeat, fold))
        return found


def outer_folds(data: Data, plan: Plan, repeat: int) -> list[tuple[Ints, Ints]]:
    """(train, test) rows of each fold; the same for every contestant and label."""
    if plan.by == "time":
        last = data.batch.cutoffs == data.batch.cutoffs.max()
        return [(np.flatnonzero(~last), np.flatnonzero(last))]
    users = np.asarray(data.batch.user_ids, dtype=object)
    strata = _strata(data)
    cut = StratifiedGroupKFold(plan.folds, shuffle=True, random_state=plan.seed + repeat)
    return [(np.asarray(a), np.asarray(b)) for a, b in cut.split(strata, strata, users)]


def _strata(data: Data) -> Ints:
    """(B,) one number for each combination of labels."""
    found = np.zeros(len(data.batch), dtype=np.int64)
    for labels in data.labels.values():
        found = 2 * found + labels.astype(np.int64)
    return found


def run_fold(
    data: Data, plan: Plan, repeat: int, fold: int, runs: Sequence[Run], work: Path
) -> None:
    """Run contestants on one fold and keep what they say; members are shared where they can be."""
    train, test = outer_folds(data, plan, repeat)[fold]
    users = np.asarray(data.batch.user_ids, dtype=object)
    strata = _strata(data)[train]
    cut = StratifiedGroupKFold(MEMBERS, shuffle=True, random_state=plan.seed + repeat)
    inner = [(train[a], train[b]) for a, b in cut.split(strata, strata, users[train])]
    first = plan.seed + 100 * repeat + 10 * fold
    shared: list[dict[str, Any]] = [{} for _ in range(MEMBERS + 1)]
    code = contestant_code()

    def ask(run: Run, member: int, rows: Ints, score: Ints, seed: int) -> Floats:
        """Outputs for `score` of a contestant fitted on `rows`, with nothing of any other user."""
        late = plan.by == "time"
        unseen = frozenset(users[np.setdiff1d(score, test) if late else score])
        until = int(data.batch.cutoffs[test].min()) if late else None
        task = Task(data, run.label, rows, score, unseen, until, seed, shared[member])
        return CONTESTANTS[run.contestant].outputs(task)

    for run in runs:
        if (work / run.file).is_file():
            continue
        began, contestant = time.process_time(), CONTESTANTS[run.contestant]
        oof, scores = None, []
        for member, (rows, held) in enumerate(inner):
            outputs = ask(run, member, rows, np.concatenate([held, test]), first + member)
            if oof is None:
                oof = np.zeros((len(data.batch), outputs.shape[1]))
            oof[held] = outputs[: len(held)]
            scores.append(outputs[len(held) :])
        assert oof is not None  # noqa: S101 - there are members
        if contestant.refits:
            seeds = range(first + MEMBERS, first + MEMBERS + contestant.refits)
            scores = [ask(run, MEMBERS, train, test, seed) for seed in seeds]
        held_by = np.zeros(len(data.batch), dtype=np.int64)
        for member, (_, held) in enumerate(inner):
            held_by[held] = member
        labels = data.labels[run.label][train]
        known, asked = oof[train], np.mean(scores, axis=0)
        if contestant.combine == "boosted":
            table = Aggregates.fit(data.batch.select(train)).table(data.batch).to_numpy()
            known = np.concatenate([known, table[train]], axis=1)
            asked = np.concatenate([asked, table[test]], axis=1)
        inside, logits = _combine(contestant, known, asked, held_by[train], labels, first)
        frame = pd.DataFrame(
            {
                "row": np.concatenate([train, test]),
                "test": np.arange(len(train) + len(test)) >= len(train),
                "logit": np.concatenate([inside, logits]),
            }
        )
        write_run(work / run.file, frame, code, time.process_time() - began)


def _combine(
    contestant: Contestant, oof: Floats, test: Floats, part: Ints, labels: Floats, seed: int
) -> tuple[Floats, Floats]:
    """Logits of the training rows (out of inner fold) and of the test rows.

    Args:
        contestant: says how.
        oof: (T, Q) outputs of the training rows by members that did not see them.
        test: (U, Q) outputs of the test rows.
        part: (T,) inner part of each training row.
        labels: (T,) of the training rows.
        seed: of gradient boosting.
    """
    if contestant.combine == "best":
        return _best(oof, test, labels)
    # What is said of a training row comes from a fit on the other parts: as honest as what is
    # said of a test row, so that blends and calibration are fitted on the like of it.
    parts = [part == number for number in np.unique(part)]
    if contestant.combine == "boosted":
        inside = np.zeros((len(oof), len(TREES)))
        outside = np.zeros((len(parts), len(test), len(TREES)))
        for number, held in enumerate(parts):
            both = np.concatenate([oof[held], test])
            said = boosted(oof[~held], labels[~held], both, seed + number)
            inside[held], outside[number] = said[: held.sum()], said[held.sum() :]
        return _best(inside, outside.mean(axis=0), labels)
    mean, spread = oof.mean(axis=0), np.maximum(oof.std(axis=0), 1e-9)
    scaled, others = (oof - mean) / spread, (test - mean) / spread

    def fitted(rows: npt.NDArray[np.bool_]) -> LogisticRegression:
        return LogisticRegression(C=_STRENGTH, max_iter=2000).fit(scaled[rows], labels[rows])

    logits = np.zeros(len(oof))
    for held in parts:
        logits[held] = fitted(~held).decision_function(scaled[held])
    return logits, fitted(np.ones(len(oof), dtype=bool)).decision_function(others)


def _best(oof: Floats, test: Floats, labels: Floats) -> tuple[Floats, Floats]:
    """The column that is best on the training rows."""
    best = int(np.argmax([auc(labels, column) for column in oof.T]))
    return oof[:, best], test[:, best]


_DATA: Data | None = None


def _start(make: Callable[[], Data]) -> None:
    global _DATA  # noqa: PLW0603 - once in every worker process
    torch.set_num_threads(1)
    _DATA = make()


def _work(plan: Plan, repeat: int, fold: int, runs: list[Run], work: Path) -> tuple[int, int]:
    assert _DATA is not None  # noqa: S101 - set when the worker started
    run_fold(_DATA, plan, repeat, fold, runs, work)
    return repeat, fold


def run(
    make: Callable[[], Data],
    plan: Plan,
    work: str | Path,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Run what is not yet in the working folder, one fold to a process with one thread.

    Args:
        make: gives the dataset; called once in every process.
        plan: what to run.
        work: folder of what is done.
        workers: processes; as many as there are cores by default.
        progress: called with (folds done, folds in all).
    """
    work = Path(work)
    work.mkdir(parents=True, exist_ok=True)
    data = make()
    missing = [r for r in plan.runs(data) if not (work / r.file).is_file()]
    jobs: dict[tuple[int, int], list[Run]] = {}
    for one in missing:
        jobs.setdefault((one.repeat, one.fold), []).append(one)
    if not jobs:
        return
    with ProcessPoolExecutor(
        workers or os.cpu_count(), get_context("spawn"), initializer=_start, initargs=(make,)
    ) as pool:
        waiting = [pool.submit(_work, plan, *at, runs, work) for at, runs in jobs.items()]
        for done, future in enumerate(as_completed(waiting)):
            future.result()
            if progress:
                progress(done + 1, len(jobs))


def fill(
    kept: Kept,
    dataset: str,
    data: Data,
    plans: Mapping[str, Plan],
    work: Path,
    *,
    any_code: bool = False,
) -> tuple[int, int]:
    """Put kept runs into the working folder, one folder to a plan; one that is there stays.

    A run that other code made is left out, unless `any_code`, and so is one on other folds: it
    would be another one today.

    Returns:
        How many runs fit (those that were there included), and how many were left out.

    Raises:
        LbsfError: the kept runs are of other samples.
    """
    kept.check(dataset, fingerprint(data.batch, data.labels))
    code, fits, runs = contestant_code(), 0, kept.runs(dataset)
    folds: dict[tuple[str, int], list[Ints]] = {}
    for run in runs:
        plan = plans.get(run.plan)
        if plan is None or not (0 <= run.fold < plan.folds and run.repeat >= 0):
            continue
        if run.contestant not in CONTESTANTS or run.label not in data.labels:
            continue
        at = (run.plan, run.repeat)
        if at not in folds:
            folds[at] = [np.concatenate(both) for both in outer_folds(data, plan, run.repeat)]
        same = np.array_equal(run.rows["row"].to_numpy(), folds[at][run.fold])
        if not same or not (any_code or run.code == code):
            continue
        fits += 1
        path = work / run.plan / Run(run.label, run.contestant, run.repeat, run.fold).file
        if not path.is_file():
            write_run(path, run.rows, run.code, run.cpu_seconds)
    return fits, len(runs) - fits


def digest(path: Path) -> str:
    """SHA-256 of every prediction in a working folder: names what a report was made of."""
    found = hashlib.sha256()
    for file in sorted(path.glob("*.parquet")):
        found.update(file.name.encode() + file.read_bytes())
    return found.hexdigest()
