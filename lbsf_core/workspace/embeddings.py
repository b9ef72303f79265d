"""What the model makes of each user, brought to few numbers: what `nearest` compares.

The model's representation of a user is what its head reads; principal components bring it to
`VECTOR` numbers when the workspace is built. Near is what has the same direction there (cosine). It
says what the model holds to be alike, and proves nothing about either user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from sklearn.decomposition import PCA

from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.lbsf import LBSF
from lbsf_core.score.stream import compiled, in_batches
from lbsf_core.workspace.layout import EMBEDDINGS, VECTOR, VECTORS

Floats = npt.NDArray[np.float32]

#: Samples that the components are fitted on, at most: so many runs of so many, drawn at random.
RUNS, RUN = 200, 250


def representations(model: LBSF, batch: FoldedBatch) -> Floats:
    """(B, U) what the head reads of each sample."""
    with torch.inference_mode():
        users, _ = model.represent(model.fused(batch), model.statistics(batch), model.layout(batch))
    return users.cpu().numpy().astype(np.float32)


def write_embeddings(
    store: FoldedStore,
    bundle: Bundle,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write `EMBEDDINGS`: sample, x and y of each, and `VECTORS`; see `layout`.

    A vector of fewer than `VECTOR` numbers is filled with zeros; one that has no direction is NaN.
    Memory holds the representations that the components are fitted on, and `VECTOR` numbers of all.

    Args:
        store: the samples.
        bundle: the model.
        folder: of the workspace.
        progress: called with (payments done, payments in all).
    """
    model = bundle.model.eval()
    samples = len(store.samples)
    found = np.zeros((samples, VECTOR), dtype=np.float32)
    if samples > 1:
        loops = compiled(model, int(store.samples["payments"].sum()))
        ask = loops.representations if loops else partial(representations, model)
        fitted = np.concatenate([ask(batch) for batch in _some(store, samples)])
        size = min(VECTOR, *fitted.shape)
        components = PCA(size, random_state=0).fit(fitted)
        for part, batches in in_batches(store, model, ask, progress):
            for batch, vectors in batches:
                found[part.first + batch.samples, :size] = components.transform(vectors)
    numbers = pa.array(np.arange(samples))
    frame = pa.table({"sample": numbers, "x": found[:, 0], "y": found[:, 1]})
    pq.write_table(frame, folder / EMBEDDINGS, compression="zstd", row_group_size=65_536)
    with np.errstate(invalid="ignore"):
        found /= np.linalg.norm(found, axis=1, keepdims=True)
    found.astype("<f4").tofile(folder / VECTORS)


def _some(store: FoldedStore, samples: int) -> Iterator[FoldedBatch]:
    """Samples to fit on: all of a small store; of a large one runs, each a small read."""
    begins = np.arange(0, samples, RUN)
    if len(begins) > RUNS:
        begins = np.sort(np.random.default_rng(0).choice(begins, RUNS, replace=False))
    for first in begins.tolist():
        yield store.read(np.arange(first, min(first + RUN, samples)))
