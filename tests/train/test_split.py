"""Which part of training sees a sample: users whole, classes in their share, always the same."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsf_core.config import TrainConfig
from lbsf_core.errors import LbsfError
from lbsf_core.train.split import ever_bad, make_rule, parts, user_hashes

NO_CUTOFFS = np.zeros(0, dtype=np.int64)


def test_user_hashes_are_the_same_on_every_machine() -> None:
    # The first 8 bytes of SHA-256("0:ann") and SHA-256("1:ann") as a share of 2**64.
    assert user_hashes(["ann"], 0)[0] == pytest.approx(HASHES[0], abs=1e-15)
    assert user_hashes(["ann"], 1)[0] == pytest.approx(HASHES[1], abs=1e-15)


HASHES = (0.4601790126691817, 0.9862599816056149)


def split(users, labels, config) -> np.ndarray:
    rule = make_rule(users, NO_CUTOFFS, labels, config)
    rule = json.loads(json.dumps(rule))  # as it travels in a bundle
    return parts(users, NO_CUTOFFS, labels, rule)


samples = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from([0.0, 1.0, np.nan])), min_size=1, max_size=80
)


@settings(max_examples=40, deadline=None)
@given(samples, st.integers(0, 50))
def test_a_user_is_never_in_two_parts(rows, seed: int) -> None:
    users = [f"user {user}" for user, _ in rows]
    labels = np.array([label for _, label in rows])
    part = split(users, labels, TrainConfig(seed=seed))
    assert all(len({p for u, p in zip(users, part, strict=True) if u == v}) == 1 for v in users)
    assert set(part) <= {0, 1, 2}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 50))
def test_every_part_holds_its_share_of_bad_users(seed: int) -> None:
    users = [f"user {i // 2}" for i in range(800)]  # two samples each
    labels = np.array([float(i % 20 == 0) for i in range(800)])  # 40 of 400 users are ever bad
    part = split(users, labels, TrainConfig(seed=seed, validation=0.2, test=0.1))
    bad = ever_bad(users, labels)
    assert bad.sum() == 80
    for group, total in ((bad, 80), (~bad, 720)):
        sizes = np.bincount(part[group], minlength=3)
        assert sizes.tolist() == [total * 7 // 10, total * 2 // 10, total // 10]


def test_the_rule_is_stable() -> None:
    users = [f"user {i}" for i in range(300)]
    labels = np.array([float(i % 5 == 0) for i in range(300)])
    config = TrainConfig(seed=4)
    rule = make_rule(users, NO_CUTOFFS, labels, config)
    whole = parts(users, NO_CUTOFFS, labels, rule)
    order = np.random.default_rng(0).permutation(300)
    # The order of samples never matters, nor who else is there, once the rule stands.
    mixed = [users[i] for i in order]
    assert make_rule(mixed, NO_CUTOFFS, labels[order], config) == rule
    np.testing.assert_array_equal(parts(mixed, NO_CUTOFFS, labels[order], rule), whole[order])
    some = order[:40]
    few = parts([users[i] for i in some], NO_CUTOFFS, labels[some], rule)
    np.testing.assert_array_equal(few, whole[some])
    other = split(users, labels, TrainConfig(seed=5))
    assert (other != whole).mean() > 0.2


def test_unlabelled_samples_do_not_move_the_borders() -> None:
    users = [f"user {i}" for i in range(100)]
    labels = np.array([float(i % 4 == 0) for i in range(100)])
    more = [*users, *[f"unknown {i}" for i in range(50)]]
    with_unknown = np.concatenate([labels, np.full(50, np.nan)])
    config = TrainConfig()
    assert make_rule(more, NO_CUTOFFS, with_unknown, config) == make_rule(
        users, NO_CUTOFFS, labels, config
    )


def test_no_test_part_when_none_is_wanted() -> None:
    users = [f"user {i}" for i in range(100)]
    labels = np.array([float(i % 4 == 0) for i in range(100)])
    part = split(users, labels, TrainConfig(test=0.0, validation=0.2))
    assert np.bincount(part, minlength=3).tolist() == [80, 20, 0]


def test_by_time_early_cutoffs_train_and_late_ones_test() -> None:
    cutoffs = np.array([5, 1, 4, 2, 3, 10, 9, 8, 7, 6], dtype=np.int64) * 10**15
    labels = np.tile([0.0, 1.0], 5)
    users = ["same user"] * 10
    config = TrainConfig(split_by="time", validation=0.2, test=0.2)
    rule = make_rule(users, cutoffs, labels, config)
    part = parts(users, cutoffs, labels, json.loads(json.dumps(rule)))
    by_time = part[np.argsort(cutoffs)].tolist()
    assert by_time == sorted(by_time)
    assert np.bincount(part).tolist() == [6, 2, 2]
    # A later sample, unseen when the rule was made, is test.
    assert parts(["new"], np.array([10**17]), np.array([np.nan]), rule).tolist() == [2]


@pytest.mark.parametrize("count", [3, 4, 5, 12])
@pytest.mark.parametrize("weight", [[1], [1, 9], [9, 1]])
def test_by_time_no_cutoff_is_split_and_no_part_is_empty(count: int, weight: list[int]) -> None:
    cutoffs = np.concatenate([[c] * weight[c % len(weight)] for c in range(count)]).astype(np.int64)
    labels = np.arange(len(cutoffs)) % 2.0
    users = [f"user {i}" for i in range(len(cutoffs))]
    for test, expected in ((0.15, {0, 1, 2}), (0.0, {0, 1})):
        config = TrainConfig(split_by="time", test=test)
        rule = make_rule(users, cutoffs, labels, config)
        part = parts(users, cutoffs, labels, rule)
        assert all(len(set(part[cutoffs == c])) == 1 for c in range(count))
        assert set(part) == expected


def test_by_time_needs_three_cutoffs() -> None:
    cutoffs, labels = np.array([1, 1, 2, 2]), np.array([0.0, 1.0, 0.0, 1.0])
    with pytest.raises(LbsfError, match="at least three cutoffs; use 'user'"):
        make_rule(["u"] * 4, cutoffs, labels, TrainConfig(split_by="time"))
