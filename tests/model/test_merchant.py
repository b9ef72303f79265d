"""Segment statistics and merchant aggregation, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.model.merchant import STATISTICS, MerchantAggregation, segment_statistics
from lbsf_core.model.ragged import segment_ids
from tests.builders import random_batch


def statistics(*payments: tuple[str, float]) -> dict[str, float]:
    """Statistics of one merchant with these payments, cutoff 2024-07-01."""
    rows = [("m", when, amount, "") for when, amount in payments]
    batch = FoldedBatch.from_rows([("u", "2024-07-01", rows)])
    return dict(zip(STATISTICS, segment_statistics(batch)[0].tolist(), strict=True))


def test_statistics_by_hand() -> None:
    # 10 and 20 days apart; the last one 31 days before the cutoff, the others beyond 60.
    found = statistics(("2024-05-01", -10.0), ("2024-05-11", -30.0), ("2024-05-31", 25.0))
    log = np.log1p
    assert found == pytest.approx(
        {
            "payments": log(3),
            "total": -log(15),
            "mean amount": -log(5),
            "smallest amount": -log(30),
            "largest amount": log(25),
            "share paid out": 2 / 3,
            "tenure": log(30),
            "recency": log(31),
            "mean gap": log(15),
            "irregularity": log(5 / 15),
            "recent share": 2 / 3,
        }
        | {"recent share": 2 / 3}
    )


def test_recent_is_less_than_60_days_before_the_cutoff() -> None:
    found = statistics(("2024-05-02T00:00:00", -1.0), ("2024-05-02T00:00:00.000001", -1.0))
    assert found["recent share"] == 0.5


def test_one_payment_has_no_gap_and_no_tenure() -> None:
    found = statistics(("2024-06-30", -9.0))
    for name in ("tenure", "mean gap", "irregularity"):
        assert found[name] == 0.0
    assert (
        found["mean amount"]
        == found["smallest amount"]
        == found["largest amount"]
        == found["total"]
    )


def test_a_regular_payment_is_regular_and_many_at_one_instant_are_finite() -> None:
    regular = statistics(*((f"2024-06-{1 + 7 * i:02}", -1.0) for i in range(4)))
    assert regular["irregularity"] == pytest.approx(0.0, abs=1e-6)
    at_once = statistics(*[("2024-06-01", -1.0)] * 5)
    assert all(np.isfinite(list(at_once.values())))
    assert at_once["irregularity"] == 0.0


def test_statistics_of_a_segment_do_not_see_the_others() -> None:
    batch = random_batch(0, 4)
    whole = segment_statistics(batch)
    alone = np.concatenate([segment_statistics(batch.select([b])) for b in range(4)])
    np.testing.assert_array_equal(whole, alone)
    assert segment_statistics(batch.select([])).shape == (0, len(STATISTICS))


def test_scaled_statistics_have_mean_0_deviation_1_and_bounds() -> None:
    batch = random_batch(0, 40)
    part = MerchantAggregation(4, 2, 0.0)
    part.fit(segment_statistics(batch))
    scaled = part.scaled(batch)
    torch.testing.assert_close(scaled.mean(0), torch.zeros(11), atol=0.02, rtol=0)
    torch.testing.assert_close(scaled.std(0), torch.ones(11), atol=0.02, rtol=0)
    rich = FoldedBatch.from_rows([("u", "2024-07-01", [("m", "1900-01-01", 1e300, "")])])
    assert part.scaled(rich).abs().max() == 6.0


def test_aggregation_by_hand() -> None:
    """With the weights below, a merchant is its attention-weighted, mean and spread vectors."""
    part = MerchantAggregation(2, 1, 0.0)
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.zero_()
        part.scores.weight.copy_(torch.tensor([[1.0, 0.0]]))
    found: list[torch.Tensor] = []
    part.pooled.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    payments = torch.tensor([[0.0, 1.0], [0.2, 3.0], [5.0, 5.0]])
    offsets = torch.tensor([0, 2, 3])
    _, weights = part(payments, torch.zeros(2, 11), offsets, segment_ids(offsets))
    looked = 1 / (1 + np.exp(-10 * np.tanh(0.02)))
    assert weights[:, 0].tolist() == pytest.approx([1 - looked, looked, 1.0])
    first, second = found[0].tolist()
    assert first == pytest.approx(
        [0.2 * looked, 1 + 2 * looked, 0.1, 2.0, np.sqrt(0.01 + 1e-4), np.sqrt(1 + 1e-4)], abs=1e-5
    )
    assert second == pytest.approx([5, 5, 5, 5, 0.01, 0.01], abs=1e-4)
