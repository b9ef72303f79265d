"""Train a bundle from a folded store: split, fit, calibrate, measure on the test part, save."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from lbsf_core.config import ModelConfig, TrainConfig
from lbsf_core.errors import LbsfError, MetricError
from lbsf_core.evaluate.metrics import evaluate
from lbsf_core.files import code_hash, dump_json
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.fold.store import SAMPLES, FoldedStore
from lbsf_core.model.bundle import Bundle, versions
from lbsf_core.model.lbsf import LBSF
from lbsf_core.payments.schema import CORE_FIELDS
from lbsf_core.score.calibration import fit_calibration
from lbsf_core.score.scorer import batch_logits, passes
from lbsf_core.train import parallel, stored
from lbsf_core.train.loop import Fitted, Progress, fit
from lbsf_core.train.pretrain import fit_head
from lbsf_core.train.split import PARTS, make_rule, parts

#: Payments of labelled samples that are held in memory: with what is learned from them, some 3 GB.
IN_MEMORY = 2_000_000


@dataclass(frozen=True)
class Trained:
    """A saved bundle and how its training went."""

    bundle: Bundle
    fitted: Fitted
    sizes: dict[str, int]


def train(
    store: FoldedStore,
    out: str | Path,
    model_config: ModelConfig | None = None,
    config: TrainConfig | None = None,
    *,
    init: Bundle | None = None,
    in_memory: int = IN_MEMORY,
    progress: Progress | None = None,
) -> Trained:
    """Train on a store and write the bundle; goes on after a kill when called again the same way.

    Under torchrun all processes train together and the first writes (see `parallel.py`).

    Args:
        store: with labels; unlabelled samples are left out.
        out: folder of the new bundle. While training, `OUT.training` beside it holds the state.
        model_config: sizes.
        config: how to train.
        init: a bundle made by `lbsf pretrain`: only its head is fitted, on what it forecasts, with
            all payments in memory.
        in_memory: where the labelled samples have more payments than this, they stay on the disk,
            and every step reads its own (see `stored.py`).
        progress: called after every step.

    Raises:
        LbsfError: too few labelled samples, or one class only.
    """
    with parallel.group() as among:
        return _train(
            store, Path(out), model_config or ModelConfig(), config or TrainConfig(), init,
            in_memory, progress, among,
        )  # fmt: skip


def _train(
    store: FoldedStore,
    out: Path,
    model_config: ModelConfig,
    config: TrainConfig,
    init: Bundle | None,
    in_memory: int,
    progress: Progress | None,
    among: parallel.Group | None,
) -> Trained:
    """`train`, one of the processes that train together."""
    size, payments = _labelled(store)
    if size < 20:
        raise LbsfError(
            f"{store.path}: {size} labelled samples; training needs at least 20. "
            "Ingest labels with outcomes and fold again."
        )
    settings = {
        "store": store.digest,
        "code": code_hash(),
        "model": model_config.to_dict(),
        "train": config.to_dict(),
    }
    name = hashlib.sha256(dump_json(settings).encode()).hexdigest()[:16]
    work = out.with_name(f"{out.name}.training")
    if init is not None or payments <= in_memory:
        labels = store.samples["label"].to_numpy(dtype=np.float64)
        batch = store.read(np.flatnonzero(np.isfinite(labels)))
    else:
        # One process of a machine writes the file, the others find it.
        with parallel.first(among):
            batch = stored.as_folded(stored.StoredBatch.of(store, work / f"{name}.arrow"))
    rule = make_rule(batch.user_ids, batch.cutoffs, batch.labels, config)
    part = parts(batch.user_ids, batch.cutoffs, batch.labels, rule)
    rows = [np.flatnonzero(part == p) for p in range(3)]
    if init is not None:
        fitted = _fit_head(init, batch, rows, store)
        settings["model"] = init.model.config.to_dict()
        settings["pretraining"] = dict(init.training)
    else:
        extra = store.manifest.extra_fields
        build = stored.builder(model_config, extra, config.seed)
        fitted = fit(
            batch,
            extra,
            rows[0],
            rows[1],
            model_config,
            config,
            build=parallel.builder(build, among) if among else build,
            progress=progress,
            checkpoint=parallel.own_checkpoint(work / name, among) if among else work / name,
            device=among.device if among else None,
        )
        parallel.alone(fitted.model)
    assert isinstance(fitted.model, LBSF)  # noqa: S101 - what `fit` builds by itself
    calibration = fit_calibration(fitted.validation_logits, batch.labels[rows[1]])
    sizes = {p: len(r) for p, r in zip(PARTS, rows, strict=True)}
    metrics: dict[str, Any] = {}
    if len(rows[2]):
        test = batch.select(rows[2])
        several = (stored.read(one) for one in passes(batch, rows[2]))
        pd = calibration.pd(batch_logits(fitted.model, several))
        try:
            found = evaluate(test.labels, pd, tuple(test.user_ids))
            metrics = {name: metric.to_dict() for name, metric in found.items()}
        except MetricError:
            metrics = {}  # one class only in a small test part: no figure beats a wrong one
    training = settings | {
        "split": rule,
        "sizes": sizes,
        "bad": {p: int(batch.labels[r].sum()) for p, r in zip(PARTS, rows, strict=True)},
        "best_epoch": fitted.best_epoch,
        "history": fitted.history,
        "versions": versions(),
        "sources": store.manifest.sources,
        "fold": store.manifest.fold,
        "simulated": store.manifest.simulated,
        "label": store.manifest.label,
        "proxy": store.manifest.proxy,
    }
    bundle = Bundle(
        fitted.model, calibration.to_dict(), training, metrics, card(store, training, metrics)
    )
    if parallel.rank() == 0:
        bundle.save(out)
        shutil.rmtree(work, ignore_errors=True)
    return Trained(bundle, fitted, sizes)


def _labelled(store: FoldedStore) -> tuple[int, int]:
    """Labelled samples of a store, and their payments."""
    table = pq.read_table(store.path / SAMPLES, columns=["label", "payments"])
    labelled = np.isfinite(table["label"].cast(pa.float64()).to_numpy())
    return int(labelled.sum()), int(table["payments"].to_numpy()[labelled].sum())


def _fit_head(
    init: Bundle, batch: FoldedBatch, rows: list[npt.NDArray[np.int64]], store: FoldedStore
) -> Fitted:
    """A pre-trained model with a head fitted on the training part."""
    if not init.model.config.forecasts:
        raise LbsfError("--init names a bundle that was not made by `lbsf pretrain`.")
    names = tuple(f.name for f in store.manifest.extra_fields)
    known = tuple(f.name for f in init.model.fields[len(CORE_FIELDS) :])
    if names != known:
        raise LbsfError(
            f"{store.path}: has the extra fields {list(names)}, the pre-trained bundle knows "
            f"{list(known)}. Pre-train on payments ingested with the same mapping."
        )
    for part in rows[:2]:
        if not 0 < batch.labels[part].sum() < len(part):
            raise LbsfError(
                f"{store.path}: the training or validation part has one class only. Give more "
                "labels, or choose another seed or split."
            )
    fit_head(init.model, batch.select(rows[0]))
    return Fitted(init.model, [], 0, batch_logits(init.model, [batch.select(rows[1])]))


def card(
    store: FoldedStore, training: dict[str, Any], metrics: dict[str, Any]
) -> dict[str, list[str]]:
    """The bundle's card: heading -> sentences that a validator can check."""
    about, sizes, bad = store.manifest, training["sizes"], training["bad"]
    window = about.fold["window_days"]
    performance = [
        f"{name} {m['value']:.3f} (95% interval {m['lo']:.3f} to {m['hi']:.3f}) on the test part."
        for name, m in metrics.items()
    ]
    limits = [
        "A score describes payments in the observation window; it knows no income statement, "
        "no other bank and no reason behind a payment.",
        "Attention says where the model looked, not why the score is high; use attributions.",
        "Not examined for fairness between groups of people; do so before any use on people.",
    ]
    if about.simulated:
        limits.insert(0, "Trained on simulated payments: never evidence of predictive power.")
    if about.proxy:
        limits.insert(0, "The label is a proxy of risk, not a default.")
    return {
        "What it predicts": [about.label or "The label of the store; its meaning was not stated."],
        "What it sees": [
            f"Payments in the {window} days before the cutoff."
            if window
            else "All payments before the cutoff.",
            "Fields: " + ", ".join(field["name"] for field in _fields(store)) + ".",
        ],
        "What it was trained on": [
            f"{sizes['train']:,} samples ({bad['train']:,} bad), {sizes['validation']:,} "
            f"({bad['validation']:,} bad) for early stopping and calibration, {sizes['test']:,} "
            f"({bad['test']:,} bad) kept for testing; split by {training['split']['by']}.",
        ],
        "How good it is": performance or ["No test part with both classes: not measured."],
        "Limits": limits,
    }


def _fields(store: FoldedStore) -> list[dict[str, str]]:
    core = [{"name": n} for n in ("merchant", "description", "timestamp", "amount")]
    return core + [{"name": field.name} for field in store.manifest.extra_fields]
