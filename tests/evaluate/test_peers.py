"""Flat peers: the order of time alone, no sample sees another, and one without payments is none."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from lbsf_core.config import ModelConfig
from lbsf_core.evaluate.peers import FlatPeer, GRUBody, SliceEncoder, TransformerBody, draw_slices
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.model.lbsf import LBSF
from tests.builders import random_samples

CONFIG = ModelConfig(width=16, heads=2)
BODIES = {"transformer": TransformerBody(16, 2, 1), "gru": GRUBody(16, 16)}


@pytest.fixture(params=BODIES)
def body(request: pytest.FixtureRequest) -> nn.Module:
    found: nn.Module = BODIES[request.param]
    return found


@pytest.fixture
def batch() -> FoldedBatch:
    """Users of 1 to 60 payments and one of none, no two payments at one time."""
    rows = random_samples(0, 20, merchants=6, payments=60)
    rows[3] = (*rows[3][:2], [])
    found = FoldedBatch.from_rows(rows)
    return replace(found, timestamps=found.timestamps + np.arange(len(found.timestamps)))


def peer(batch: FoldedBatch, body: nn.Module, newest: int | None = None) -> FlatPeer:
    torch.manual_seed(0)
    return FlatPeer(LBSF.fit(CONFIG, (), batch), body, newest).eval()


def test_folding_order_is_no_order_for_peers(batch: FoldedBatch, body: nn.Module) -> None:
    order = np.concatenate([np.arange(a, b)[::-1] for a, b in pairwise(batch.user_offsets)])
    with torch.no_grad():
        asked = peer(batch, body)
        one, other = asked(batch), asked(batch.permute_segments(order))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_batched_equals_one_by_one(batch: FoldedBatch, body: nn.Module) -> None:
    assert batch.payment_counts.min() == 0 and batch.payment_counts.max() > 40  # several buckets
    with torch.no_grad():
        asked = peer(batch, body)
        together = asked(batch)
        alone = torch.cat([asked(batch.select(np.array([row]))) for row in range(len(batch))])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_a_gru_is_its_last_and_mean_state_by_hand(batch: FoldedBatch) -> None:
    """The state after each payment, one payment at a time, of the user with the most payments."""
    row = int(np.argmax(batch.payment_counts))
    some = batch.select(np.array([row]))
    body = GRUBody(16, 16)
    asked = peer(batch, body)
    with torch.no_grad():
        fused = asked.encoder.fused(some)[torch.from_numpy(np.argsort(some.timestamps))]
        state, states = torch.zeros(1, 1, 16), []
        for payment in fused:
            state = body.gru(payment[None, None], state)[1]
            states.append(state[0, 0])
        pooled = torch.cat([torch.stack(states).mean(dim=0), states[-1]])
        torch.testing.assert_close(asked(some), asked.head(pooled), atol=1e-5, rtol=0)


def test_only_the_newest_payments_are_read(batch: FoldedBatch, body: nn.Module) -> None:
    asked, everything = peer(batch, body, 3), peer(batch, body)
    few = torch.from_numpy(batch.payment_counts <= 3)
    assert few.any() and not few.all()
    with torch.no_grad():
        read, whole = asked(batch), everything(batch)
        torch.testing.assert_close(read[few], whole[few])
        assert not torch.isclose(read[~few], whole[~few]).any()
        # An older payment's amount changes nothing.
        age = batch.cutoffs[batch.sample_of_payment] - batch.timestamps
        first = batch.payment_counts.cumsum() - batch.payment_counts
        place = np.empty(len(age), dtype=np.int64)
        order = np.lexsort((age, batch.sample_of_payment))
        place[order] = np.arange(len(age)) - np.repeat(first, batch.payment_counts)
        dearer = replace(batch, amounts=np.where(place < 3, batch.amounts, -9999.0))
        torch.testing.assert_close(read, asked(dearer))


def test_slices_of_one_user_alone_have_no_other_to_be_far_from(batch: FoldedBatch) -> None:
    """The last step of a pass may hold a single user."""
    torch.manual_seed(0)
    model = SliceEncoder(LBSF.fit(CONFIG, (), batch), 8)
    row = np.array([int(np.argmax(batch.payment_counts))])
    slices = draw_slices(batch, row, 4, np.random.default_rng(0))
    loss = model.loss(slices, torch.zeros(4, dtype=torch.int64))
    loss.backward()
    assert loss.item() >= 0
    lengths = torch.linalg.vector_norm(model(batch), dim=1)
    paid = torch.from_numpy(batch.payment_counts > 0)
    torch.testing.assert_close(lengths, paid.to(lengths))
