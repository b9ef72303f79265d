"""Weights and rows as matrix products of many rows want them."""

from __future__ import annotations

from torch import Tensor, nn

#: Rows of matrix products come in fours. What is over goes through other instructions, which add up
#: in another order: a score would differ by 1e-6 with who else is in the batch.
FOUR = 4
#: Fewest rows of a product by a layer as torch has it (weights transposed): for 4, 8 and 12 rows
#: MKL adds up in another order on some processors (seen on one with AMX).
FEWEST = 16


def in_fours(rows: int) -> int:
    """So many rows and as many more as make fours."""
    return -(-rows // FOUR) * FOUR


def product(layer: nn.Module, divided: float = 1.0) -> tuple[Tensor, Tensor]:
    """(in, out) weights and (out,) bias, both divided by something."""
    assert isinstance(layer, nn.Linear)  # noqa: S101 - for the type checker
    return layer.weight.T.contiguous() / divided, layer.bias / divided


def after_norm(norm: nn.Module, layer: nn.Module) -> tuple[Tensor, Tensor]:
    """The same of a product after a norm, whose gain and bias go into it."""
    assert isinstance(norm, nn.LayerNorm)  # noqa: S101 - for the type checker
    assert isinstance(layer, nn.Linear)  # noqa: S101 - for the type checker
    weight, bias = layer.weight, layer.bias
    return (weight * norm.weight).T.contiguous(), bias + weight @ norm.bias
