"""Integrated gradients over all field vectors at once, with the fold fixed (Captum).

The path runs from the typical payment (the mean vector of every field over the training part, and
mean segment statistics), or that of a real reference, in every slot to the payments as they are.
Fields are fused by a gated sum, which is linear, so the gradient of a field's vector is its gate
times the gradient of the fused payment: one integral over the (N, D) fused payments gives the exact
integrated gradients of all (N, F, D) field vectors at a fraction of the cost.

Steps lie closer together near the payments as they are: that is where the logit bends, for users
unlike those of training above all (of even steps they needed 8 + 32 and often 128; now 8 + 16).

What is counted of a segment is the field "history". Rhythm and levels are sums over payments, and
each payment gets its own share of them; the other statistics (how often, how regular at this
merchant) belong to no single payment and are divided evenly among the merchant's payments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import IntegratedGradients
from torch import Tensor

from lbsf_core.errors import LbsfError
from lbsf_core.explain.baselines import TYPICAL_PAYMENT, Baseline
from lbsf_core.explain.result import TOLERANCE, Explanation, assemble
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.lbsf import LBSF, Layout
from lbsf_core.score.calibration import Calibration

Floats = npt.NDArray[np.float64]

#: Name of the field that holds a merchant's statistics.
HISTORY = "history"
METHOD = "integrated gradients"
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
    model: LBSF,
    batch: FoldedBatch,
    tolerance: float = TOLERANCE,
    *,
    reference: FoldedBatch | None = None,
) -> Attributions:
    """Attribute the logit of every sample of a batch to its payments and their fields.

    The path starts from the mean payment and the mean segment of `reference`; by default from
    those of the training part.

    Steps are doubled, for the samples that need it only, until the completeness error is within
    the tolerance or `MAX_STEPS` are spent; what is left is reported in `delta`.
    """
    result = _integrate(model, batch, FIRST_STEPS, reference)
    while True:
        open_rows = np.flatnonzero(
            (np.abs(result.delta) > tolerance / 2) & (result.steps < MAX_STEPS)
        )
        if not len(open_rows):
            return result
        steps = int(result.steps[open_rows].min()) * 2
        again = _integrate(model, batch.select(open_rows), steps, reference)
        payments = np.isin(batch.sample_of_payment, open_rows)
        # `select` keeps the order of samples and of payments, so rows match one to one.
        result.fields[payments] = again.fields
        for name in ("logits", "baseline_logits", "delta", "steps"):
            getattr(result, name)[open_rows] = getattr(again, name)


def _integrate(
    model: LBSF, batch: FoldedBatch, steps: int, reference: FoldedBatch | None = None
) -> Attributions:
    model.eval()
    layout = model.layout(batch)
    gates = model.field_weights().detach()
    with torch.no_grad():
        vectors = model.field_vectors(batch)  # (N, F, D)
        fused, statistics = model.fuse(vectors), model.statistics(batch)
        typical, mean = model.typical, torch.zeros_like(statistics[:1])  # (F, D), (1, K)
        if reference is not None:
            typical = model.field_vectors(reference).mean(dim=0)
            mean = model.statistics(reference).mean(dim=0, keepdim=True)
        start, counted = model.fuse(typical).expand_as(fused), mean.expand_as(statistics)
        logits = model.forward_from(fused, statistics, layout).cpu().double().numpy()
        baseline = model.forward_from(start, counted, layout).cpu().double().numpy()
    n, f = len(batch.amounts), len(model.fields)
    values = np.zeros((n, f + 1))
    if n:
        layouts: dict[int, Layout] = {}

        def total_logit(payments: Tensor, stats: Tensor, u: Tensor) -> Tensor:
            """(n,) sum of the batch's logits at n points of the path; samples do not mix.

            Of a straight path the point at u is taken as the one at 1 - (1 - u)^2. The derivative
            by the point itself has a factor 1 - u, half of what substitution asks for.
            """
            points = len(payments)
            if points not in layouts:
                layouts[points] = layout.repeat(points)
            payments = fused - (1 - u) * (fused - payments)
            stats = statistics - (1 - u) * (statistics - stats)
            flat = model.forward_from(payments.flatten(0, 1), stats.flatten(0, 1), layouts[points])
            return flat.view(points, -1).sum(dim=1)

        # Averaged gradients (multiply_by_inputs=False), so that they can be split by field.
        engine = IntegratedGradients(total_logit, multiply_by_inputs=False)
        ends = torch.zeros(2, 1, 1, 1, device=fused.device)
        ends[1] = 1.0
        slope, stats_slope, _ = engine.attribute(
            (fused[None], statistics[None], ends[1]),
            baselines=(start[None], counted[None], ends[0]),
            n_steps=steps,
            method="gausslegendre",
            internal_batch_size=max(1, PASS_PAYMENTS // n),
        )
        with torch.no_grad():
            slope, stats_slope = 2 * slope, 2 * stats_slope
            moved = (vectors - typical) * gates[:, None]  # (N, F, D)
            values[:, :f] = torch.einsum("nfd,nd->nf", moved, slope[0]).cpu().double().numpy()
            values[:, f] = model.history_parts(batch, stats_slope[0])
            behind = (counted * stats_slope[0]).sum(dim=1).double().cpu().numpy()  # (S,)
            segment = batch.segment_of_payment
            values[:, f] -= (behind / np.diff(batch.offsets))[segment]
    sums = np.bincount(batch.sample_of_payment, values.sum(axis=1), minlength=len(batch))
    return Attributions(
        values,
        logits,
        baseline,
        sums - (logits - baseline),
        np.full(len(batch), steps, dtype=np.int64),
    )


def explain(
    bundle: Bundle, batch: FoldedBatch, baseline: Baseline = TYPICAL_PAYMENT
) -> list[Explanation]:
    """Explain every sample of a batch: the additive tree and where the model looked.

    Raises:
        LbsfError: the baseline is the empty history, from which no path leads to this one.
    """
    if baseline.batch is None and baseline.name != TYPICAL_PAYMENT.name:
        raise LbsfError(
            f"integrated gradients can't start from the {baseline.name}: there is no slot to fill. "
            "Choose another baseline, or removal."
        )
    model = bundle.model
    found = integrated_gradients(model, batch, reference=baseline.batch)
    with torch.no_grad():
        _, attention = model.forward_with_attention(batch)
    calibration = Calibration(**bundle.calibration)
    payment_values = found.fields.sum(axis=1)
    out = []
    for b in range(len(batch)):
        one = batch.select([b])
        s = slice(int(batch.user_offsets[b]), int(batch.user_offsets[b + 1]))
        n = slice(int(batch.offsets[s.start]), int(batch.offsets[s.stop]))
        values = payment_values[n]
        by_merchant = np.bincount(one.segment_of_payment, values, minlength=len(one.merchants))
        out.append(
            assemble(
                one,
                logit=float(found.logits[b]),
                baseline_logit=float(found.baseline_logits[b]),
                pd=float(calibration.pd(found.logits[b])),
                delta=float(found.delta[b]),
                method=METHOD,
                baseline=baseline.words,
                steps=int(found.steps[b]),
                fields=field_names(model),
                field_attributions=found.fields[n],
                payment_attributions=values,
                merchant_attributions=by_merchant.astype(np.float64),
                merchant_weights=attention.merchants[s].cpu().double().numpy(),
                payment_weights=attention.payments[n].cpu().double().numpy(),
                relation_weights=attention.relations[b].cpu().double().numpy(),
            )
        )
    return out
