"""What a person waits for, on the demo and on a workspace of 100,000 samples or more.

The workspace is simulated once and kept: users of `lbsf simulate` at two cutoffs 30 days apart,
with 30 days of payments each (about 92 on average), scored and explained by the sample bundle.
"""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lbsf_core.config import FoldConfig
from lbsf_core.demo import prepare, sample_data
from lbsf_core.errors import LbsfError
from lbsf_core.fold.fold import fold
from lbsf_core.machine import machine, python_rate
from lbsf_core.payments.simulate import simulate
from lbsf_core.workspace import BANDS, SampleFilter, Workspace

if TYPE_CHECKING:
    from lbsf_core.workspace.build import Progress

#: Days of payments in a sample, and between a user's two cutoffs.
WINDOW_DAYS = 30
#: Of payments before the later cutoff, the fewest that are simulated: both windows are full.
YEARS = 0.75
#: Users that the crowd draws from: far more than the server keeps explanations of.
CROWD = 500
#: Samples of each of two cohorts, at most.
COHORT = 50_000
#: Two cohorts, by the words of the page and by label: of half the samples each, the earlier cutoff,
#: whose label nobody knew, and the later; where all are labelled, the good and the bad.
COHORTS = (
    ((["No label yet"], ("unknown",)), (["Good", "Bad"], ("good", "bad"))),
    ((["Good"], ("good",)), (["Bad"], ("bad",))),
)


def bench_dashboard(
    folder: Path,
    *,
    demo: bool = False,
    samples: int = 100_000,
    tiles: int = 1,
    users: int = 21,
    sessions: int = 10,
    soakers: int = 20,
    soak_browsers: int = 1,
    soak_seconds: float = 300.0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Drive the dashboard in a real Chromium.

    Args:
        folder: where the workspace is made, or was.
        demo: over the demo workspace instead.
        samples: of the workspace that is made.
        tiles: its users so many times over, under other names; see `bench.tiles`.
        users: opened one after another, the first to start from.
        sessions: open at once, whose memory is measured.
        soakers: sessions that browse at once.
        soak_browsers: how many of them in a Chromium. The others speak to the server as a browser
            does and draw nothing: each analyst has a computer of his own, and twenty browsers on
            the server's two cores are what such a measurement would be of.
        soak_seconds: for so long; 0 leaves it out.
        progress: called with (what is being done, done, in all).

    Returns:
        "cold_start_s" (server started to first chart, the median of "cold_starts_s"),
        "open_user_p95_s" (all panels at rest), "open_user_server_p95_s" (asked for to last message,
        no browser), "click_p95_s", "whatif_p95_s", "cohort_50k_s", "search_p95_s",
        "rss_10_sessions_mb", "soak_p95_s" (steps in a browser), "soak_server_p95_s" (the others'),
        "soak_errors", and what it was measured on ("cohort_samples": of the two that are compared,
        `COHORT` each at most), with how fast this Python runs there.

    Raises:
        LbsfError: there is no browser, or a page did not come to rest.
    """
    workspace = prepare(folder, progress) if demo else large(folder, samples, progress, tiles=tiles)
    opened = Workspace.open(workspace, verify=False)
    summary = opened.summary()
    ids, many = (_spread(opened, count) for count in (users, CROWD))
    cohorts, sizes = _cohorts(opened)
    python = round(python_rate() / 1e6, 1)
    # The app is the library's user, so it is found by name and only here, as by `lbsf dashboard`.
    measured: dict[str, Any] = import_module("dashboard.measure.waits").figures(
        workspace,
        users=ids,
        cohorts=urlencode(cohorts, doseq=True),
        crowd_users=many,
        sessions=sessions,
        soakers=soakers,
        soak_browsers=soak_browsers,
        soak_seconds=soak_seconds,
    )
    return measured | {
        "samples": summary.samples,
        "cohort_samples": sizes,
        "payments": summary.payments,
        "machine": machine() | {"python_million_turns_per_s": python},
    }


def _spread(workspace: Workspace, count: int) -> list[str]:
    """Users from the riskiest towards the safest, each once, at most so many."""
    step = max(workspace.summary().samples // (2 * count), 1)
    pages = (workspace.queue(limit=1, offset=at * step) for at in range(count))
    return list(dict.fromkeys(str(page["user_id"].iloc[0]) for page in pages if len(page)))


def _cohorts(workspace: Workspace, most: int = COHORT) -> tuple[dict[str, Any], list[int]]:
    """The parameters of two cohorts, and their sizes; of too many samples, those that pay least.

    Raises:
        LbsfError: of no two labels there are samples.
    """

    def sizes(payments: int | None) -> list[int]:
        return [workspace.count(SampleFilter(labels=of, payments_max=payments)) for of in labels]

    for pair in COHORTS:
        words, labels = zip(*pair, strict=True)
        if all(whole := sizes(None)):
            break
    else:
        raise LbsfError(f"{workspace.path.name}: no two labels have samples; nobody to compare.")
    query = {"a_band": BANDS, "a_label": words[0], "b_band": BANDS, "b_label": words[1]}
    if max(whole) <= most:
        return query, whole
    low, high = 0, int(workspace.queue(sort="payments", limit=1)["payments"].iloc[0])
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if max(sizes(middle)) <= most else (low, middle)
    return query | {"a_max": low, "b_max": low}, sizes(low)


def large(folder: Path, samples: int, progress: Progress | None = None, *, tiles: int = 1) -> Path:
    """The workspace of so many samples in a folder, made where it is not there yet.

    Of several tiles, the workspace of its users so many times over.
    """
    raw, labels = folder / "raw", folder / "labels.parquet"
    ready = folder / "workspace"
    if not (ready / "manifest.json").is_file():
        _make(folder, raw, labels, ready, samples, progress)
    if tiles == 1:
        return ready
    from lbsf_core.bench.tiles import tiled

    source = (ready, raw / "payments.parquet", labels)
    return tiled(*source, folder / f"tiles-{tiles}", tiles, FoldConfig(WINDOW_DAYS), progress)


def _make(
    folder: Path, raw: Path, labels: Path, ready: Path, samples: int, progress: Progress | None
) -> None:
    from lbsf_core.workspace import build_workspace

    store = folder / "store"
    if not (raw / "labels.parquet").is_file():
        simulate(raw, users=samples // 2, seed=11, years=YEARS)
    pq.write_table(_at_two_cutoffs(pq.read_table(raw / "labels.parquet")), labels)
    fold(raw / "payments.parquet", labels, store, FoldConfig(WINDOW_DAYS))
    build_workspace(
        *(store, sample_data() / "bundle", ready), name="Large (simulated)", progress=progress
    )


def _at_two_cutoffs(labels: pa.Table) -> pa.Table:
    """The labels, and the same users `WINDOW_DAYS` before, when nobody knew their label."""
    at = labels.schema.get_field_index("cutoff")
    then = pc.subtract(labels["cutoff"], pa.scalar(timedelta(days=WINDOW_DAYS)))
    before = labels.set_column(at, labels.schema.field(at), then.cast(labels["cutoff"].type))
    at = labels.schema.get_field_index("label")
    unknown = pa.nulls(len(labels), labels.schema.field(at).type)
    return pa.concat_tables([labels, before.set_column(at, labels.schema.field(at), unknown)])
