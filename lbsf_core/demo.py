"""The demo: the sample payments folded, scored and explained, once; later runs find them ready."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lbsf_core.config import FoldConfig
from lbsf_core.errors import AttributionsError, LbsfError
from lbsf_core.files import code_hash, dump_json, read_json, sha256
from lbsf_core.fold.fold import fold
from lbsf_core.workspace import Workspace

if TYPE_CHECKING:
    from lbsf_core.workspace.build import Progress

#: Window of the demo: what sample_data/bundle was trained with.
WINDOW_DAYS = 180
_HERE = Path(__file__).resolve().parent


def sample_data() -> Path:
    """The folder of sample payments: beside the package in a checkout, inside it when installed.

    Raises:
        LbsfError: it is in neither place.
    """
    for folder in (_HERE.parent / "sample_data", _HERE / "_sample_data"):
        if (folder / "simulated" / "payments.parquet").is_file():
            return folder
    raise LbsfError(
        "The sample payments are missing. Run from a complete checkout, or make them with "
        "`lbsf simulate sample_data/simulated --users 1000 --seed 7`."
    )


def prepare(out: str | Path, progress: Progress | None = None) -> Path:
    """Make the demo workspace, unless it is there already and made of the same data and code.

    Args:
        out: folder for the folded store and the workspace.
        progress: called with (what is being done, done, in all).

    Returns:
        The folder of the workspace.
    """
    out, data = Path(out), sample_data()
    raw = data / "simulated"
    state = {
        "payments": sha256(raw / "payments.parquet"),
        "labels": sha256(raw / "labels.parquet"),
        "bundle": sha256(data / "bundle" / "manifest.json"),
        "code": code_hash(),
    }
    stamp, ready = out / "made-of.json", out / "workspace"
    if stamp.is_file() and read_json(stamp) == state:
        try:
            Workspace.open(ready)
        except LbsfError:
            stamp.unlink()  # damaged since: make it again
        else:
            return ready
    from lbsf_core.workspace import build_workspace  # loads the model's framework

    store = out / "store"
    fold(raw / "payments.parquet", raw / "labels.parquet", store, FoldConfig(WINDOW_DAYS))
    for kept in (data / "attributions.parquet", None):
        try:
            build_workspace(
                *(store, data / "bundle", ready),
                name="Demo (simulated)",
                attributions=kept,
                progress=progress,
            )
            break
        except AttributionsError:
            continue  # other versions fold or count otherwise: explain every sample now
    stamp.write_text(dump_json(state), encoding="utf-8")
    return ready
