"""Kept runs: the same figures again, nothing of the raw data, and no run that is not today's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from lbsf_core.config import FoldConfig
from lbsf_core.errors import LbsfError
from lbsf_core.evaluate import benchmark as module
from lbsf_core.evaluate import contest
from lbsf_core.evaluate.benchmark import Plan, fill, outer_folds, run_fold
from lbsf_core.evaluate.contestants import Data, Setting
from lbsf_core.evaluate.predictions import (
    Kept,
    _hash_of,
    contestant_code,
    cpu_seconds,
    fingerprint,
    read_run,
    write_run,
)
from lbsf_core.evaluate.scores import read_scores
from lbsf_core.fold.fold import fold
from lbsf_core.fold.store import FoldedStore
from lbsf_core.payments.simulate import simulate

PLAN = Plan(3, {"scorecard": 1}, {})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    folder = tmp_path_factory.mktemp("kept")
    simulate(folder / "raw", users=120, seed=5, null=True)
    raw = folder / "raw"
    fold(raw / "payments.parquet", raw / "labels.parquet", folder / "store", FoldConfig(60))
    store = FoldedStore.open(folder / "store")
    labels = store.samples["label"].to_numpy(float)
    batch = store.read(np.arange(len(labels)))
    return Data(batch, store.manifest.extra_fields, {"label": labels}, None, Setting())


@pytest.fixture(scope="module")
def work(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three finished runs."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "runs").mkdir()
    for run in PLAN.runs(data):
        run_fold(data, PLAN, run.repeat, run.fold, [run], folder / "runs")
    return folder


@pytest.fixture
def file(data: Data, work: Path, tmp_path: Path) -> Path:
    kept = Kept(tmp_path / "kept.parquet")
    kept.add("d", fingerprint(data.batch, data.labels), {"runs": work / "runs"})
    kept.save()
    return kept.path


def test_kept_runs_come_back_as_they_were(
    data: Data, work: Path, file: Path, tmp_path: Path
) -> None:
    plans = {"runs": PLAN}
    assert fill(Kept(file), "d", data, plans, tmp_path / "new") == (3, 0)
    for path in (work / "runs").iterdir():
        assert path.read_bytes() == (tmp_path / "new" / "runs" / path.name).read_bytes()
    one, other = (
        read_scores(data, PLAN, folder / "runs", "label") for folder in (work, tmp_path / "new")
    )
    np.testing.assert_array_equal(one["scorecard"].pds, other["scorecard"].pds)
    assert fill(Kept(file), "elsewhere", data, plans, tmp_path / "none") == (0, 0)


def test_what_a_run_cost_is_kept_with_it(data: Data, work: Path, tmp_path: Path) -> None:
    assert cpu_seconds(work / "runs")["scorecard"] > 0
    for number, seconds in enumerate((2.5, 4.0)):
        source = work / "runs" / f"label.scorecard.0.{number}.parquet"
        write_run(tmp_path / "w" / source.name, read_run(source), "code", seconds)
    assert cpu_seconds(tmp_path / "w") == {"scorecard": 6.5}
    kept = Kept(tmp_path / "kept.parquet")
    kept.add("d", fingerprint(data.batch, data.labels), {"runs": tmp_path / "w"})
    kept.save()
    fill(Kept(kept.path), "d", data, {"runs": PLAN}, tmp_path / "back", any_code=True)
    assert cpu_seconds(tmp_path / "back" / "runs") == {"scorecard": 6.5}


def test_a_run_there_is_not_overwritten(data: Data, file: Path, tmp_path: Path) -> None:
    there = tmp_path / "new" / "runs" / PLAN.runs(data)[0].file
    there.parent.mkdir(parents=True)
    there.write_bytes(b"mine")
    assert fill(Kept(file), "d", data, {"runs": PLAN}, tmp_path / "new") == (3, 0)
    assert there.read_bytes() == b"mine"


def test_nothing_of_the_raw_data_is_in_the_file(data: Data, file: Path) -> None:
    table = pq.read_table(file)
    assert table.column_names == [
        *("dataset", "plan", "label", "contestant", "repeat", "fold", "code"),
        *("cpu_seconds", "row", "test", "logit"),
    ]
    assert table["label"].unique().to_pylist() == ["label"]  # its name, not its values
    raw = file.read_bytes()
    assert not any(user.encode() in raw for user in data.batch.user_ids)
    assert raw.count(b"scorecard") >= 1


def test_runs_of_other_code_or_other_folds_are_left_out(
    data: Data, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = {"runs": replace(PLAN, seed=7)}
    assert fill(Kept(file), "d", data, moved, tmp_path / "a", any_code=True) == (0, 3)
    monkeypatch.setattr(module, "contestant_code", lambda: "other")
    assert fill(Kept(file), "d", data, {"runs": PLAN}, tmp_path / "b") == (0, 3)
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()
    assert fill(Kept(file), "d", data, {"runs": PLAN}, tmp_path / "c", any_code=True) == (3, 0)
    assert len(list((tmp_path / "c" / "runs").iterdir())) == 3


def test_other_samples_are_refused(data: Data, file: Path, work: Path, tmp_path: Path) -> None:
    turned = replace(data, labels={"label": 1 - data.labels["label"]})
    with pytest.raises(LbsfError, match="'d' are of other samples"):
        fill(Kept(file), "d", turned, {"runs": PLAN}, tmp_path)
    samples = fingerprint(turned.batch, turned.labels)
    with pytest.raises(LbsfError, match="'d' are of other samples"):
        Kept(file).add("d", samples, {"runs": work / "runs"})
    dearer = replace(data.batch, amounts=data.batch.amounts * 2)
    assert fingerprint(dearer, data.labels) != fingerprint(data.batch, data.labels)


def test_keeping_again_replaces_runs_and_loses_none(data: Data, file: Path, tmp_path: Path) -> None:
    first = PLAN.runs(data)[0]
    (before,) = [run for run in Kept(file).runs("d") if run.fold == 0]
    folder = tmp_path / "runs"
    write_run(folder / first.file, before.rows.assign(logit=2.5), "newer")
    kept = Kept(file)
    kept.add("d", fingerprint(data.batch, data.labels), {"runs": folder})
    kept.add("e", "other samples", {"runs": folder})
    kept.save()
    again = Kept(file)
    by_fold = {run.fold: run for run in again.runs("d")}
    assert list(by_fold) == [0, 1, 2]
    assert by_fold[0].code == "newer" and (by_fold[0].rows["logit"] == 2.5).all()
    assert by_fold[1].code == contestant_code() and by_fold[1].rows["logit"].std() > 0
    assert len(again.runs("e")) == 1


def test_a_run_without_a_hash_counts_as_made_by_the_present_code(tmp_path: Path) -> None:
    rows = pd.DataFrame({"row": [1, 0], "test": [False, True], "logit": [0.5, -1.0]})
    rows.to_parquet(tmp_path / "l.scorecard.0.0.parquet", index=False)
    kept = Kept(tmp_path / "kept.parquet")
    kept.add("d", "s", {"runs": tmp_path})
    assert [run.code for run in kept.runs("d")] == [contestant_code()]


def test_names_in_the_file_lead_nowhere(data: Data, work: Path, tmp_path: Path) -> None:
    rows = read_run(work / "runs" / PLAN.runs(data)[0].file)
    for number, name in enumerate(("x.scorecard", "label.nobody")):
        folder = tmp_path / str(number)
        write_run(folder / f"{name}.0.0.parquet", rows, contestant_code())
        kept = Kept(tmp_path / "kept.parquet")
        kept.add("d", fingerprint(data.batch, data.labels), {"../out": folder, "runs": folder})
        assert fill(kept, "d", data, {"runs": PLAN}, tmp_path / "new", any_code=True) == (0, 2)
    assert not (tmp_path / "new").exists() and not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"no parquet", None])
def test_another_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "kept.parquet"
    if content is None:
        pd.DataFrame({"row": [1]}).to_parquet(path)
    else:
        path.write_bytes(content)
    with pytest.raises(LbsfError, match="holds no predictions"):
        Kept(path)


def test_the_hash_is_of_code_not_of_words_about_it(tmp_path: Path) -> None:
    path = tmp_path / "train" / "loop.py"
    path.parent.mkdir()
    path.write_text('"""Fit."""\n\n\ndef fit(x):\n    """Twice."""\n    return 2 * x  # so\n')
    first = _hash_of(tmp_path)
    path.write_text('"""Fit, well."""\n\ndef fit(x):\n    "Other."\n    return 2*x\n')
    assert _hash_of(tmp_path) == first
    path.write_text('"""Fit."""\n\n\ndef fit(x):\n    """Twice."""\n    return 3 * x  # so\n')
    assert _hash_of(tmp_path) != first


@dataclass(frozen=True)
class Ready:
    """A dataset that is there already."""

    data: Data
    note: str = ""
    proxy: bool = False

    def prepare(self, raw: Path, work: Path) -> None:
        pass

    def load(self, work: Path) -> Data:
        return self.data


def test_a_benchmark_goes_on_from_what_was_kept(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []
    rng = np.random.default_rng(0)

    def run_here(make, plan, work, **_) -> None:
        for run in plan.runs(make()):
            if not (work / run.file).is_file():
                ran.append(run)
                train, test = outer_folds(data, plan, run.repeat)[run.fold]
                rows = np.concatenate([train, test])
                said = {"row": rows, "test": np.isin(rows, test), "logit": rng.normal(size=120)}
                write_run(work / run.file, pd.DataFrame(said), contestant_code(), 1.5)

    monkeypatch.setattr(contest, "DATASETS", {"d": Ready(data)})
    monkeypatch.setattr(contest, "run", run_here)
    monkeypatch.setattr(
        contest, "plans_of", lambda *_, **__: {"runs": Plan(5, {"scorecard": 1}, {})}
    )
    file, told = tmp_path / "kept.parquet", []
    first = contest.benchmark(tmp_path, tmp_path / "one", ["d"], keep=file)
    done = len(ran)
    assert done == 5
    again = contest.benchmark(tmp_path, tmp_path / "two", ["d"], kept=file, told=told.append)
    assert len(ran) == done, "every run was kept"
    assert again["d/label"] == first["d/label"]
    assert again["about"]["cpu_seconds"]["d/runs"] == {"scorecard": 1.5 * done}
    # A report alone takes the file's runs, whatever code made them, and leaves the folder be.
    monkeypatch.setattr(module, "contestant_code", lambda: "other")
    report = contest.benchmark(
        tmp_path, tmp_path / "three", ["d"], kept=file, run_missing=False, told=told.append
    )
    assert report["d/label"] == first["d/label"]
    assert list((tmp_path / "three" / "d").iterdir()) == []
    assert [words.split(" from")[0] for words in told] == [f"d: {done} runs"] * 2
    with pytest.raises(LbsfError, match="no such file"):
        contest.benchmark(tmp_path, tmp_path / "four", ["d"], kept=tmp_path / "no.parquet")
