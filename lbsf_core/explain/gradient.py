"""Integrated gradients over all field vectors at once, with the fold fixed (Captum).

The path runs from the typical payment (the mean vector of every field over the training part, and
mean segment statistics) in every slot to the payments as they are. Fields are fused by a gated
sum, which is linear, so the gradient of a field's vector is its gate times the gradient of the
fused payment: one integral over the (N, D) fused payments gives the exact integrated gradients of
all (N, F, D) field vectors at a fraction of the cost.

What is counted of a segment is the field "history". Rhythm and levels are sums over payments, and
each payment gets its own share of them; the other statistics (how often, how regular at this
merchant) belong to no single payment and are divided evenly among the merchant's payments.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import IntegratedGradients
from torch import Tensor

from lbsf_core.explain.result import TOLERANCE, Explanation
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.lbsf import LBSF, Layout
from lbsf_core.score.calibration import Calibration

Floats = npt.NDArray[np.float64]

#: Name of the field that holds a merchant's statistics.
HISTORY = "history"
METHOD = "integrated gradients"
BASELINE = "typical payment in every slot"
#: Steps of the Gauss-Legendre rule: the first try, and the most that are spent on a sample.
FIRST_STEPS, MAX_STEPS = 8, 512
#: Payments times steps in one forward pass: bounds memory and stays near the cache.
PASS_PAYMENTS = 32_768


@dataclass(frozen=True)
class Attributions:
    """Integrated gradients of a batch of B samples with N payments.

    Attributes:
        fields: (N, F + 1) logit units; the last column is "history".
        logits: (B,).
        baseline_logits: (B,).
        delta: (B,) sum of a sample's values - (logit - baseline logit).
        steps: (B,) steps that were needed.
    """

    fields: Floats
    logits: Floats
    baseline_logits: Floats
    delta: Floats
    steps: npt.NDArray[np.int64]


def field_names(model: LBSF) -> tuple[str, ...]:
    """Names of the columns of `Attributions.fields`."""
    return (*model.field_names, HISTORY)


def integrated_gradients(
    model: LBSF, batch: FoldedBatch, tolerance: float = TOLERANCE
) -> Attributions:
    """Attribute the logit of every sample of a batch to its payments and their fields.

    Steps are raised fourfold, for the samples that need it only, until the completeness error is
    within the tolerance or `MAX_STEPS` are spent; what is left is reported in `delta`.
    """
    result = _integrate(model, batch, FIRST_STEPS)
    while True:
        open_rows = np.flatnonzero(
            (np.abs(result.delta) > tolerance / 2) & (result.steps < MAX_STEPS)
        )
        if not len(open_rows):
            return result
        steps = int(result.steps[open_rows].min()) * 4
        again = _integrate(model, batch.select(open_rows), steps)
        payments = np.isin(batch.sample_of_payment, open_rows)
        # `select` keeps the order of samples and of payments, so rows match one to one.
        result.fields[payments] = again.fields
        for name in ("logits", "baseline_logits", "delta", "steps"):
            getattr(result, name)[open_rows] = getattr(again, name)


def _integrate(model: LBSF, batch: FoldedBatch, steps: int) -> Attributions:
    model.eval()
    layout = Layout.of(batch, model.device)
    gates = model.field_weights().detach()
    with torch.no_grad():
        vectors = model.field_vectors(batch)  # (N, F, D)
        fused, statistics = model.fuse(vectors), model.statistics(batch)
        typical = model.fuse(model.typical).expand_as(fused)
        zero = torch.zeros_like(statistics)
        logits = model.forward_from(fused, statistics, layout).cpu().double().numpy()
        baseline = model.forward_from(typical, zero, layout).cpu().double().numpy()
    n, f = len(batch.amounts), len(model.fields)
    values = np.zeros((n, f + 1))
    if n:
        layouts: dict[int, Layout] = {}

        def total_logit(payments: Tensor, stats: Tensor) -> Tensor:
            """(n,) sum of the batch's logits at n points of the path; samples do not mix."""
            points = len(payments)
            if points not in layouts:
                layouts[points] = layout.repeat(points)
            flat = model.forward_from(payments.flatten(0, 1), stats.flatten(0, 1), layouts[points])
            return flat.view(points, -1).sum(dim=1)

        # Averaged gradients (multiply_by_inputs=False), so that they can be split by field.
        engine = IntegratedGradients(total_logit, multiply_by_inputs=False)
        slope, stats_slope = engine.attribute(
            (fused[None], statistics[None]),
            baselines=(typical[None], zero[None]),
            n_steps=steps,
            method="gausslegendre",
            internal_batch_size=max(1, PASS_PAYMENTS // n),
        )
        with torch.no_grad():
            moved = (vectors - model.typical) * gates[:, None]  # (N, F, D)
            values[:, :f] = torch.einsum("nfd,nd->nf", moved, slope[0]).cpu().double().numpy()
            values[:, f] = model.history_parts(batch, stats_slope[0])
    sums = np.bincount(batch.sample_of_payment, values.sum(axis=1), minlength=len(batch))
    return Attributions(
        values,
        logits,
        baseline,
        sums - (logits - baseline),
        np.full(len(batch), steps, dtype=np.int64),
    )


def explain(bundle: Bundle, batch: FoldedBatch) -> list[Explanation]:
    """Explain every sample of a batch: the additive tree and where the model looked."""
    model = bundle.model
    found = integrated_gradients(model, batch)
    with torch.no_grad():
        _, attention = model.forward_with_attention(batch)
    calibration = Calibration(**bundle.calibration)
    payment_values = found.fields.sum(axis=1)
    out = []
    for b in range(len(batch)):
        s = slice(int(batch.user_offsets[b]), int(batch.user_offsets[b + 1]))
        offsets = batch.offsets[s.start : s.stop + 1] - batch.offsets[s.start]
        n = slice(int(batch.offsets[s.start]), int(batch.offsets[s.stop]))
        segment = np.repeat(np.arange(s.stop - s.start), np.diff(offsets))
        extras = {k: v.codes[n] for k, v in batch.texts.items() if k != "description"}
        out.append(
            Explanation(
                user=batch.user_ids[b],
                cutoff=datetime.fromtimestamp(int(batch.cutoffs[b]) / 1e6, tz=UTC),
                logit=float(found.logits[b]),
                baseline_logit=float(found.baseline_logits[b]),
                pd=float(calibration.pd(found.logits[b])),
                delta=float(found.delta[b]),
                method=METHOD,
                baseline=BASELINE,
                steps=int(found.steps[b]),
                fields=field_names(model),
                merchants=tuple(batch.merchants.words[c] for c in batch.merchants.codes[s]),
                offsets=offsets,
                timestamps=batch.timestamps[n].view("datetime64[us]"),
                amounts=batch.amounts[n],
                descriptions=_words(batch, "description", n),
                field_attributions=found.fields[n],
                payment_attributions=payment_values[n],
                merchant_attributions=np.bincount(
                    segment, payment_values[n], minlength=s.stop - s.start
                ).astype(np.float64),
                merchant_weights=attention.merchants[s].cpu().double().numpy(),
                payment_weights=attention.payments[n].cpu().double().numpy(),
                relation_weights=attention.relations[b].cpu().double().numpy(),
                extras={k: np.asarray(_words(batch, k, n), dtype=object) for k in extras}
                | {k: v[n] for k, v in batch.numbers.items()},
            )
        )
    return out


def _words(batch: FoldedBatch, name: str, rows: slice) -> tuple[str, ...]:
    column = batch.texts[name]
    return tuple(column.words[c] for c in column.codes[rows])
