"""The bundle on disk: nothing lost, and everything refused that is not what was written."""

from __future__ import annotations

import json
import pickle
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lbsf_core.errors import BundleError, LbsfError
from lbsf_core.files import code_hash, sha256
from lbsf_core.model.bundle import Bundle, versions
from tests.builders import flip_bit, random_batch, small_model

BATCH = random_batch(0, 10)
FILES = {"weights.safetensors", "manifest.json"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    bundle = Bundle(
        small_model(BATCH),
        {"slope": 2.0, "intercept": -1.0},
        {"seed": 3},
        {"AUC": {"value": 0.7, "lo": 0.6, "hi": 0.8}},
        {"Limits": ["None are known: ž."]},
    )
    return bundle.save(tmp_path / "bundle")


def edit(path: Path, **changes: object) -> None:
    data = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(data | changes))


def rehash(path: Path) -> None:
    """Make the manifest agree with whatever the weights are: an attacker can do this too."""
    edit(path, files={"weights.safetensors": sha256(path / "weights.safetensors")})


def refused(path: Path, match: str) -> None:
    with pytest.raises(BundleError, match=match):
        Bundle.load(path)


def test_save_and_load_lose_nothing(path: Path) -> None:
    assert {p.name for p in path.iterdir()} == FILES
    bundle = Bundle.load(path)
    assert not bundle.model.training
    model = small_model(BATCH)
    with torch.no_grad():
        assert torch.equal(bundle.model(BATCH), model(BATCH))
    assert torch.equal(bundle.model.typical, model.typical)
    assert bundle.calibration == {"slope": 2.0, "intercept": -1.0}
    assert bundle.training == {"seed": 3}
    assert bundle.metrics["AUC"]["hi"] == 0.8
    assert bundle.card == {"Limits": ["None are known: ž."]}


def test_what_was_measured_is_kept_and_the_weights_stay(path: Path, tmp_path: Path) -> None:
    """A bundle without it, as of earlier versions of lbsf, loads and says that nothing was."""
    bundle = Bundle.load(path)
    assert bundle.faithfulness == {}
    assert "faithfulness" not in json.loads((path / "manifest.json").read_text())
    weights = (path / "weights.safetensors").read_bytes()
    measured = {"default": "removal", "methods": {"removal": {"sufficiency": 0.9}}}
    replace(bundle, faithfulness=measured).save(path)
    again = Bundle.load(path)
    assert again.faithfulness == measured
    assert again.weights_digest() == bundle.weights_digest()
    assert (path / "weights.safetensors").read_bytes() == weights
    assert replace(again, faithfulness={}).manifest() == bundle.manifest()
    again.save(tmp_path / "again")
    for name in FILES:
        assert (path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_saving_again_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    Bundle.load(path).save(tmp_path / "again")
    for name in FILES:
        assert (path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


@pytest.mark.parametrize("at", [0.0, 0.01, 0.5, 0.999])
def test_fault_20_flipped_bit_in_weights(path: Path, at: float) -> None:
    flip_bit(path / "weights.safetensors", at)
    refused(path, r"weights\.safetensors: its bytes are not those.*`lbsf train`")


def test_fault_20_truncated_and_missing_weights(path: Path) -> None:
    content = (path / "weights.safetensors").read_bytes()
    (path / "weights.safetensors").write_bytes(content[:-1])
    refused(path, "its bytes are not those")
    rehash(path)
    refused(path, "does not hold together")
    (path / "weights.safetensors").unlink()
    refused(path, "this file is missing")


@pytest.mark.parametrize(
    "changes",
    [
        {"files": None},
        {"files": []},
        {"config": None},
        {"config": {"wide": 3}},
        {"config": {"width": 16, "heads": 2}},
        {"fields": [{"name": "x"}]},
        {"fields": [{"name": "x", "kind": "colour"}]},
        {"fitted": {}},
        {"fitted": []},
        {"calibration": None},
        {"calibration": {"slope": "steep"}},
        {"calibration": {"slope": 1.0}},
        {"metrics": None},
        {"card": 7},
        {"faithfulness": None},
        {"faithfulness": "high"},
    ],
    ids=str,
)
def test_fault_20_manifest_that_does_not_hold_together(path: Path, changes) -> None:
    edit(path, **changes)
    refused(path, "lbsf train")


def test_fault_20_manifest_cut_short_or_without_a_part(path: Path) -> None:
    data = json.loads((path / "manifest.json").read_text())
    for key in data:
        (path / "manifest.json").write_text(json.dumps({k: data[k] for k in data if k != key}))
        refused(path, "lbsf train")
    (path / "manifest.json").write_text(json.dumps(data)[:-30])
    with pytest.raises(LbsfError, match="no readable JSON"):
        Bundle.load(path)


@pytest.mark.parametrize(
    "name", ["../../x", "../outside.safetensors", "/etc/hostname", "weights.safetensors/../../x"]
)
def test_fault_21_manifest_that_leads_out_of_the_bundle(path: Path, name: str) -> None:
    shutil.copy(path / "weights.safetensors", path.parent / "outside.safetensors")
    digest = sha256(path / "weights.safetensors")
    edit(path, files={name: digest})
    refused(path, "refused")
    edit(path, files={"weights.safetensors": digest, name: digest})
    refused(path, "refused")


@pytest.mark.parametrize("name", sorted(FILES))
def test_fault_21_bundle_with_a_link(path: Path, name: str) -> None:
    shutil.move(path / name, path.parent / name)
    (path / name).symlink_to(path.parent / name)
    refused(path, "plain files and nothing else; refused")


class _Evil:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_fault_21_bundle_with_a_pickle(path: Path) -> None:
    owned = path.parent / "owned"
    content = pickle.dumps(_Evil(owned))
    (path / "model.pkl").write_bytes(content)
    refused(path, "nothing else; refused")
    (path / "model.pkl").unlink()
    (path / "weights.safetensors").write_bytes(content)  # under the right name and hash
    rehash(path)
    refused(path, "does not hold together")
    torch.save({"x": torch.zeros(1)}, path / "weights.safetensors")
    rehash(path)
    refused(path, "does not hold together")
    assert not owned.exists()


def test_fault_21_bundle_with_a_folder_inside(path: Path) -> None:
    (path / "more").mkdir()
    refused(path, "nothing else; refused")


@pytest.mark.parametrize("version", [0, 1, 2, 3, 5, None, "4"])
def test_fault_28_bundle_of_another_version(path: Path, version: object) -> None:
    edit(path, bundle_version=version)
    refused(path, rf"bundle version {version}, this lbsf reads \d+\. .*`lbsf train`")


def test_no_bundle_at_all(tmp_path: Path) -> None:
    refused(tmp_path, r"is no bundle.*`lbsf train`")
    refused(tmp_path / "nothing", "is no bundle")


def test_fault_22_bundle_left_aside_by_a_kill_is_put_back(path: Path) -> None:
    path.rename(path.with_name(".bundle.old"))
    assert Bundle.load(path).training == {"seed": 3}


def test_fault_23_full_disk_leaves_the_old_bundle(path: Path) -> None:
    before = {p.name: p.read_bytes() for p in path.iterdir()}
    bundle = Bundle.load(path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(LbsfError, match=r"can't be written.*Free some space"):
            bundle.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {p.name: p.read_bytes() for p in path.iterdir()} == before
    assert list(path.parent.iterdir()) == [path]


def test_nan_never_reaches_a_manifest(path: Path) -> None:
    bundle = Bundle(small_model(BATCH), {"slope": float("nan"), "intercept": 0.0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        bundle.save(path)
    assert Bundle.load(path).calibration["slope"] == 2.0


def test_what_a_result_depends_on_is_named() -> None:
    assert len(code_hash()) == 64
    assert code_hash() == code_hash()
    assert versions()["torch"] == torch.__version__
    assert versions()["numpy"] == np.__version__
