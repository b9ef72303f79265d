"""A workspace many times over: its users again under other names, to measure at a size that would
take hours to explain.

Every copy of a user pays what the user paid, so that attributions are the same and are copied; all
else (fold, scores, embeddings, what queries read) is made from the payments as for any workspace.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lbsf_core.config import FoldConfig
from lbsf_core.explain.attributions import KEY, open_attributions
from lbsf_core.fold.fold import fold
from lbsf_core.fold.store import FoldedStore
from lbsf_core.workspace import build_workspace
from lbsf_core.workspace.layout import ATTRIBUTIONS

if TYPE_CHECKING:
    from lbsf_core.workspace.build import Progress


def tiled(
    workspace: Path,
    payments: Path,
    labels: Path,
    folder: Path,
    tiles: int,
    config: FoldConfig,
    progress: Progress | None = None,
) -> Path:
    """Make the workspace of a workspace's users `tiles` times over, where it is not there yet.

    Args:
        workspace: built from a fold of the payments at the labels' cutoffs.
        payments: validated, by user.
        labels: of them.
        folder: what is made lies here.
        tiles: how often; copy k of user U is called "k-U".
        config: of the fold.
        progress: as `build_workspace` calls it.
    """
    ready = folder / "workspace"
    if (ready / "manifest.json").is_file():
        return ready
    folder.mkdir(parents=True, exist_ok=True)
    paid, asked = folder / payments.name, folder / labels.name
    _copies(labels, asked, tiles)
    _copies(payments, paid, tiles, _beginnings(labels, config))
    store = folder / "store"
    fold(paid, asked, store, config)
    paid.unlink()
    kept = folder / ATTRIBUTIONS
    base = FoldedStore.open(workspace / "store")
    _attributions(workspace / ATTRIBUTIONS, kept, tiles, base, FoldedStore.open(store))
    name = f"Large (simulated, {tiles} times over)"
    return build_workspace(
        *(store, workspace / "bundle", ready), name=name, attributions=kept, progress=progress
    )


def _named(table: pa.Table, tile: int) -> pa.Table:
    """The rows under the names that users have in a tile."""
    at = table.schema.get_field_index("user_id")
    names = pc.binary_join_element_wise(f"{tile:03d}", table["user_id"].cast(pa.string()), "-")
    return table.set_column(at, table.schema.field(at), names)


def _beginnings(labels: Path, config: FoldConfig) -> pa.Table | None:
    """user_id and `since`, the beginning of the user's first window; None where windows have none.

    What no window reaches need not be written: with short windows that is most of what was paid.
    """
    if not config.window_days:
        return None
    found = pq.read_table(labels).group_by("user_id").aggregate([("cutoff", "min")])
    since = pc.subtract(found["cutoff_min"], pa.scalar(timedelta(days=config.window_days)))
    return pa.table({"user_id": found["user_id"].cast(pa.string()), "since": since})


def _copies(source: Path, target: Path, tiles: int, beginnings: pa.Table | None = None) -> None:
    """Write a file of users `tiles` times over, one copy after another."""
    file = pq.ParquetFile(source)
    with pq.ParquetWriter(target, file.schema_arrow, compression="zstd") as writer:
        for tile in range(tiles):
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group)
                if beginnings is not None:
                    whose = pc.index_in(rows["user_id"], value_set=beginnings["user_id"])
                    since = beginnings["since"].take(whose)
                    rows = rows.filter(pc.greater_equal(rows["timestamp"], since))
                writer.write_table(_named(rows, tile))


def _attributions(
    source: Path, target: Path, tiles: int, base: FoldedStore, store: FoldedStore
) -> None:
    """The attributions of every copy: a tile's samples stand together, in the order of the base."""
    file, about = open_attributions(source)
    about = about | {"store": store.content}
    schema = file.schema_arrow.with_metadata({KEY: json.dumps(about)})
    samples = len(base.samples)
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for tile in range(tiles):
            for group in range(file.num_row_groups):
                rows = _named(file.read_row_group(group), tile)
                at = rows.schema.get_field_index("sample")
                numbers = pc.add(rows["sample"], tile * samples).cast(schema.field(at).type)
                rows = rows.set_column(at, schema.field(at), numbers)
                writer.write_table(rows.cast(schema))
