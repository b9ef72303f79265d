"""How far two methods tell different stories of one score, for every sample of a store.

Integrated gradients ask what each payment adds on a path from the typical payment; removal asks
what the score would be without a merchant, everything else folded again. Where the model is close
to additive both name the same merchants. Where they don't, an explanation deserves a second look
before it is told to a customer: the queue can be sorted by that.

For all samples, a merchant's removal is the plain one (all others stay), not its Shapley value,
which would cost hundreds of coalitions a sample.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from lbsf_core.explain.removal import PASS_SEGMENTS
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.model.lbsf import LBSF

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Merchants of a sample that are taken out: those of the largest attributions.
MOST = 16


def removed(model: LBSF, batch: FoldedBatch, attributions: Floats, most: int = MOST) -> Floats:
    """(S,) logits that a sample's score falls by when one merchant is taken out of its history.

    Args:
        model: scores.
        batch: B samples with S segments.
        attributions: (S,) of the segments, in logits.
        most: merchants of a sample that are taken out, largest attributions first.

    Returns:
        NaN for merchants that were not taken out, and everywhere for a model that can't do without
        one (`ModelConfig.user_gap`).
    """
    found = np.full(len(attributions), np.nan)
    if model.config.user_gap or not len(found):
        return found
    counts, starts = batch.segment_counts, batch.user_offsets
    with torch.inference_mode():
        states = model.eval().segment_states(batch)
        sample = torch.from_numpy(batch.sample_of_segment).to(states.sums.device)
        totals = states.sums.new_zeros(len(batch), states.sums.shape[1])
        totals.index_add_(0, sample, states.sums)
        gone = _strongest(attributions, batch.sample_of_segment, most)
        # One history a merchant that is taken out, and each sample's own before them: S' histories.
        owner = np.concatenate([np.arange(len(batch)), batch.sample_of_segment[gone]])
        out = np.concatenate([np.full(len(batch), -1), gone])
        order = np.argsort(counts[owner], kind="stable")  # like sizes share a pass
        logits = np.empty(len(owner))
        runs = np.cumsum(counts[owner[order]]) // PASS_SEGMENTS
        for part in np.split(order, np.flatnonzero(np.diff(runs)) + 1):
            sizes, first = counts[owner[part]], starts[:-1][owner[part]]
            begins = np.concatenate([[0], np.cumsum(sizes)])
            rows = np.arange(begins[-1]) + np.repeat(first - begins[:-1], sizes)
            stays = rows != np.repeat(out[part], sizes)
            offsets = np.concatenate([[0], np.cumsum(sizes - (out[part] >= 0))]).astype(np.int64)
            device = states.vectors.device
            kept, ends = (torch.from_numpy(each).to(device) for each in (rows[stays], offsets))
            left = totals[torch.from_numpy(owner[part]).to(device)].clone()
            is_out = torch.from_numpy(np.flatnonzero(out[part] >= 0)).to(device)
            left[is_out] -= states.sums[torch.from_numpy(out[part][out[part] >= 0]).to(device)]
            scored = model.logits_of_segments(states.vectors[kept], states.days[kept], ends, left)
            logits[part] = scored.cpu().double().numpy()
    found[gone] = logits[owner[len(batch) :]] - logits[len(batch) :]
    return found


def _strongest(attributions: Floats, sample: Ints, most: int) -> Ints:
    """Segments of the largest attributions of each sample, at most so many, in order."""
    order = np.lexsort((-np.abs(attributions), sample))
    sizes = np.bincount(sample)
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(order[place < most])


def disagreement(attributions: Floats, removal: Floats, sample: Ints, samples: int) -> Floats:
    """(B,) how much of what the two methods say is not said by the other: 0 to 1.

    Each method's values are divided by the sum of their sizes, so that only the story counts and
    not its scale; half the sum of the differences is 0 where both spread the score over the same
    merchants in the same way, and 1 where they have nothing in common.

    Args:
        attributions: (S,) in logits.
        removal: (S,) of `removed`; merchants with NaN are left out of both.
        sample: (S,) whose segment it is.
        samples: B.

    Returns:
        NaN for a sample of which nothing was taken out, or where a method has no value but 0.
    """
    known = np.isfinite(removal)
    one, other = np.where(known, attributions, 0.0), np.where(known, removal, 0.0)
    sizes = [np.bincount(sample, np.abs(each), minlength=samples) for each in (one, other)]
    nothing = np.minimum(*sizes) <= 0
    shares = [
        each / np.where(size > 0, size, 1.0)[sample]
        for each, size in zip((one, other), sizes, strict=True)
    ]
    found = 0.5 * np.bincount(sample, np.abs(shares[0] - shares[1]), minlength=samples)
    return np.where(nothing, np.nan, found)
