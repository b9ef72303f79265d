"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

#: Folders whose tests measure time, and so use the threads that a user would.
MEASURED = {"bench", "browser"}
# Machines are noisy: how long an example takes says nothing about whether it is right.
settings.register_profile("lbsf", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lbsf")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real payments beside the repository; they are no part of it."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: the real payments are no part of the repository")
    return folder


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", autouse=True)
def one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """One thread for small models: with two, on two busy cores, a step takes 50 times as long."""
    needless = "torch" not in sys.modules or request.path.parent.name in MEASURED
    with nullcontext() if needless else _one_thread():
        yield


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of 60 simulated users."""
    from lbsf_core.fold.fold import fold
    from lbsf_core.payments.simulate import simulate

    folder = tmp_path_factory.mktemp("tiny")
    simulate(folder / "raw", users=60, seed=5, years=0.75)
    raw = folder / "raw"
    fold(raw / "payments.parquet", raw / "labels.parquet", folder / "store")
    return folder / "store"


@pytest.fixture(scope="session")
def tiny_bundle(tiny_store: Path) -> Path:
    """A small bundle trained on `tiny_store` for a few seconds."""
    from lbsf_core.config import ModelConfig, TrainConfig
    from lbsf_core.fold.store import FoldedStore
    from lbsf_core.train.train import train

    with _one_thread():
        train(
            FoldedStore.open(tiny_store),
            tiny_store.parent / "bundle",
            ModelConfig(width=16, heads=2, text_buckets=512, text_width=8, bins=8),
            TrainConfig(epochs=3, batch_samples=8),
        )
    return tiny_store.parent / "bundle"


@pytest.fixture(scope="session")
def tiny_workspace(tiny_store: Path, tiny_bundle: Path) -> Path:
    """The workspace of `tiny_store` scored and explained by `tiny_bundle`."""
    from lbsf_core.workspace import build_workspace

    with _one_thread():
        out = tiny_store.parent / "workspace"
        return build_workspace(tiny_store, tiny_bundle, out, name="Tiny")


@pytest.fixture(scope="session")
def demo_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace that `lbsf demo` shows, made anew from sample_data."""
    from lbsf_core.demo import prepare

    return prepare(tmp_path_factory.mktemp("demo"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests last: Playwright keeps an event loop running in the thread of the tests."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)
