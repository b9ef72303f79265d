"""The only training loop: AdamW, warm-up and cosine decay, early stopping, resumable."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
import torch.nn.functional as F
from sklearn.metrics import log_loss, roc_auc_score
from torch import Tensor, nn

from lbsf_core.config import ModelConfig, TrainConfig
from lbsf_core.errors import LbsfError
from lbsf_core.files import atomic_write, dump_json, read_json, recover
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.model.lbsf import LBSF
from lbsf_core.payments.schema import Field
from lbsf_core.score.scorer import batch_logits, passes

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Step:
    """What the loop reports after every step.

    Attributes:
        done: steps done, of `total`.
        epoch: epoch running, from 1.
        loss: mean training loss of the epoch so far.
        auc: best validation AUC so far; NaN before the first epoch's end.
    """

    done: int
    total: int
    epoch: int
    loss: float
    auc: float


Progress = Callable[[Step], None]


@dataclass
class Fitted:
    """A trained model with the best validation AUC, and how it came about.

    Attributes:
        model: an LBSF, or what `build` made, in evaluation mode.
        history: one entry an epoch: epoch, loss, validation_auc, validation_loss.
        best_epoch: the epoch whose weights were kept.
        validation_logits: of the validation rows, in their order.
    """

    model: nn.Module
    history: list[dict[str, float]]
    best_epoch: int
    validation_logits: Floats


@dataclass
class _State:
    """Everything that changes while training, as it is written to a checkpoint."""

    epoch: int = 0
    best: float = -math.inf
    best_auc: float = math.nan
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


def best_device() -> torch.device:
    """CUDA when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit(
    batch: FoldedBatch,
    extra: tuple[Field, ...],
    train: Rows,
    validation: Rows,
    model_config: ModelConfig | None = None,
    config: TrainConfig | None = None,
    *,
    build: Callable[[FoldedBatch], nn.Module] | None = None,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    device: torch.device | None = None,
) -> Fitted:
    """Train one model on some samples of a batch and stop early on others.

    Everything learned (vocabularies, knots, scales, the typical payment) comes from `train` only.

    Args:
        batch: all samples, in memory.
        extra: fields beyond the core ones.
        train: rows of the training part.
        validation: rows for early stopping.
        model_config: sizes.
        config: how to train.
        build: the training part -> the model to start from (a pre-trained one, a peer); by
            default a new LBSF.
        progress: called after every step.
        checkpoint: folder where the state is kept after every epoch; a run killed at any point
            and started again with the same data and settings goes on from there and ends with
            the same weights.
        device: CUDA by itself when there is one.

    Raises:
        LbsfError: the training part has one class only, there is nothing to validate on, a label
            is missing, or training diverges.
    """
    config, device = config or TrainConfig(), device or best_device()
    labels = batch.labels
    good, bad = int((labels[train] == 0).sum()), int((labels[train] == 1).sum())
    unlabelled = len(train) - good - bad + int((~np.isin(labels[validation], (0, 1))).sum())
    if not (good and bad and len(validation)) or unlabelled:
        raise LbsfError(
            f"the training part has {good} good and {bad} bad samples, the validation part "
            f"{len(validation)}, and {unlabelled} of both have no label: training needs both "
            "classes, something to validate on, and a label on every sample. Give more labels, or "
            "choose another seed or split."
        )
    torch.manual_seed(config.seed)
    make = build or (lambda part: LBSF.fit(model_config or ModelConfig(), extra, part))
    model = make(batch.select(train)).to(device)
    size = min(config.batch_samples, max(8, math.ceil(len(train) / 8)))
    steps = math.ceil(len(train) / size)
    optimizer = _optimizer(model, config)
    state = _State()
    if checkpoint:
        state = _resume(checkpoint, model, optimizer) or state
    weight = torch.tensor((good / bad) ** config.positive_weight, device=device)
    held_out = passes(batch, validation)

    def loss_of(rows: Rows) -> Tensor:
        part = batch.select(rows)
        target = torch.from_numpy(part.labels).float().to(device)
        return F.binary_cross_entropy_with_logits(model(part), target, pos_weight=weight)

    while state.epoch < config.epochs and state.epoch - state.best_epoch < config.patience:
        # Seeded by epoch, so that a resumed run draws what an unbroken one would have drawn.
        torch.manual_seed(config.seed * 1_000_003 + state.epoch)
        order = np.random.default_rng([config.seed, state.epoch]).permutation(train)
        split = [order[at * size : (at + 1) * size] for at in range(steps)]
        mean = _epoch(
            model, optimizer, split, config, state.epoch, loss_of, progress, state.best_auc
        )
        state.epoch += 1
        _keep_best(
            state, model, batch_logits(model, held_out), labels[validation], mean, config.keep
        )
        if checkpoint:
            _save(checkpoint, model, optimizer, state)

    model.load_state_dict(state.best_weights)
    model.eval()
    if isinstance(model, LBSF):
        model.fit_typical(batch.select(train))
    model = model.cpu()
    return Fitted(model, state.history, state.best_epoch, batch_logits(model, held_out))


def run_epochs(
    model: nn.Module,
    config: TrainConfig,
    draw: Callable[[int], Rows],
    loss_of: Callable[[Rows], Tensor],
    progress: Progress | None = None,
) -> None:
    """Train for all epochs of the settings, whatever the loss.

    Args:
        model: holds every parameter to train.
        config: epochs, samples in a step, rate, decay, clip.
        draw: epoch -> the rows of that epoch, in order.
        loss_of: rows -> their mean loss.
        progress: called after every step.
    """
    optimizer = _optimizer(model, config)
    size = config.batch_samples
    per_epoch = math.ceil(len(draw(0)) / size)
    for epoch in range(config.epochs):
        torch.manual_seed(config.seed * 1_000_003 + epoch)
        order = draw(epoch)
        parts = [order[at * size : (at + 1) * size] for at in range(per_epoch)]
        _epoch(model, optimizer, parts, config, epoch, loss_of, progress, math.nan)


def _epoch(
    model: nn.Module,
    optimizer: torch.optim.AdamW,
    parts: list[Rows],
    config: TrainConfig,
    epoch: int,
    loss_of: Callable[[Rows], Tensor],
    progress: Progress | None,
    best: float,
) -> float:
    """One pass over the parts; gives the mean loss."""
    model.train()
    steps, loss_sum = len(parts), 0.0
    total = steps * config.epochs
    for at, part in enumerate(parts):
        step = epoch * steps + at
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, total, config)
        loss = loss_of(part)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        loss_sum += loss.item()
        if progress:
            progress(Step(step + 1, total, epoch + 1, loss_sum / (at + 1), best))
    return loss_sum / steps


def _optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW; only matrices decay, and tables of rows that are rarely used do not."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        betas=(0.9, 0.98),
    )


def _rate(step: int, total: int, config: TrainConfig) -> float:
    """Linear warm-up, then cosine decay to a twentieth."""
    warm = max(1, round(config.warmup * total))
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    done = (step - warm) / max(1, total - warm)
    return config.learning_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


def _keep_best(
    state: _State, model: nn.Module, logits: Floats, labels: Floats, train_loss: float, keep: str
) -> None:
    if not np.all(np.isfinite(logits)):
        raise LbsfError(
            f"training diverged in epoch {state.epoch}: a score is no number. Choose a smaller "
            "learning rate."
        )
    pd = np.clip(1 / (1 + np.exp(-np.clip(logits, -30, 30))), 1e-6, 1 - 1e-6)
    loss = float(log_loss(labels, pd, labels=[0, 1]))
    both = len(np.unique(labels)) == 2
    auc = float(roc_auc_score(labels, logits)) if both else math.nan
    value = auc if both else -loss
    state.history.append(
        {
            "epoch": state.epoch,
            "loss": train_loss,
            "validation_auc": auc if both else -1.0,
            "validation_loss": loss,
        }
    )
    if value > state.best or keep == "last":
        state.best, state.best_auc, state.best_epoch = value, auc, state.epoch
        state.best_weights = copy.deepcopy(model.state_dict())


def _save(folder: Path, model: nn.Module, optimizer: torch.optim.AdamW, state: _State) -> None:
    tensors: dict[str, Tensor] = {}
    tensors |= {f"model/{k}": v.contiguous() for k, v in model.state_dict().items()}
    tensors |= {f"best/{k}": v.contiguous() for k, v in state.best_weights.items()}
    for number, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{k}": v.contiguous() for k, v in moments.items()}
    facts = {
        "epoch": state.epoch,
        "best": state.best,
        "best_auc": None if math.isnan(state.best_auc) else state.best_auc,
        "best_epoch": state.best_epoch,
        "history": state.history,
    }
    with atomic_write(folder) as path:
        path.mkdir()
        safetensors.torch.save_file(tensors, path / "state.safetensors")
        (path / "state.json").write_text(dump_json(facts), encoding="utf-8")


def _resume(folder: Path, model: nn.Module, optimizer: torch.optim.AdamW) -> _State | None:
    recover(folder)
    if not (folder / "state.json").is_file():
        return None
    facts: dict[str, Any] = read_json(folder / "state.json")
    tensors = safetensors.torch.load_file(folder / "state.safetensors")
    pick = {
        prefix: {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        for prefix in ("model/", "best/", "optimizer/")
    }
    model.load_state_dict(pick["model/"])
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in pick["optimizer/"].items():
        number, key = name.split("/")
        moments.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict(
        {"state": moments, "param_groups": optimizer.state_dict()["param_groups"]}
    )
    auc = facts.pop("best_auc")
    return _State(best_auc=math.nan if auc is None else auc, best_weights=pick["best/"], **facts)
