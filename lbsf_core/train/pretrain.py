"""Self-supervised pre-training: what will this user's payments do next?

No label is needed: at cutoffs all over a user's history the model sees the payments before and is
asked about those after. For the user: whether there are any, how many, how much goes out and comes
in against the time before, and what the extra numbers (a balance) do; for each merchant: whether it
is paid again. The trained weights are where `lbsf train --init` starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from lbsf_core.config import ModelConfig, PretrainConfig, TrainConfig
from lbsf_core.errors import LbsfError
from lbsf_core.files import code_hash, sha256
from lbsf_core.fold.batch import FoldedBatch, Ints
from lbsf_core.model.bundle import Bundle, versions
from lbsf_core.model.lbsf import LBSF
from lbsf_core.score.scorer import passes
from lbsf_core.train.histories import Histories, read_histories
from lbsf_core.train.loop import Progress, best_device, run_epochs

Floats = npt.NDArray[np.float64]

#: Inverse penalty of the logistic head: few labels, forecasts that resemble one another.
HEAD_STRENGTH = 0.03


def _scale(figures: Floats) -> tuple[Floats, Floats]:
    """(R,) mean and deviation of the known figures."""
    known = np.isfinite(figures)
    size = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, figures, 0.0).sum(axis=0) / size
    spread = np.sqrt(np.where(known, (figures - mean) ** 2, 0.0).sum(axis=0) / size)
    return mean, np.maximum(spread, 1e-6)


class _Task(nn.Module):
    """The model with what is asked of each merchant, which is thrown away afterwards."""

    def __init__(self, model: LBSF, flags: int) -> None:
        super().__init__()
        self.model, self.flags = model, flags
        self.merchant = nn.Linear(model.config.width, 1)

    def loss(self, batch: FoldedBatch, again: Tensor, flags: Tensor, figures: Tensor) -> Tensor:
        """Mean over the flags, plus that over the figures, plus half of that over merchants."""
        model = self.model
        layout = model.layout(batch)
        users, merchants = model.represent(model.fused(batch), model.statistics(batch), layout)
        said = model.forecast(users)
        known = torch.isfinite(figures)
        error = F.smooth_l1_loss(said[:, self.flags :][known], figures[known])
        flag = F.binary_cross_entropy_with_logits(said[:, : self.flags], flags)
        paid = F.binary_cross_entropy_with_logits(self.merchant(merchants)[:, 0], again)
        return flag + error + 0.5 * paid


def pretrain(
    histories: Histories,
    rows: Ints,
    model_config: ModelConfig | None = None,
    config: PretrainConfig | None = None,
    *,
    progress: Progress | None = None,
    device: torch.device | None = None,
) -> LBSF:
    """Train a model on what comes next.

    Args:
        histories: from `read_histories`.
        rows: the samples to learn from; leave out users that are to be scored unseen.
        model_config: sizes.
        config: epochs, learning rate, share of the samples in an epoch.
        progress: called after every step.
        device: CUDA by itself when there is one.

    Returns:
        The model with its forecasts; its head for default is new (`fit_head` makes one).
    """
    config, device = config or PretrainConfig(), device or best_device()
    batch = histories.batch
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    asked = histories.flags.shape[1] + histories.figures.shape[1]
    part = batch.select(rng.permutation(rows)[: config.fit_samples])
    model_config = replace(model_config or ModelConfig(), forecasts=asked)
    model = LBSF.fit(model_config, histories.extra, part).to(device)
    task = _Task(model, histories.flags.shape[1]).to(device)
    again_at = batch.user_offsets
    mean, spread = _scale(histories.figures[rows])

    def loss(part: Ints) -> Tensor:
        some = batch.select(part)
        again = np.concatenate([histories.again[again_at[r] : again_at[r + 1]] for r in part])
        values = (again, histories.flags[part], (histories.figures[part] - mean) / spread)
        return task.loss(some, *(torch.from_numpy(v).float().to(device) for v in values))

    settings = TrainConfig(
        epochs=config.epochs,
        batch_samples=config.batch_samples,
        learning_rate=config.learning_rate,
        seed=config.seed,
    )
    size = max(1, round(config.epoch_share * len(rows)))
    run_epochs(task, settings, lambda epoch: _draw(rows, size, config.seed, epoch), loss, progress)
    model = model.cpu().eval()
    model.fit_typical(part)
    return model


def fit_head(model: LBSF, batch: FoldedBatch, strength: float = HEAD_STRENGTH) -> None:
    """Fit the score as a regularised logistic function of the forecasts, the rest as it is.

    Args:
        model: from `pretrain`; its head is replaced.
        batch: labelled samples of the training part.
        strength: inverse of the penalty on the (standardised) forecasts' weights.
    """
    said = forecasts(model, batch)
    mean, spread = said.mean(axis=0), np.maximum(said.std(axis=0), 1e-6)
    fitted = LogisticRegression(C=strength, max_iter=1000).fit((said - mean) / spread, batch.labels)
    weights = fitted.coef_[0] / spread
    head = model.head
    assert isinstance(head, nn.Linear)  # noqa: S101 - so made where there are forecasts
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weights)[None])
        head.bias.fill_(float(fitted.intercept_[0] - weights @ mean))


def forecasts(model: LBSF, batch: FoldedBatch) -> Floats:
    """(B, F) forecasts of a batch of any size."""
    model.eval()
    with torch.inference_mode():
        parts = passes(batch, np.arange(len(batch)))
        return np.concatenate([model.forecasts(part).double().numpy() for part in parts])


def pretrain_bundle(
    payments: Sequence[str | Path],
    out: str | Path,
    window_days: int | None,
    model_config: ModelConfig | None = None,
    config: PretrainConfig | None = None,
    *,
    without: Sequence[str] = (),
    progress: Progress | None = None,
) -> Bundle:
    """Pre-train on payments and write a bundle for `lbsf train --init`.

    Args:
        payments: files made by `lbsf ingest`.
        out: folder of the new bundle.
        window_days: observation window, as the labelled samples are folded.
        model_config: sizes.
        config: cutoffs, horizon, epochs.
        without: users to leave out, e.g. those that will test the model.
        progress: called after every step.
    """
    config = config or PretrainConfig()
    histories = read_histories(payments, window_days, config)
    rows = histories.rows(set(without))
    if not len(rows):
        raise LbsfError("no user is left to pre-train on; leave out fewer.")
    model = pretrain(histories, rows, model_config, config, progress=progress)
    bundle = Bundle(
        model,
        {"slope": 1.0, "intercept": 0.0},
        {
            "pretrain": config.to_dict(),
            "window_days": window_days,
            "samples": len(rows),
            "users": len({histories.batch.user_ids[r] for r in rows}),
            "left_out": len(set(without)),
            "code": code_hash(),
            "versions": versions(),
            "sources": {Path(path).name: sha256(path) for path in payments},
        },
        {},
        {"What it is": ["Pre-trained on what payments do next; it scores nothing until trained."]},
    )
    bundle.save(out)
    return bundle


def _draw(rows: Ints, size: int, seed: int, epoch: int) -> Ints:
    return np.random.default_rng([seed, epoch]).permutation(rows)[:size]
