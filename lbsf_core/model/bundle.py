"""The bundle: a trained model on disk, as safetensors and JSON with hashes. No pickle, ever.

BUNDLE/weights.safetensors   every weight and buffer
BUNDLE/manifest.json         versions, config, fields, what they learned, calibration, how it
                             was trained, metrics, card, how true its explanations are
                             (where it was measured), SHA-256 of the weights
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError

import lbsf_core
from lbsf_core.config import ModelConfig
from lbsf_core.errors import BundleError, LbsfError
from lbsf_core.files import atomic_write, dump_json, sha256
from lbsf_core.model.bundle_files import (
    AGAIN,
    BUNDLE_VERSION,
    MANIFEST,
    WEIGHTS,
    check_bundle,
)
from lbsf_core.model.lbsf import LBSF
from lbsf_core.payments.schema import Field

#: What reading a manifest or weights that do not fit together may raise.
_BROKEN = (
    AttributeError,
    KeyError,
    LbsfError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class Bundle:
    """A model and everything that is needed to use it and to know where it came from.

    Attributes:
        model: in evaluation mode.
        calibration: slope and intercept, logit -> PD.
        training: settings, split, seed, data and code hashes, versions.
        metrics: name -> {"value", "lo", "hi"} on the test part.
        card: heading -> sentences.
        faithfulness: how true its explanations were found to be (`lbsf faithfulness --keep`), with
            the store that says so; {} = not measured.
    """

    model: LBSF
    calibration: Mapping[str, float]
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, list[str]] = field(default_factory=dict)
    faithfulness: Mapping[str, Any] = field(default_factory=dict)

    def manifest(self) -> dict[str, Any]:
        """The manifest as plain JSON values, without file hashes."""
        measured = {"faithfulness": dict(self.faithfulness)} if self.faithfulness else {}
        return measured | {
            "bundle_version": BUNDLE_VERSION,
            "config": self.model.config.to_dict(),
            "fields": [asdict(f) for f in self.model.fields],
            "fitted": self.model.fitted,
            "calibration": dict(self.calibration),
            "training": dict(self.training),
            "metrics": dict(self.metrics),
            "card": {heading: list(lines) for heading, lines in self.card.items()},
        }

    def weights_digest(self) -> str:
        """SHA-256 of the weights: names the model itself, whatever is written about it."""
        state = {name: t.contiguous().cpu() for name, t in self.model.state_dict().items()}
        return hashlib.sha256(safetensors.torch.save(state)).hexdigest()

    def save(self, path: str | Path) -> Path:
        """Write the bundle (atomically; an existing one is replaced)."""
        path = Path(path)
        with atomic_write(path) as folder:
            folder.mkdir()
            state = {name: t.contiguous() for name, t in self.model.state_dict().items()}
            (folder / WEIGHTS).write_bytes(safetensors.torch.save(state))
            manifest = self.manifest() | {"files": {WEIGHTS: sha256(folder / WEIGHTS)}}
            (folder / MANIFEST).write_text(dump_json(manifest), encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: str | Path, *, pretrained: bool = False) -> Bundle:
        """Read a bundle, refusing whatever is not exactly what was written.

        Args:
            path: its folder.
            pretrained: take one that was only pre-trained as well, whose scores mean nothing yet.

        Raises:
            BundleError: missing, damaged, of another version, or holding anything unsafe (a
                link, a path that leads out of the folder, a pickle or any other unknown file).
        """
        path = Path(path)
        data = check_bundle(path)
        try:
            fields = [Field(**entry) for entry in data["fields"]]
            model = LBSF(ModelConfig.from_dict(data["config"]), fields, data["fitted"])
            model.load_state_dict(safetensors.torch.load_file(path / WEIGHTS))
            slope, intercept = (float(data["calibration"][k]) for k in ("slope", "intercept"))
            training, metrics, card = (dict(data[k]) for k in ("training", "metrics", "card"))
            faithfulness = dict(data.get("faithfulness", {}))
        except _BROKEN as error:
            raise BundleError(f"{path}: does not hold together ({error}). {AGAIN}") from error
        if "pretrain" in training and not pretrained:
            raise BundleError(
                f"{path}: was only pre-trained and can't score yet. "
                f"Run `lbsf train STORE --init {path}`."
            )
        calibration = {"slope": slope, "intercept": intercept}
        return cls(model.eval(), calibration, training, metrics, card, faithfulness)

    def to(self, device: str) -> Bundle:
        """This bundle, its model now on a device of torch's: "cpu" or "cuda".

        Raises:
            LbsfError: torch can't reach a GPU here.
        """
        if device == "cuda" and not torch.cuda.is_available():
            raise LbsfError(
                f"no CUDA device that torch {torch.__version__} can reach here. Leave the device "
                "out to compute on the CPU; for a GPU install a CUDA build of torch and its driver."
            )
        self.model.to(device)
        return self


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    return {
        "lbsf": lbsf_core.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
