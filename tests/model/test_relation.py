"""Relations across merchants: a plain reference, and padding that can't matter."""

from __future__ import annotations

import math

import torch

from lbsf_core.model.ragged import segment_ids
from lbsf_core.model.relation import Bucket, RelationLayer, UserPooling

WIDTH, HEADS = 8, 2
OFFSETS = torch.tensor([0, 3, 3, 4, 9])  # 3, 0, 1 and 5 merchants


def buckets(*groups: list[int]) -> list[Bucket]:
    return [Bucket(torch.tensor(group), OFFSETS) for group in groups]


def layer(seed: int = 0) -> RelationLayer:
    torch.manual_seed(seed)
    return RelationLayer(WIDTH, HEADS, 0.0).eval()


def reference(part: RelationLayer, merchants: torch.Tensor) -> torch.Tensor:
    """One sample's merchants through the textbook equations, head by head."""
    q, k, v = part.query_key_value(part.norm(merchants)).chunk(3, dim=1)
    size = WIDTH // HEADS
    heads = []
    for h in range(HEADS):
        at = slice(h * size, (h + 1) * size)
        weights = (q[:, at] @ k[:, at].T / math.sqrt(size)).softmax(dim=1)
        heads.append(weights @ v[:, at])
    hidden = merchants + part.out(torch.cat(heads, dim=1))
    return hidden + part.feed(hidden)


def test_layer_equals_the_textbook_sample_by_sample() -> None:
    part, merchants = layer(), torch.randn(9, WIDTH)
    found = part(merchants, buckets([2], [0], [3]))
    for low, high in ((0, 3), (3, 4), (4, 9)):
        torch.testing.assert_close(found[low:high], reference(part, merchants[low:high]))


def test_padding_cannot_matter() -> None:
    part, merchants = layer(), torch.randn(9, WIDTH)
    apart, together = buckets([2], [0], [3]), buckets([3, 2, 0])
    assert [bucket.full for bucket in apart] == [True] * 3
    assert not together[0].full
    torch.testing.assert_close(part(merchants, together), part(merchants, apart))


def test_weights_are_those_that_were_used_and_change_nothing() -> None:
    part, merchants = layer(), torch.randn(9, WIDTH)
    weights: list[torch.Tensor] = []
    shown = part(merchants, buckets([3, 2, 0]), weights)
    torch.testing.assert_close(shown, part(merchants, buckets([3, 2, 0])))
    (found,) = weights
    assert found.shape == (3, HEADS, 5, 5)
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(3, HEADS, 5))
    assert (found[1, :, :, 1:] == 0).all()  # the sample with one merchant
    assert (found[2, :, :, 3:] == 0).all()
    assert (found[0] > 0).all()


def test_uniform_weights_are_those_of_a_users_own_merchants() -> None:
    part, merchants = layer(), torch.randn(9, WIDTH)
    learned = part(merchants, buckets([3, 2, 0]))
    part.uniform = True
    weights: list[torch.Tensor] = []
    shown = part(merchants, buckets([3, 2, 0]), weights)
    for row, count in enumerate((5, 1, 3)):
        expected = torch.zeros(HEADS, 5, 5)
        expected[:, :, :count] = 1 / count
        torch.testing.assert_close(weights[0][row], expected)
    torch.testing.assert_close(part(merchants, buckets([3, 2, 0])), shown)
    torch.testing.assert_close(part(merchants, buckets([2], [0], [3])), shown)
    assert not torch.allclose(learned[4:], shown[4:])
    torch.testing.assert_close(learned[3], shown[3])  # a single merchant has no choice


def test_a_sample_never_sees_another() -> None:
    part, merchants = layer(), torch.randn(9, WIDTH)
    changed = merchants.clone()
    changed[4:] += 100.0
    before, after = (part(m, buckets([3, 2, 0])) for m in (merchants, changed))
    torch.testing.assert_close(before[:4], after[:4])
    assert not torch.allclose(before[4:], after[4:])


def test_pooling_weights_sum_to_1_and_an_empty_history_has_its_own_vector() -> None:
    torch.manual_seed(0)
    pool = UserPooling(WIDTH)
    with torch.no_grad():
        pool.empty.copy_(torch.arange(len(pool.empty)))
    users, weights = pool(torch.randn(9, WIDTH), OFFSETS, segment_ids(OFFSETS))
    assert users.shape == (4, UserPooling.PARTS * WIDTH)
    assert users[1].tolist() == list(range(UserPooling.PARTS * WIDTH))
    for low, high in ((0, 3), (3, 4), (4, 9)):
        torch.testing.assert_close(weights[low:high].sum(), torch.tensor(1.0))
    assert torch.isfinite(users).all()
