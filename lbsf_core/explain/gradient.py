"""Integrated gradients over all field vectors at once, with the fold fixed (Captum).

The path runs from the typical payment (the mean vector of every field over the training part, and
mean segment statistics), or that of a real reference, in every slot to the payments as they are.
Fields are fused by a gated sum, which is linear, so the gradient of a field's vector is its gate
times the gradient of the fused payment: one integral over the (N, D) fused payments gives the exact
integrated gradients of all (N, F, D) field vectors at a fraction of the cost.

Steps lie closer together near the payments as they are: that is where the logit bends, for users
unlike those of training above all (of even steps most needed 32 and often 128; now 12 to 24).

What is counted of a segment is the field "history". Rhythm and levels are sums over payments, and
each payment gets its own share of them; the other statistics (how often, how regular at this
merchant) belong to no single payment and are divided evenly among the merchant's payments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import IntegratedGradients
from captum.attr._utils.approximation_methods import approximation_parameters
from torch import Tensor

from lbsf_core.errors import LbsfError
from lbsf_core.explain.attention import in_use, looked
from lbsf_core.explain.baselines import TYPICAL_PAYMENT, Baseline
from lbsf_core.explain.result import TOLERANCE, Explanation, assemble
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.lbsf import LBSF, Attention, Layout
from lbsf_core.score.calibration import Calibration

Floats = npt.NDArray[np.float64]

#: Name of the field that holds a merchant's statistics.
HISTORY = "history"
METHOD = "integrated gradients"
#: Steps of the Gauss-Legendre rule: the first try, and the most that are spent on a sample. Of 200
#: samples each, 12 left 8 % of Berka's, 10 % of Birmingham's and 31 % of simulated ones to try
#: again; 8 left 45, 32 and 87 %.
FIRST_STEPS, MAX_STEPS = 12, 512
#: Of short histories a second try costs more than the steps that make it rare: of 200 samples each,
#: 18 steps left 4 %, 2 % and none.
FEW_PAYMENTS, FEW_STEPS = 512, 18
#: Payments times steps in one forward pass: bounds memory and stays near the cache.
PASS_PAYMENTS = 32_768
#: Completeness error of values that are only compared with others: which merchants come first.
CHECK_TOLERANCE = 0.01
#: First steps that are tried for that, the share of samples that they may leave to try again, and
#: payments of the samples that say so. It hangs on model and reference: of 200 samples each, 8
#: steps left no simulated one, 6 % of Birmingham's and 86 % of Berka's.
CHECK_STEPS, LEFT, MEASURED_PAYMENTS = (8, 12, 18, 24, 36), 0.05, 5_000


@dataclass(frozen=True)
class Attributions:
    """Integrated gradients of a batch of B samples with N payments.

    Attributes:
        fields: (N, F + 1) logit units; the last column is "history".
        logits: (B,).
        baseline_logits: (B,).
        delta: (B,) sum of a sample's values - (logit - baseline logit).
        steps: (B,) steps that were needed.
        attention: where the model looked, at the payments as they are.
    """

    fields: Floats
    logits: Floats
    baseline_logits: Floats
    delta: Floats
    steps: npt.NDArray[np.int64]
    attention: Attention


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
    return along_paths(model, batch, [Start(reference, tolerance)])[0]


class Start(NamedTuple):
    """Where a path begins, and how well its values have to add up.

    Attributes:
        reference: whose mean payment and segment; those of the training part where None.
        tolerance: completeness error.
        steps: that are tried first; by default by how long the longest history is, so that whoever
            is explained with others of its kind gets the same values as alone.
    """

    reference: FoldedBatch | None
    tolerance: float
    steps: int | None = None


def along_paths(model: LBSF, batch: FoldedBatch, starts: Sequence[Start]) -> list[Attributions]:
    """Integrated gradients from several starts, the first steps of all of them in one pass.

    Args:
        model: scores.
        batch: the samples.
        starts: of the paths.

    Returns:
        One of each path.
    """
    longest = int(batch.payment_counts.max(initial=0))
    first = FEW_STEPS if longest <= FEW_PAYMENTS else FIRST_STEPS
    steps = [start.steps or first for start in starts]
    results = _integrate(model, batch, steps, [start.reference for start in starts])
    for result, start in zip(results, starts, strict=True):
        _refine(model, batch, result, start.reference, start.tolerance)
    return results


def steps_to_check(
    store: FoldedStore, model: LBSF, reference: FoldedBatch | None, seed: int = 0
) -> int:
    """Steps that a check against a reference should begin with: one of `CHECK_STEPS`.

    Too few, and most samples are tried again with twice as many; too many, and everybody pays. So
    they are measured for the model, on samples of the store with `MEASURED_PAYMENTS` payments in
    all; where each has more, they are the first steps of long histories.

    Args:
        store: samples.
        model: scores.
        reference: see `Start`.
        seed: of the samples that are drawn.
    """
    counts = store.samples["payments"].to_numpy()
    short = np.flatnonzero((counts > 0) & (counts <= MEASURED_PAYMENTS))
    if not len(short):
        return FIRST_STEPS
    drawn = np.random.default_rng(seed).permutation(short)
    within = np.searchsorted(counts[drawn].cumsum(), MEASURED_PAYMENTS, side="right")
    batch = store.read(np.sort(drawn[:within]))
    for steps in CHECK_STEPS:
        (found,) = _integrate(model, batch, [steps], [reference])
        if np.mean(np.abs(found.delta) > CHECK_TOLERANCE / 2) <= LEFT:
            break
    return steps


def _refine(
    model: LBSF,
    batch: FoldedBatch,
    result: Attributions,
    reference: FoldedBatch | None,
    tolerance: float,
) -> None:
    """Double the steps of the samples whose values do not add up well enough yet, in place."""
    while True:
        open_rows = np.flatnonzero(
            (np.abs(result.delta) > tolerance / 2) & (result.steps < MAX_STEPS)
        )
        if not len(open_rows):
            return
        steps = min(int(result.steps[open_rows].min()) * 2, MAX_STEPS)
        (again,) = _integrate(model, batch.select(open_rows), [steps], [reference])
        payments = np.isin(batch.sample_of_payment, open_rows)
        # `select` keeps the order of samples and of payments, so rows match one to one.
        result.fields[payments] = again.fields
        for name in ("logits", "baseline_logits", "delta", "steps"):
            getattr(result, name)[open_rows] = getattr(again, name)


def _integrate(
    model: LBSF,
    batch: FoldedBatch,
    steps: Sequence[int],
    references: Sequence[FoldedBatch | None],
) -> list[Attributions]:
    """The integral along R straight paths to the payments as they are, one from each reference.

    Args:
        model: scores.
        batch: the samples.
        steps: (R,) of each path.
        references: (R,) see `integrated_gradients`.
    """
    in_use(model)
    layout = model.layout(batch)
    gates = model.field_weights().detach()
    with torch.no_grad():
        vectors = model.field_vectors(batch)  # (N, F, D)
        fused, statistics = model.fuse(vectors), model.statistics(batch)
        starts = [_start(model, reference, statistics) for reference in references]
        typical = torch.stack([one for one, _ in starts])  # (R, F, D)
        count = len(references)
        start = model.fuse(typical)[:, None].expand(count, *fused.shape)  # (R, N, D)
        counted = torch.stack([mean for _, mean in starts]).expand(count, *statistics.shape)
        ends = torch.cat([start, fused[None]]), torch.cat([counted, statistics[None]])
        flat = model.forward_from(
            ends[0].flatten(0, 1), ends[1].flatten(0, 1), layout.repeat(count + 1)
        )
        logits = flat.view(count + 1, -1).cpu().double().numpy()
        attention = looked(model, fused, statistics, layout)
        # Where there is nothing to move, both ends are the same to the last bit.
        logits[:-1] = np.where(batch.payment_counts > 0, logits[:-1], logits[-1])
    n, f = len(batch.amounts), len(model.fields)
    values = np.zeros((count, n, f + 1))
    if n:
        layouts: dict[int, Layout] = {}

        def total_logit(payments: Tensor, stats: Tensor) -> Tensor:
            """(1,) sum of the batch's logits at n points of the paths; they do not mix."""
            points = len(payments)
            if points not in layouts:
                layouts[points] = layout.repeat(points)
            flat = model.forward_from(payments.flatten(0, 1), stats.flatten(0, 1), layouts[points])
            return flat.sum()[None]

        for paths, each in _passes(steps, PASS_PAYMENTS // n):
            size = len(paths)
            # Averaged gradients (multiply_by_inputs=False), so that they can be split by field.
            engine = _NearTheInput(total_logit, multiply_by_inputs=False, **each)
            slopes, stats_slopes = engine.attribute(
                (fused.expand(size, *fused.shape), statistics.expand(size, *statistics.shape)),
                baselines=(start[paths], counted[paths]),
                n_steps=steps[paths[0]],
                method="gausslegendre",
                internal_batch_size=None if each else max(size, PASS_PAYMENTS // n),
            )
            for path, slope, stats_slope in zip(paths, slopes, stats_slopes, strict=True):
                values[path] = _by_field(
                    model,
                    batch,
                    (vectors - typical[path]) * gates[:, None],
                    counted[path],
                    slope,
                    stats_slope,
                )
    return [
        Attributions(
            fields,
            logits[-1].copy(),
            baseline,
            np.bincount(batch.sample_of_payment, fields.sum(axis=1), minlength=len(batch))
            - (logits[-1] - baseline),
            np.full(len(batch), number, dtype=np.int64),
            attention,
        )
        for fields, baseline, number in zip(values, logits[:-1], steps, strict=True)
    ]


def _passes(steps: Sequence[int], most: int) -> list[tuple[list[int], dict[str, Any]]]:
    """Which paths are asked in one call of the engine, and what it has to know of their steps.

    Captum knows one number of steps a call, and cuts it into passes. Paths with numbers of their
    own go together where one pass holds them: of one user's few hundred payments a pass costs as
    much by itself as eight points.

    Args:
        steps: (R,) of each path.
        most: points in a pass.
    """
    together = list(range(len(steps)))
    if len(set(steps)) == 1:
        return [(together, {})]
    if sum(steps) <= most:
        return [(together, {"steps": steps})]
    numbers = dict.fromkeys(steps)
    return [([path for path in together if steps[path] == number], {}) for number in numbers]


class _NearTheInput(IntegratedGradients):  # type: ignore[misc]
    """Captum's, whose steps lie closer together near the input: at 1 - (1 - u)^2 in place of u.

    What Captum does step by step and then joins is one operation here: all points of a path.
    To the last bit as Captum has them: with a product and a sum that the processor does at once
    (`torch.lerp`), a sample's points would hang on which others it is explained with.

    Args:
        forward: of all points at once, those of the first path first.
        multiply_by_inputs: see Captum.
        steps: of each path, where they differ.
    """

    def __init__(
        self,
        forward: Callable[..., Tensor],
        multiply_by_inputs: bool,
        steps: Sequence[int] = (),
    ) -> None:
        super().__init__(forward, multiply_by_inputs=multiply_by_inputs)
        self._steps = steps

    def _attribute(
        self,
        *,
        inputs: tuple[Tensor, ...],
        baselines: tuple[Tensor, ...],
        method: str = "gausslegendre",
        step_sizes_and_alphas: tuple[list[float], list[float]] | None = None,
        **_: Any,  # noqa: ANN401 - what else Captum has
    ) -> tuple[Tensor, ...]:
        if step_sizes_and_alphas is None:
            sizes_of, alphas_of = approximation_parameters(method)
            rules = [(sizes_of(number), alphas_of(number)) for number in self._steps]
        else:
            rules = [step_sizes_and_alphas] * len(inputs[0])
        from_input = [1 - torch.tensor(alphas, dtype=torch.float64) for _, alphas in rules]
        sizes = [
            2 * away * torch.tensor(each, dtype=torch.float64)
            for away, (each, _) in zip(from_input, rules, strict=True)
        ]
        counts = [len(each) for each in sizes]
        points = []
        for end, start in zip(inputs, baselines, strict=True):
            place = end.new_empty(sum(counts), *end.shape[1:])
            for path, part in enumerate(torch.split(place, counts)):
                moved = _column(1 - from_input[path] ** 2, start[path])
                torch.mul(moved, end[path] - start[path], out=part).add_(start[path])
            points.append(place.requires_grad_())
        slopes = self.gradient_func(forward_fn=self.forward_func, inputs=tuple(points))
        return tuple(
            torch.stack(
                [
                    (part * _column(each, part[0])).sum(dim=0)
                    for part, each in zip(slope.split(counts), sizes, strict=True)
                ]
            )
            for slope in slopes
        )


def _column(values: Tensor, like: Tensor) -> Tensor:
    """(K,) values as (K, 1, ...): one for each of K copies of a tensor."""
    return values.to(like).view(-1, *(1 for _ in like.shape))


def _start(model: LBSF, reference: FoldedBatch | None, statistics: Tensor) -> tuple[Tensor, Tensor]:
    """(F, D) and (1, K): the payment and the segment that stand in every slot at the start."""
    if reference is None:
        return model.typical, torch.zeros_like(statistics[:1])
    return (
        model.field_vectors(reference).mean(dim=0),
        model.statistics(reference).mean(dim=0, keepdim=True),
    )


@torch.no_grad()
def _by_field(
    model: LBSF,
    batch: FoldedBatch,
    moved: Tensor,
    counted: Tensor,
    slope: Tensor,
    stats_slope: Tensor,
) -> Floats:
    """(N, F + 1) what each field of each payment, and its share of "history", moved the logit by.

    Args:
        model, batch: what is explained.
        moved: (N, F, D) what the path moves each field's part of a payment by.
        counted: (S, K) the statistics that it starts from.
        slope: (N, D) mean gradient of the fused payments.
        stats_slope: (S, K) mean gradient of the statistics.
    """
    fields = torch.einsum("nfd,nd->nf", moved, slope).cpu().double().numpy()
    behind = (counted * stats_slope).sum(dim=1).double().cpu().numpy()  # (S,)
    history = model.history_parts(batch, stats_slope)
    history -= (behind / np.diff(batch.offsets))[batch.segment_of_payment]
    found: Floats = np.column_stack([fields, history])
    return found


def explain(
    bundle: Bundle, batch: FoldedBatch, baseline: Baseline = TYPICAL_PAYMENT
) -> list[Explanation]:
    """Explain every sample of a batch: the additive tree and where the model looked.

    Raises:
        LbsfError: the baseline is the empty history, from which no path leads to this one.
    """
    return explain_against(bundle, batch, baseline)[0]


def explain_against(
    bundle: Bundle, batch: FoldedBatch, baseline: Baseline, others: Sequence[Baseline] = ()
) -> tuple[list[Explanation], list[Floats]]:
    """Explain every sample of a batch, and value its merchants against other baselines as well.

    Args:
        bundle: the model and its calibration.
        batch: the samples.
        baseline: what the explanations are held against.
        others: tried beside it, to `CHECK_TOLERANCE`.

    Returns:
        One explanation a sample; (S,) merchant values under each other baseline.

    Raises:
        LbsfError: as `explain`.
    """
    for held in (baseline, *others):
        if held.batch is None and held.name != TYPICAL_PAYMENT.name:
            raise LbsfError(
                f"integrated gradients can't start from the {held.name}: there is no slot to "
                "fill. Choose another baseline, or removal."
            )
    checked = [Start(other.batch, CHECK_TOLERANCE, other.check_steps) for other in others]
    starts = [Start(baseline.batch, TOLERANCE), *checked]
    found, *checks = along_paths(bundle.model, batch, starts)
    values = [by_merchant(batch, each.fields.sum(axis=1)) for each in checks]
    return explanations_of(bundle, batch, found, baseline), values


def explanations_of(
    bundle: Bundle, batch: FoldedBatch, found: Attributions, baseline: Baseline
) -> list[Explanation]:
    """One explanation a sample of what was found of all of them."""
    attention = found.attention
    calibration = Calibration(**bundle.calibration)
    payment_values = found.fields.sum(axis=1)
    merchant_values = by_merchant(batch, payment_values)
    out = []
    for b in range(len(batch)):
        one = batch if len(batch) == 1 else batch.select([b])
        s = slice(int(batch.user_offsets[b]), int(batch.user_offsets[b + 1]))
        n = slice(int(batch.offsets[s.start]), int(batch.offsets[s.stop]))
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
                fields=field_names(bundle.model),
                field_attributions=found.fields[n],
                payment_attributions=payment_values[n],
                merchant_attributions=merchant_values[s],
                merchant_weights=attention.merchants[s].cpu().double().numpy(),
                payment_weights=attention.payments[n].cpu().double().numpy(),
                relation_weights=attention.relations[b].cpu().double().numpy(),
            )
        )
    return out


def by_merchant(batch: FoldedBatch, of_payments: Floats) -> Floats:
    """(S,) sums over the payments of each segment."""
    sums = np.bincount(batch.segment_of_payment, of_payments, minlength=len(batch.merchants))
    return sums.astype(np.float64)
