"""Self-supervised pre-training: what will this user's payments do next?

No label is needed: at cutoffs all over a user's history the model sees the payments before and is
asked about those after. For the user: whether there are any, how many, how much goes out and comes
in against the time before, and what the extra numbers (a balance) do; for each merchant: whether it
is paid again. The trained weights are where `lbsf train --init` starts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from lbsf_core.config import FoldConfig, ModelConfig, PretrainConfig, TrainConfig
from lbsf_core.errors import LbsfError
from lbsf_core.files import code_hash, sha256
from lbsf_core.fold.batch import DAY, FoldedBatch, Ints
from lbsf_core.fold.fold import fold
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle, versions
from lbsf_core.model.fields import signed_log
from lbsf_core.model.lbsf import LBSF, Layout
from lbsf_core.payments.schema import Field
from lbsf_core.score.scorer import BATCH_PAYMENTS
from lbsf_core.train.loop import Progress, best_device, run_epochs

Floats = npt.NDArray[np.float64]

#: Inverse penalty of the logistic head: few labels, forecasts that resemble one another.
HEAD_STRENGTH = 0.03


@dataclass(frozen=True)
class Histories:
    """Unlabelled samples at many cutoffs, and what came after each.

    Attributes:
        batch: B samples, the payments before each cutoff.
        extra: the extra fields of the payments.
        again: (S,) whether each segment's merchant is paid again within the horizon.
        flags: (B, Y) yes-or-no targets of the user.
        figures: (B, R) targets that are numbers; NaN where there is none.
        horizon_days: how far after the cutoff the targets reach.
    """

    batch: FoldedBatch
    extra: tuple[Field, ...]
    again: Floats
    flags: Floats
    figures: Floats
    horizon_days: int

    def rows(self, without: Collection[str] = (), until: int | None = None) -> Ints:
        """Rows of the samples of other users, whose targets are known by `until`.

        Args:
            without: users to leave out.
            until: microseconds UTC; None = whenever.
        """
        inside = np.array([u not in without for u in self.batch.user_ids], dtype=bool)
        if until is not None:
            inside &= self.batch.cutoffs + self.horizon_days * DAY <= until
        return np.flatnonzero(inside)


def read_histories(
    payments: Sequence[str | Path], window_days: int | None, config: PretrainConfig | None = None
) -> Histories:
    """Cut the histories of payments at many times, and look what came after.

    Args:
        payments: files made by `lbsf ingest`, with the same extra fields.
        window_days: observation window, as the labelled samples are folded.
        config: how cutoffs are laid and how far ahead is looked.

    Raises:
        LbsfError: no user has enough payments.
    """
    config = config or PretrainConfig()
    parts = []
    for path in payments:
        with tempfile.TemporaryDirectory(prefix="lbsf-pretrain-") as name:
            folder = Path(name)
            labels = _grid(Path(path), folder, config)
            fold(path, labels, folder / "before", FoldConfig(window_days=window_days))
            ahead = _shifted(labels, folder / "after.parquet", config.horizon_days)
            fold(path, ahead, folder / "after", FoldConfig(window_days=config.horizon_days))
            before, after = (FoldedStore.open(folder / n) for n in ("before", "after"))
            rows = np.arange(len(before.samples))
            if not len(rows):
                continue
            extra = before.manifest.extra_fields
            parts.append((extra, _targets(before.read(rows), after.read(rows), config)))
    if not parts:
        raise LbsfError(
            f"no user has {config.least_payments} payments and {config.horizon_days} days after "
            "them: nothing to pre-train on. Give longer histories or a shorter --horizon-days."
        )
    if len({extra for extra, _ in parts}) != 1:
        raise LbsfError("the payments have different extra fields; pre-train on like ones.")
    found = [part for _, part in parts]
    batch = FoldedBatch.concat([part[0] for part in found])
    flags, figures = (np.concatenate([part[i] for part in found]) for i in (2, 3))
    again = np.concatenate([part[1] for part in found])
    return Histories(batch, parts[0][0], again, flags, figures, config.horizon_days)


def _grid(payments: Path, folder: Path, config: PretrainConfig) -> Path:
    """Cutoffs of every user, `every_days` apart, each with enough payments before it."""
    end = "max(max(timestamp)) OVER ()" if config.end == "file" else "max(timestamp)"
    out = folder / "labels.parquet"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        table = connection.sql(
            f"""
            WITH users AS (
                SELECT user_id, min(timestamp) AS first, {end} AS last
                FROM read_parquet($payments) GROUP BY user_id
            ), grid AS (
                SELECT user_id, unnest(generate_series(date_trunc('day', first) + to_days(30),
                    last - to_days($horizon), to_days($every))) AS cutoff
                FROM users
            )
            SELECT g.user_id, g.cutoff, NULL::DOUBLE AS label
            FROM grid g JOIN read_parquet($payments) p
              ON p.user_id = g.user_id AND p.timestamp < g.cutoff
            GROUP BY g.user_id, g.cutoff
            HAVING count(*) >= $least AND max(p.timestamp) >= g.cutoff - to_days($active)
            ORDER BY g.user_id, g.cutoff
            """,  # noqa: S608 - one of two texts above
            params={
                "payments": str(payments),
                "horizon": config.horizon_days,
                "every": config.every_days,
                "least": config.least_payments,
                "active": config.active_days,
            },
        ).to_arrow_table()
    pq.write_table(table, out)
    return out


def _shifted(labels: Path, out: Path, days: int) -> Path:
    table = pq.read_table(labels)
    later = pa.array(table["cutoff"].to_pandas() + timedelta(days=days), table["cutoff"].type)
    pq.write_table(table.set_column(1, "cutoff", later), out)
    return out


def _targets(
    before: FoldedBatch, after: FoldedBatch, config: PretrainConfig
) -> tuple[FoldedBatch, Floats, Floats, Floats]:
    """The batch before, (S,) paid again, (B, Y) flags and (B, R) figures."""
    n = len(before)
    names: dict[str, int] = {}
    keys = [
        np.array([names.setdefault(w, len(names)) for w in b.merchants.words], dtype=np.int64)
        for b in (before, after)
    ]
    pairs = [
        b.sample_of_segment * max(len(names), 1) + (k[b.merchants.codes] if len(k) else 0)
        for b, k in zip((before, after), keys, strict=True)
    ]
    again = np.isin(pairs[0], pairs[1]).astype(np.float64)
    ahead = (after.timestamps - before.cutoffs[after.sample_of_payment]) / DAY
    back = (before.cutoffs[before.sample_of_payment] - before.timestamps) / DAY

    def sums(batch: FoldedBatch, distance: Floats, days: float) -> list[Floats]:
        """Payments, money out and in of each sample within so many days of the cutoff."""
        seen = distance <= days
        sample, amount = batch.sample_of_payment[seen], batch.amounts[seen]
        return [
            np.bincount(sample, minlength=n).astype(np.float64),
            np.bincount(sample, np.maximum(-amount, 0), minlength=n).astype(np.float64),
            np.bincount(sample, np.maximum(amount, 0), minlength=n).astype(np.float64),
        ]

    flags, figures = [], []
    for share in (0.25, 0.5, 1.0):
        days = config.horizon_days * share
        later, earlier = sums(after, ahead, days), sums(before, back, days)
        flags.append(later[0] == 0)
        flags.append(later[1] < 0.5 * earlier[1])
        for now, then in zip(later, earlier, strict=True):
            figures += [np.log1p(now), np.log1p(now) - np.log1p(then)]
    for values in after.numbers.values():
        least, mean = np.full(n, np.nan), np.full(n, np.nan)
        order = np.argsort(after.sample_of_payment, kind="stable")
        sample, value = after.sample_of_payment[order], values[order]
        starts = np.flatnonzero(np.append(True, sample[1:] != sample[:-1])[: len(sample)])
        if len(starts):
            of = sample[starts]
            least[of] = signed_log(np.minimum.reduceat(value, starts))
            counts = np.diff(np.append(starts, len(sample)))
            mean[of] = signed_log(np.add.reduceat(value, starts) / counts)
        figures += [least, mean]
    return before, again, np.stack(flags, 1).astype(np.float64), np.stack(figures, 1)


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
        layout = Layout.of(batch, model.device)
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
    runs = np.cumsum(batch.payment_counts) // BATCH_PAYMENTS
    rows = np.split(np.arange(len(batch)), np.flatnonzero(np.diff(runs)) + 1)
    model.eval()
    with torch.inference_mode():
        return np.concatenate([model.forecasts(batch.select(r)).double().numpy() for r in rows])


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


__all__ = [
    "Histories",
    "fit_head",
    "forecasts",
    "pretrain",
    "pretrain_bundle",
    "read_histories",
]
