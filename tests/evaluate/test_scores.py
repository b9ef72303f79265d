"""How outputs become one score: on inner held-out rows only, nothing from the rows scored."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lbsf_core.evaluate.benchmark import _combine
from lbsf_core.evaluate.contestants import BLENDS, Blend, Contestant
from lbsf_core.evaluate.metrics import auc
from lbsf_core.evaluate.scores import _blend

LABELS = np.tile([0.0, 1.0], 50)


def frame(inside: np.ndarray, test: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "row": np.arange(len(inside) + len(test)),
            "test": np.arange(len(inside) + len(test)) >= len(inside),
            "logit": np.concatenate([inside, test]),
        }
    )


def noise(seed: int, size: int = 100) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=size)


def test_best_takes_the_column_that_is_best_out_of_inner_fold() -> None:
    oof = np.stack([noise(0), LABELS + 0.1 * noise(1), noise(2)], axis=1)
    test = np.arange(6.0).reshape(2, 3)
    inside, scores = _combine(
        Contestant("", lambda _: test), oof, test, np.repeat([0, 1], 50), LABELS, 0
    )
    np.testing.assert_array_equal(inside, oof[:, 1])
    np.testing.assert_array_equal(scores, [1.0, 4.0])


def test_logistic_says_of_a_training_row_what_the_other_parts_say() -> None:
    """Outputs that know nothing: in-sample they would seem to, out of part they do not."""
    contestant = Contestant("", lambda _: np.zeros((1, 1)), "logistic")
    oof = np.random.default_rng(3).normal(size=(100, 40))
    part = np.repeat([0, 1, 2], [34, 33, 33])
    inside, _ = _combine(contestant, oof, oof, part, LABELS, 0)
    _, in_sample = _combine(contestant, oof, oof, part, LABELS, 0)
    assert auc(LABELS, in_sample) > 0.85
    assert auc(LABELS, inside) < 0.65
    # Turning the labels of one part round moves what is said of the other parts only.
    turned = np.where(part == 0, 1 - LABELS, LABELS)
    again, _ = _combine(contestant, oof, oof, part, turned, 0)
    np.testing.assert_array_equal(again[part == 0], inside[part == 0])
    assert np.abs(again[part == 1] - inside[part == 1]).max() > 0.01


def test_a_blend_is_the_option_that_inner_folds_choose() -> None:
    blend = Blend("", (("a",), ("b",), ("a", "b")))
    known = LABELS[:80]
    good, bad, test = known + noise(4, 80), noise(5, 80), np.array([1.0, 2.0])
    alone = _blend(blend, {"a": frame(good, test), "b": frame(bad, -9 * test)}, LABELS)
    scaled = (np.append(good, test) - good.mean()) / good.std()
    np.testing.assert_allclose(alone["logit"], scaled)
    # Two that know different things are better together, each brought to the same spread.
    other = known + noise(6, 80)
    both = _blend(blend, {"a": frame(good, test), "b": frame(100 * other, test)}, LABELS)
    np.testing.assert_allclose(
        both["logit"][:80], (scaled[:80] + (other - other.mean()) / other.std()) / 2
    )


def test_labels_of_the_test_rows_choose_nothing() -> None:
    blend = Blend("", (("a",), ("b",)))
    frames = {"a": frame(LABELS[:80], -LABELS[80:]), "b": frame(noise(5, 80), LABELS[80:])}
    labels = LABELS.copy()
    first = _blend(blend, frames, labels)
    labels[80:] = 1 - labels[80:]
    pd.testing.assert_frame_equal(first, _blend(blend, frames, labels))
    assert auc(LABELS[80:], first["logit"].to_numpy()[80:]) == 0.0  # bad luck is taken as it comes


@pytest.mark.parametrize("name", ["lbsf", "lbsf_both"])
def test_no_option_of_ours_goes_without_lbsf(name: str) -> None:
    for option in BLENDS[name].options:
        assert {"lbsf_alone", "lbsf_pretrained", "lbsf_boosted"} & set(option)
