"""What a bundle on disk must be before any of it is used: checked without loading the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lbsf_core.errors import BundleError
from lbsf_core.files import check_hashes, read_json, recover

BUNDLE_VERSION = 4
WEIGHTS, MANIFEST = "weights.safetensors", "manifest.json"
AGAIN = "Train it again with `lbsf train`, or copy the bundle again from where it came from."


def check_bundle(path: str | Path) -> dict[str, Any]:
    """The manifest of a bundle whose files are exactly those that were written.

    Raises:
        BundleError: missing, damaged, of another version, or holding anything unsafe (a link, a
            path that leads out of the folder, a pickle or any other unknown file).
    """
    path = Path(path)
    recover(path)
    if not (path / MANIFEST).is_file():
        raise BundleError(f"{path}: is no bundle (no {MANIFEST}). {AGAIN}")
    for entry in sorted(path.iterdir()):
        if entry.is_symlink() or entry.name not in (WEIGHTS, MANIFEST):
            raise BundleError(
                f"{entry}: a bundle holds {WEIGHTS} and {MANIFEST} as plain files and nothing "
                "else; refused. Remove the file if you trust the rest."
            )
    data: Any = read_json(path / MANIFEST)
    version = data.get("bundle_version") if isinstance(data, dict) else None
    if version != BUNDLE_VERSION:
        raise BundleError(
            f"{path}: bundle version {version}, this lbsf reads {BUNDLE_VERSION}. {AGAIN}"
        )
    files = data.get("files")
    if not isinstance(files, dict) or set(files) != {WEIGHTS}:
        raise BundleError(f"{path}: the manifest must name {WEIGHTS} alone; refused. {AGAIN}")
    check_hashes(path, files, BundleError, AGAIN)
    manifest: dict[str, Any] = data
    return manifest
