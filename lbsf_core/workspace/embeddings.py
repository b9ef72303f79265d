"""What the model makes of each user, brought to few numbers: what `nearest` compares.

The model's representation of a user is what its head reads; principal components bring it to
`VECTOR` numbers when the workspace is built. Near is what has the same direction there (cosine). It
says what the model holds to be alike, and proves nothing about either user.
"""

from __future__ import annotations

from collections.abc import Callable
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
from lbsf_core.score.scorer import BATCH_PAYMENTS
from lbsf_core.workspace.layout import VECTOR

Floats = npt.NDArray[np.float32]

#: Samples that the components are fitted on, at most.
FITTED = 50_000


def representations(model: LBSF, batch: FoldedBatch) -> Floats:
    """(B, U) what the head reads of each sample."""
    with torch.inference_mode():
        users, _ = model.represent(model.fused(batch), model.statistics(batch), model.layout(batch))
    return users.cpu().numpy().astype(np.float32)


def write_embeddings(
    store: FoldedStore,
    bundle: Bundle,
    out: Path,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write sample, vector (`VECTOR` numbers; fewer are filled with zeros), x and y of each sample.

    Args:
        store: the samples.
        bundle: the model.
        out: Parquet file.
        progress: called with (samples done, samples in all).
    """
    model = bundle.model.eval()
    found, rows, done = [], [], 0
    for batch in store.batches(BATCH_PAYMENTS):  # not in the store's order
        found.append(representations(model, batch))
        rows.append(batch.samples)
        done += len(batch)
        if progress:
            progress(done, len(store.samples))
    table = np.zeros((0, 1), dtype=np.float32)
    if found:
        table = np.concatenate(found)[np.argsort(np.concatenate(rows))]
    vectors = np.zeros((len(table), VECTOR), dtype=np.float32)
    if len(table) > 1:
        some = np.random.default_rng(0).permutation(len(table))[:FITTED]
        size = min(VECTOR, len(some), table.shape[1])
        vectors[:, :size] = PCA(size, random_state=0).fit(table[some]).transform(table)
    frame = pa.table(
        {
            "sample": pa.array(np.arange(len(table))),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), VECTOR),
            "x": pa.array(vectors[:, 0]),
            "y": pa.array(vectors[:, 1]),
        }
    )
    pq.write_table(frame, out, compression="zstd", row_group_size=65_536)
