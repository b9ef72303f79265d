"""Build a workspace: everything the dashboard loads, in one folder, with hashes.

DIR/store/  DIR/bundle/        copies (hard links where the disk allows) of both
DIR/samples.parquet            one row a sample: score, rank, band, part, figures, sparkline; for
                               other tools
DIR/rows.arrow                 the same, uncompressed: what the dashboard reads
DIR/front-*.arrow              what the first page shows before anybody filters
DIR/merchants.parquet          one row a segment: attribution, weight, money in and out
DIR/groups.arrow               one row a sample: attribution by merchant, kind, field, time
DIR/explanations.arrow         one row a sample: what each field of each payment adds to the score
DIR/months.parquet             one row a sample and month: spend and payments
DIR/embeddings.parquet         one row a sample: where it lies on the map of users
DIR/vectors.f32                the model's representation of each sample, brought to few numbers
DIR/summary.json               what all of it holds, counted once
DIR/baselines.json             whom an explanation is held against, chosen once
DIR/performance.json           metrics and curves on samples that training never saw
DIR/manifest.json              versions and SHA-256 of all of it
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lbsf_core.errors import WorkspaceError
from lbsf_core.evaluate.report import Evaluation, held_out, performance
from lbsf_core.explain.attributions import REASON_COLUMNS, open_attributions
from lbsf_core.explain.baselines import CHECK, COHORT, find_baseline
from lbsf_core.explain.batch import read_attributions
from lbsf_core.explain.explain_all import write_attributions
from lbsf_core.explain.kept import write_kept
from lbsf_core.files import atomic_write, dump_json, link, read_json, sha256
from lbsf_core.fold.append import compact
from lbsf_core.fold.store import PAYMENTS, FoldedStore
from lbsf_core.fold.store import SAMPLES as STORE_SAMPLES
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.bundle_files import MANIFEST as BUNDLE_MANIFEST
from lbsf_core.score.stream import score_stream
from lbsf_core.train.split import PARTS, parts
from lbsf_core.workspace.beside import amounts_at_stake, previous_pds
from lbsf_core.workspace.checked import Checked
from lbsf_core.workspace.embeddings import write_embeddings
from lbsf_core.workspace.groups import write_groups
from lbsf_core.workspace.layout import (
    ATTRIBUTIONS,
    BASELINES,
    EMBEDDINGS,
    FRONT,
    GROUPS,
    KEPT,
    MANIFEST,
    MERCHANTS,
    MONTHS,
    PERFORMANCE,
    ROWS,
    SAMPLES,
    SUMMARY,
    VECTORS,
    WORKSPACE_VERSION,
)
from lbsf_core.workspace.portfolio import write_front
from lbsf_core.workspace.queries import Tables
from lbsf_core.workspace.summed import summarise, to_json
from lbsf_core.workspace.types import BAND_STARTS, BANDS

#: Points of the spend sparkline in the queue.
SPARK = 12
#: Rows of `samples.parquet` that are read together.
SAMPLES_GROUP = 8_192

Progress = Callable[[str, int, int], None]


def build_workspace(
    store: str | Path,
    bundle: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    evaluation: str | Path | None = None,
    attributions: str | Path | None = None,
    comparison: str | Path | None = None,
    label: str | None = None,
    previous: str | Path | None = None,
    amounts: str | Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Score and explain every sample of a store and write the workspace (atomically).

    Args:
        store: folder made by `lbsf fold`.
        bundle: folder made by `lbsf train`.
        out: folder of the new workspace; an existing one is replaced.
        name: shown in the dashboard; the folder's name by default.
        evaluation: folder made by `lbsf evaluate --cv`, shown instead of the test part.
        attributions: file made by `lbsf explain-all`; else every sample is explained now.
        comparison: folder made by `lbsf evaluate --compare` or `lbsf benchmark`.
        label: which part of the comparison, where it has several.
        previous: scores of last time, made by `lbsf score`; see `beside.previous_pds`.
        amounts: CSV or Parquet of the amount at stake of each; see `beside.amounts_at_stake`.
        progress: called with (what is being done, done, in all).

    Raises:
        StoreError, BundleError: one of them is damaged.
        AttributionsError: the attributions belong to something else.
        WorkspaceError: the evaluation belongs to another store, the comparison has not that
            part, or the scores of last time or the amounts can't be used.
    """
    out = Path(out)
    folded, model = FoldedStore.open(store), Bundle.load(bundle)
    report = Evaluation.load(evaluation) if evaluation else None
    if report and report.store != folded.digest:
        raise WorkspaceError(
            f"{evaluation}: was made on another store than {store}. "
            "Run `lbsf evaluate` on this one."
        )

    compared = read_comparison(comparison, label) if comparison else {}

    def told(what: str) -> Callable[[int, int], None] | None:
        return (lambda done, total: progress(what, done, total)) if progress else None

    with atomic_write(out) as folder:
        folder.mkdir()
        if len(folded.payment_files) > 1:  # payments were added: queries want one file
            folded = compact(folded, folder / "store")
        else:
            _copy(Path(store), folder / "store")
        kept = folder / ATTRIBUTIONS
        if attributions:
            link(Path(attributions), kept)
        else:
            write_attributions(folded, model, kept, told("explaining"))
        segments, completeness = read_attributions(folded, model, kept)
        typical = open_attributions(kept)[1]["check"]
        completeness = completeness.select(
            ["sample", "baseline_logit", "delta", "disagreement", *REASON_COLUMNS]
        )
        scores = score_stream(folded, model, told("scoring")).to_pandas()
        top = write_segments(segments, folder / MERCHANTS)
        write_groups(kept, folder / GROUPS)
        write_kept(kept, folder / KEPT)
        samples = _samples(folded, model, scores, top, completeness.to_pandas())
        samples["previous_pd"] = previous_pds(samples, previous)
        samples["at_stake"] = amounts_at_stake(samples, amounts)
        rows = pa.Table.from_pandas(samples, preserve_index=False)
        write_samples(rows.append_column("activity", _activity(folded)), folder)
        _months(folded, folder / MONTHS)
        write_embeddings(folded, model, folder, told("comparing users"))
        found = report.performance() if report else performance(*held_out(samples))
        found |= compared
        (folder / PERFORMANCE).write_text(dump_json(found), encoding="utf-8")
        (folder / BASELINES).write_text(
            dump_json(_baselines(folded, model, typical)), encoding="utf-8"
        )
        tables = Tables(Checked(folder, {}))
        write_front(tables, folder)
        found = to_json(summarise(tables, folded.manifest, name or out.name))
        (folder / SUMMARY).write_text(dump_json(found), encoding="utf-8")
        _copy(Path(bundle), folder / "bundle")
        names = [SAMPLES, ROWS, MERCHANTS, MONTHS, EMBEDDINGS, ATTRIBUTIONS, PERFORMANCE]
        names += [BASELINES, SUMMARY, VECTORS, GROUPS, KEPT, *FRONT.values()]
        names += [f"store/{MANIFEST}", f"bundle/{BUNDLE_MANIFEST}"]
        manifest = {
            "workspace_version": WORKSPACE_VERSION,
            "name": name or out.name,
            "bundle": sha256(folder / "bundle" / BUNDLE_MANIFEST),
            "store": folded.digest,
            "files": {name: sha256(folder / name) for name in names},
        }
        (folder / MANIFEST).write_text(dump_json(manifest), encoding="utf-8")
    return out


def read_comparison(path: str | Path, label: str | None = None) -> dict[str, Any]:
    """Contestants and differences of one part of a comparison, as lists of records.

    Raises:
        WorkspaceError: it has no such part, or several and none was named.
    """
    report = read_json(Path(path) / "report.json")
    names = [name for name in report if name != "about"]
    if label is None and len(names) == 1:
        label = names[0]
    if label not in names:
        raise WorkspaceError(
            f"{path}: has {', '.join(names)}; name one of them with --comparison-label."
        )
    found = report[label]
    keep = ("about", "auc", "lo", "hi", "repeats", "control")
    return {
        "compared_on": f"{label}: {found['samples']:,} samples, {found['bad']:,} bad",
        "contestants": [
            {"name": name} | {key: entry[key] for key in keep}
            for name, entry in found["contestants"].items()
        ],
        "differences": [{"pair": pair} | entry for pair, entry in found["differences"].items()],
    }


def _baselines(
    store: FoldedStore, bundle: Bundle, typical: dict[str, Any] | None
) -> dict[str, dict[str, Any]]:
    """Who stands for a typical user and for a cohort: thousands of users are looked at for that.

    Args:
        store: the samples.
        bundle: the model.
        typical: against whom the attributions were checked; None where nobody could be.
    """
    if typical is None:  # then nobody can stand for a cohort either
        return {}
    return {CHECK: typical, COHORT: find_baseline(store, bundle, COHORT).to_dict()}


def write_samples(table: pa.Table, folder: Path) -> None:
    """Write one row a sample: as it is for the dashboard, and compressed for other tools."""
    pq.write_table(table, folder / SAMPLES, compression="zstd", row_group_size=SAMPLES_GROUP)
    with pa.ipc.new_file(str(folder / ROWS), table.schema) as writer:
        writer.write_table(table.combine_chunks())


def write_segments(segments: Iterable[pa.Table], path: Path) -> pd.DataFrame:
    """Write merchants.parquet as its rows come, by sample; return each sample's top merchant."""
    names = ["sample", "merchant", "attribution"]
    tops: list[pa.Table] = []
    parts = iter(segments)
    first = next(parts)
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        for table in chain([first], parts):
            writer.write_table(table)
            tops.append(_first_of_samples(table.select(names)))
    # A sample whose rows two parts share has a candidate of each.
    top = _first_of_samples(pa.concat_tables(tops)).rename_columns(
        ["sample", "top_merchant", "top_attribution"]
    )
    frame: pd.DataFrame = top.to_pandas()
    return frame


def _first_of_samples(rows: pa.Table) -> pa.Table:
    """Of rows by sample, each sample's of the highest attribution; of equal ones the first."""
    sample = rows["sample"].to_numpy()
    order = np.lexsort((-rows["attribution"].to_numpy(), sample))
    first = np.flatnonzero(np.diff(sample[order], prepend=-1))
    return rows.take(pa.array(order[first]))


def _samples(
    store: FoldedStore,
    bundle: Bundle,
    scores: pd.DataFrame,
    top: pd.DataFrame,
    completeness: pd.DataFrame,
) -> pd.DataFrame:
    frame = store.samples.drop(columns=["row_start"]).rename(columns={"segments": "merchants"})
    frame = frame.merge(scores[["sample", "logit", "pd"]], on="sample")
    frame = frame.merge(completeness, on="sample").merge(top, on="sample", how="left")
    pds = frame["pd"].to_numpy()
    ordered = np.sort(pds)
    frame["percentile"] = 100.0 * np.searchsorted(ordered, pds, side="right") / max(len(pds), 1)
    rank = np.empty(len(pds), dtype=np.int64)
    rank[np.argsort(-pds, kind="stable")] = np.arange(1, len(pds) + 1)
    frame["rank"] = rank
    band = np.searchsorted(np.array(BAND_STARTS), frame["percentile"], side="left")
    frame["band"] = np.array(BANDS)[band]
    labels = frame["label"].to_numpy(dtype=np.float64)
    frame["label"] = np.where(np.isnan(labels), "unknown", np.where(labels == 1, "bad", "good"))
    cutoffs = pd.DatetimeIndex(frame["cutoff"]).as_unit("us").asi8
    rule = bundle.training.get("split")
    part = (
        np.array(PARTS)[parts(list(frame["user_id"]), cutoffs, labels, rule)]
        if rule
        else np.full(len(frame), "new")
    )
    frame["part"] = part
    return frame


def _activity(store: FoldedStore) -> pa.ListArray:
    """Money out in each twelfth of a sample's window (of its own history when it has no window)."""
    connection = duckdb.connect()
    try:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.sql(
            """
            WITH s AS (
                SELECT sample, epoch(cutoff) AS stop, epoch(coalesce(window_start, first_payment))
                       AS start FROM read_parquet($samples)
            )
            SELECT sample, least(floor(
                       (epoch(timestamp) - start) / greatest(stop - start, 1) * $spark
                   ), $spark - 1)::INTEGER AS slot, sum(greatest(-amount, 0)) AS spend
            FROM read_parquet($payments) JOIN s USING (sample) GROUP BY ALL
            """,
            params={
                "samples": str(store.path / STORE_SAMPLES),
                "payments": str(store.path / PAYMENTS),
                "spark": SPARK,
            },
        )
        rows = found.to_arrow_table().to_pandas()
    finally:
        connection.close()
    grid = np.zeros((len(store.samples), SPARK))
    grid[rows["sample"], rows["slot"].clip(0)] = rows["spend"]
    ends = pa.array(np.arange(0, grid.size + 1, SPARK), pa.int32())
    return pa.ListArray.from_arrays(ends, pa.array(grid.round(2).ravel()))


def _months(store: FoldedStore, path: Path) -> None:
    connection = duckdb.connect()
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            """COPY (
                SELECT sample, date_trunc('month', timestamp)::DATE AS month,
                       sum(greatest(-amount, 0)) AS spend, count(*)::INTEGER AS payments
                FROM read_parquet($payments) GROUP BY ALL ORDER BY sample, month
            ) TO $out (FORMAT parquet, COMPRESSION zstd)""",
            {"payments": str(store.path / PAYMENTS), "out": str(path)},
        )
    finally:
        connection.close()


def _copy(source: Path, target: Path) -> None:
    """Copy a flat folder."""
    target.mkdir()
    for path in source.iterdir():
        link(path, target / path.name)
