"""Kept attributions are used only for the samples and weights they were made from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lbsf_core.errors import AttributionsError
from lbsf_core.explain.batch import SEGMENTS, read_attributions, write_attributions
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.workspace import build_workspace


def test_kept_attributions_are_believed_only_where_they_belong(
    tiny_store: Path, tiny_bundle: Path, tiny_workspace: Path, tmp_path: Path
) -> None:
    store, bundle = FoldedStore.open(tiny_store), Bundle.load(tiny_bundle)
    kept = write_attributions(store, bundle, tmp_path / "kept")
    segments, samples = read_attributions(store, bundle, kept)
    assert len(samples) == len(store.samples)
    built = build_workspace(tiny_store, tiny_bundle, tmp_path / "w", attributions=kept)
    columns = ["sample", "segment", "attribution"]
    ours, fresh = (
        pq.read_table(folder / "merchants.parquet", columns=columns).to_pandas()
        for folder in (built, tiny_workspace)
    )
    assert ours[["sample", "segment"]].equals(fresh[["sample", "segment"]])
    assert np.abs(ours["attribution"] - fresh["attribution"]).max() < 2e-3

    # Values that were changed are found by explaining some samples again.
    forged = segments.set_column(
        segments.schema.get_field_index("attribution"),
        "attribution",
        pa.compute.add(segments["attribution"], 0.1),
    )
    pq.write_table(forged, kept / SEGMENTS)
    with pytest.raises(AttributionsError, match="explain-all"):
        read_attributions(store, bundle, kept)

    # Other weights are another model.
    write_attributions(store, bundle, kept)
    other = replace(bundle)
    with np.errstate(all="ignore"):
        state = {k: v * 1.5 for k, v in bundle.model.state_dict().items()}
    other.model.load_state_dict(state)
    with pytest.raises(AttributionsError, match="other weights"):
        read_attributions(store, other, kept)
    with pytest.raises(AttributionsError, match="holds no attributions"):
        read_attributions(store, bundle, tmp_path / "nothing")
