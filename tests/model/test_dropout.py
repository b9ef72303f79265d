"""Dropout: how much it zeroes, that the mean stays, and that a seed decides."""

from __future__ import annotations

import pytest
import torch

from lbsf_core.errors import LbsfError
from lbsf_core.model.dropout import Dropout


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 0.999])
def test_the_share_is_zeroed_and_the_mean_stays(share: float) -> None:
    torch.manual_seed(0)
    values = torch.ones(1000, 401)  # no multiple of eight
    found = Dropout(share)(values)
    zeroed = (found == 0).double().mean().item()
    assert zeroed == pytest.approx(min(round(share * 256), 255) / 256, abs=0.004)
    assert found.double().mean().item() == pytest.approx(1.0, abs=0.03)
    assert len(found.unique()) == (1 if share == 0 else 2)


def test_values_are_dropped_one_by_one() -> None:
    """Neighbours, which one draw decides over, are dropped independently."""
    torch.manual_seed(0)
    gone = (Dropout(0.5)(torch.ones(200_000, 8)) == 0).double()
    both = torch.corrcoef(gone.T) - torch.eye(8)
    assert both.abs().max().item() < 0.012


def test_a_seed_decides_and_gradients_go_where_values_went() -> None:
    values, drop = torch.randn(50, 7, requires_grad=True), Dropout(0.4)
    torch.manual_seed(3)
    first = drop(values)
    torch.manual_seed(3)
    assert torch.equal(first, drop(values))
    assert not torch.equal(first, drop(values))
    first.sum().backward()
    assert values.grad is not None
    scale = 256 / (256 - round(0.4 * 256))
    torch.testing.assert_close(values.grad, (first != 0).float() * scale)


def test_nothing_is_dropped_after_training() -> None:
    values = torch.randn(20, 3)
    assert Dropout(0.4).eval()(values) is values


def test_an_empty_tensor_and_a_bad_share() -> None:
    assert Dropout(0.4)(torch.zeros(0, 5)).shape == (0, 5)
    for share in (-0.1, 1.0):
        with pytest.raises(LbsfError, match="below 1"):
            Dropout(share)
