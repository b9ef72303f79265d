"""Who is alike: the nearest by cosine, as counted by hand, and never the user himself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.score import stream
from lbsf_core.score.lean import Lean
from lbsf_core.score.scorer import batch_logits
from lbsf_core.workspace import SampleFilter, Workspace, embeddings, nearest
from lbsf_core.workspace.embeddings import representations, write_embeddings
from lbsf_core.workspace.layout import VECTOR, VECTORS


@pytest.fixture(scope="module")
def workspace(tiny_workspace: Path) -> Workspace:
    return Workspace.open(tiny_workspace)


def directions(folder: Path) -> np.ndarray:
    return np.fromfile(folder / VECTORS, "<f4").reshape(-1, VECTOR)


def test_the_nearest_by_hand(workspace: Workspace, tiny_workspace: Path) -> None:
    kept = pd.read_parquet(tiny_workspace / "embeddings.parquet")
    unit = directions(tiny_workspace)
    assert unit.shape == (60, VECTOR)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1.0, atol=1e-6)
    points = kept[["x", "y"]].to_numpy()  # the same two numbers, before they are scaled
    np.testing.assert_allclose(points[:, 0] * unit[:, 1], points[:, 1] * unit[:, 0], atol=1e-4)
    case = workspace.case(str(workspace.queue(limit=1)["user_id"].iloc[0]))
    found = workspace.similar(case, 5)
    near = unit @ unit[case.sample]
    near[case.sample] = -2
    order = np.argsort(-near)[:5]
    assert found["sample"].tolist() == order.tolist()
    np.testing.assert_allclose(found["similarity"], near[order], atol=1e-5)
    assert case.user_id not in set(found["user_id"])


def test_where_too_few_are_left_more_are_looked_at(
    workspace: Workspace, tiny_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = workspace.case(str(workspace.queue(limit=1)["user_id"].iloc[0]))
    unit = directions(tiny_workspace)
    near = unit @ unit[case.sample]
    near[case.sample] = -2
    order = np.argsort(-near).tolist()
    empty, asked, records = set(order[:3]), [], workspace._tables.records

    def without(samples, columns):
        asked.append(len(samples))
        told = records(samples, columns)
        return [
            one | {"payments": 0} if at in empty else one
            for at, one in zip(samples, told, strict=True)
        ]

    monkeypatch.setattr(workspace._tables, "records", without)
    monkeypatch.setattr(nearest, "MET", 1)
    assert workspace.similar(case, 5)["sample"].tolist() == order[3:8]
    assert asked == [5, 40]


def test_every_sample_has_its_own_representation(
    workspace: Workspace, tiny_workspace: Path
) -> None:
    """Few numbers keep nearly all of who is like whom by the whole representations."""
    model, store = workspace.bundle.model.eval(), workspace.store
    whole = np.concatenate([representations(model, store.read([row])) for row in range(60)])
    whole -= whole.mean(axis=0)
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    pairs = np.triu_indices(60, 1)
    kept = directions(tiny_workspace)
    found, expected = (kept @ kept.T)[pairs], (whole @ whole.T)[pairs]
    assert np.corrcoef(found, expected)[0, 1] > 0.98


def test_vectors_are_read_in_pieces(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    case = workspace.case(str(workspace.queue(limit=1)["user_id"].iloc[0]))
    whole = workspace.similar(case)
    monkeypatch.setattr(nearest, "PIECE", 7)
    pd.testing.assert_frame_equal(workspace.similar(case), whole)


def test_of_many_samples_some_runs_are_fitted_on(
    tiny_store: Path, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "RUNS", 4)
    monkeypatch.setattr(embeddings, "RUN", 9)
    store = FoldedStore.open(tiny_store)
    read = [batch.samples.tolist() for batch in embeddings._some(store, 60)]
    assert len(read) == 4 and all(np.diff(run).tolist() == [1] * (len(run) - 1) for run in read)
    write_embeddings(store, Bundle.load(tiny_bundle), tmp_path)
    assert len(pd.read_parquet(tmp_path / "embeddings.parquet")) == 60
    assert np.isfinite(directions(tmp_path)).all()


def test_parts_of_a_store_keep_their_place(
    tiny_store: Path,
    tiny_bundle: Path,
    tiny_workspace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "SAMPLES", 7)
    done = []
    store = FoldedStore.open(tiny_store)
    told = lambda *numbers: done.append(numbers)  # noqa: E731
    write_embeddings(store, Bundle.load(tiny_bundle), tmp_path, told)
    np.testing.assert_allclose(directions(tmp_path), directions(tiny_workspace), atol=1e-4)
    payments = int(store.samples["payments"].sum())
    assert len(done) == 9 and done[-1] == (payments, payments)


def test_a_large_store_is_read_by_compiled_loops(
    tiny_store: Path,
    tiny_bundle: Path,
    tiny_workspace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, asked = FoldedStore.open(tiny_store), []
    inner = Lean.representations
    noted = lambda self, batch: asked.extend(batch.samples) or inner(self, batch)  # noqa: E731
    monkeypatch.setattr(Lean, "representations", noted)
    write_embeddings(store, Bundle.load(tiny_bundle), tmp_path)
    assert not asked
    monkeypatch.setattr(stream, "LEAN_FROM", 1)
    write_embeddings(store, Bundle.load(tiny_bundle), tmp_path)
    assert sorted(asked) == [row for row in range(60) for _ in range(2)]  # fitted on, then placed
    np.testing.assert_allclose(directions(tmp_path), directions(tiny_workspace), atol=1e-4)


def test_representations_are_what_the_head_reads(workspace: Workspace) -> None:
    import torch

    store, bundle = workspace.store, workspace.bundle
    batch = store.read([0, 7, 30])
    users = torch.from_numpy(representations(bundle.model.eval(), batch))
    with torch.inference_mode():
        logits = bundle.model.head(bundle.model.forecast(users))[:, 0].numpy()
    np.testing.assert_allclose(logits, batch_logits(bundle.model, [batch]), atol=1e-5)


def test_one_sample_alone_has_a_vector_and_nobody_near(
    tiny_store: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    store = FoldedStore.open(tiny_store)

    class One:
        samples = store.samples.iloc[:1]

    write_embeddings(One(), Bundle.load(tiny_bundle), tmp_path)  # type: ignore[arg-type]
    found = pd.read_parquet(tmp_path / "embeddings.parquet")
    assert len(found) == 1 and not found[["x", "y"]].to_numpy().any()
    assert np.isnan(directions(tmp_path)).all()  # it has no direction


def test_an_area_keeps_who_lies_inside_it(workspace: Workspace) -> None:
    """A square and a notched one against matplotlib's own answer."""
    from matplotlib.path import Path as Line

    points = workspace.map()
    middle = points[["x", "y"]].median().to_numpy()
    for corners in (
        [(-9.0, -9.0), (9.0, -9.0), (9.0, 9.0), (-9.0, 9.0)],
        [(-9.0, -9.0), (float(middle[0]), float(middle[1])), (9.0, -9.0), (9.0, 9.0), (-9.0, 9.0)],
    ):
        line = Line([*corners, corners[0]])
        inside = points["sample"][line.contains_points(points[["x", "y"]].to_numpy())]
        found = workspace.queue(SampleFilter(area=tuple(corners)), limit=1000)
        own = found["sample"][found["payments"] > 0]
        assert sorted(own) == sorted(inside)
    assert 0 < len(inside) < len(points), "the notch leaves some out"
    assert workspace.count(SampleFilter(area=((50.0, 50.0), (51.0, 50.0), (50.0, 51.0)))) == 0


def test_two_cohorts_may_each_have_an_area(workspace: Workspace) -> None:
    left = SampleFilter(area=((-99.0, -99.0), (0.0, -99.0), (0.0, 99.0), (-99.0, 99.0)))
    right = SampleFilter(area=((0.0, -99.0), (99.0, -99.0), (99.0, 99.0), (0.0, 99.0)))
    sizes = workspace.compare(left, right).sizes["samples"]
    assert sizes.sum() == 60 and (sizes > 0).all()


def test_of_many_samples_the_same_ones_are_drawn(workspace: Workspace) -> None:
    assert workspace.map(10)["sample"].tolist() == workspace.map(10)["sample"].tolist()
    assert len(workspace.map(10)) == 10
