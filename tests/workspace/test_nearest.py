"""Who is alike: the nearest by cosine, as counted by hand, and never the user himself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.score.scorer import batch_logits
from lbsf_core.workspace import SampleFilter, Workspace
from lbsf_core.workspace.embeddings import representations, write_embeddings
from lbsf_core.workspace.layout import VECTOR


@pytest.fixture(scope="module")
def workspace(tiny_workspace: Path) -> Workspace:
    return Workspace.open(tiny_workspace)


def test_the_nearest_by_hand(workspace: Workspace, tiny_workspace: Path) -> None:
    kept = pd.read_parquet(tiny_workspace / "embeddings.parquet")
    vectors = np.stack(kept["vector"].tolist())
    assert vectors.shape == (60, VECTOR)
    np.testing.assert_array_equal(kept[["x", "y"]].to_numpy(), vectors[:, :2])
    case = workspace.case(str(workspace.queue(limit=1)["user_id"].iloc[0]))
    found = workspace.similar(case, 5)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near = unit @ unit[case.sample]
    near[case.sample] = -2
    order = np.argsort(-near)[:5]
    assert found["sample"].tolist() == order.tolist()
    np.testing.assert_allclose(found["similarity"], near[order], atol=1e-5)
    assert case.user_id not in set(found["user_id"])


def test_every_sample_has_its_own_representation(
    workspace: Workspace, tiny_workspace: Path
) -> None:
    """Few numbers keep nearly all of the distances between the whole representations."""
    kept = np.stack(pd.read_parquet(tiny_workspace / "embeddings.parquet")["vector"].tolist())
    model, store = workspace.bundle.model.eval(), workspace.store
    whole = np.concatenate([representations(model, store.read([row])) for row in range(60)])

    def distances(table: np.ndarray) -> np.ndarray:
        gaps = np.linalg.norm(table[:, None] - table[None], axis=2)
        return gaps[np.triu_indices(60, 1)]

    assert np.corrcoef(distances(kept), distances(whole))[0, 1] > 0.98


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

        def batches(self, _: int):
            yield store.read([0])

    write_embeddings(One(), Bundle.load(tiny_bundle), tmp_path / "e.parquet")  # type: ignore[arg-type]
    found = pd.read_parquet(tmp_path / "e.parquet")
    assert len(found) == 1 and not np.any(found["vector"].iloc[0])


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
