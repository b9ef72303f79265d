"""Debian's Chromium, and dashboards to point it at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard.measure.watch import FLAGS, SCREEN, chromium_path
from dashboard.state import SMALLEST_ENV
from tests.browser.servers import fake_server, real_server
from tests.dashboard.fake_workspace import EVIL


@pytest.fixture(scope="session")
def base_url() -> None:
    """In place of pytest-base-url's own, whose form pytest 9 warns about."""


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    path = chromium_path()
    if path is None:
        pytest.skip("no Chromium here: install Debian's `chromium` to run the browser tests")
    return {**browser_type_launch_args, "executable_path": path, "args": [*FLAGS]}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    # Without the content security policy: the escaping has to hold on its own.
    return {**browser_context_args, "viewport": SCREEN, "bypass_csp": True}


@pytest.fixture(scope="session")
def demo(demo_workspace: Path) -> Iterator[str]:
    """Address of the dashboard over the demo workspace."""
    with real_server(demo_workspace) as address:
        yield address


@pytest.fixture(scope="session")
def fake() -> Iterator[str]:
    """Address of the dashboard over the fake workspace, hostile names included."""
    with fake_server() as address:
        yield address


@pytest.fixture(scope="session")
def hostile_demo(
    tiny_store: Path, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """Address of a dashboard over a real workspace, and its user who pays at hostile merchants."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from lbsf_core.fold.fold import fold
    from lbsf_core.workspace import build_workspace

    folder, raw = tmp_path_factory.mktemp("hostile"), tiny_store.parent / "raw"
    payments = pq.read_table(raw / "payments.parquet")
    labels = pq.read_table(raw / "labels.parquet")
    user = str(labels["user_id"][0])
    theirs = pc.equal(payments["user_id"], user).to_pylist()
    evil = pa.array([EVIL[i % len(EVIL)] for i in range(len(payments))])
    for name in ("merchant", "merchant_raw", "description"):
        at = payments.schema.get_field_index(name)
        column = pc.if_else(pa.array(theirs), evil, payments[name].combine_chunks().cast("string"))
        payments = payments.set_column(at, payments.schema.field(at), column)
    pq.write_table(payments, folder / "payments.parquet")
    fold(folder / "payments.parquet", raw / "labels.parquet", folder / "store")
    build_workspace(folder / "store", tiny_bundle, folder / "workspace", name=EVIL[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SMALLEST_ENV, "1")  # so that the cohort of that one user is drawn as well
        with real_server(folder / "workspace") as address:
            yield address, user
