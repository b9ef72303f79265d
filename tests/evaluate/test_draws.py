"""All draws at once say what scikit-learn says of each resample, ties, few rows and all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from lbsf_core.evaluate import draws as module
from lbsf_core.evaluate.draws import auc_of_draws, metrics_of_draws
from lbsf_core.evaluate.metrics import ECE_BINS, METRICS, bootstrap_rows
from lbsf_core.evaluate.scores import Scores, summarise

PDS = (0.0, 0.1, 0.10000000001, 0.3, 0.5, 0.5, 0.9, 1.0)


def test_one_draw_by_hand() -> None:
    labels, pd = np.array([0.0, 0, 1, 1]), np.array([0.1, 0.4, 0.4, 0.8])
    # The second row twice, the last one not at all: good 0.1, good 0.4 twice, bad 0.4.
    found = metrics_of_draws(labels, pd, [np.array([0, 1, 1, 2])], 2)
    assert found["AUC"] == pytest.approx([(1 + 0.5 + 0.5) / 3])
    assert found["KS"] == pytest.approx([1 / 3])  # above 0.1: all bad, two of three good
    assert found["PR-AUC"] == pytest.approx([1 / 3])  # one bad among the three at 0.4
    assert found["Brier"] == pytest.approx([(0.01 + 0.16 + 0.16 + 0.36) / 4])
    # Two bins of two: 0.1 with 0.4, of labels 0 and 1/3; 0.4 twice, of 1/3 each.
    assert found["ECE"] == pytest.approx([(abs(0.5 - 1 / 3) + abs(0.8 - 2 / 3)) / 4])
    assert found["Top-decile capture"] == pytest.approx([0.4 / 3])  # 0.4 of a row at 0.4


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from(PDS)), max_size=30),
    st.integers(0, 99),
    st.sampled_from([1, 50, 2**18]),
)
def test_draws_are_what_the_metrics_say_of_the_resampled_rows(pairs, seed: int, block: int) -> None:
    labels, pd = np.array([(0.0, 0.2), (1.0, 0.3), *pairs]).T
    users = [f"u{i // 2}" for i in range(len(pd))]  # two rows each: resamples differ in size
    if labels[:2].sum() == labels.sum() or len(set(users)) == 1:
        users = [f"u{i}" for i in range(len(pd))]
    drawn = list(bootstrap_rows(labels, users, 7, seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        found = metrics_of_draws(labels, pd, drawn, ECE_BINS)
    assert list(found) == list(METRICS)
    for name, (metric, _) in METRICS.items():
        plain = [metric(labels[rows], pd[rows]) for rows in drawn]
        # Where PDs part the classes the slope has no end, and rounding moves it a little.
        off = 1e-5 if name == "Calibration slope" else 1e-12
        np.testing.assert_allclose(found[name], plain, atol=off, rtol=off, err_msg=name)
    aucs = [roc_auc_score(labels[rows], pd[rows]) for rows in drawn]
    np.testing.assert_allclose(auc_of_draws(labels, pd, drawn), aucs, atol=1e-12, rtol=0)


def many(seed: int, rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < 0.3).astype(float)
    return labels, 1 / (1 + np.exp(-(labels + rng.normal(-1, 1, (3, rows)))))


def test_on_usual_scores_every_metric_is_off_by_rounding_alone() -> None:
    labels, pds = many(0)
    drawn = list(bootstrap_rows(labels, [f"u{i % 120}" for i in range(300)], 50, 0))
    for pd in (pds[0], pds[1].round(2)):
        found = metrics_of_draws(labels, pd, drawn, ECE_BINS)
        for name, (metric, _) in METRICS.items():
            plain = [metric(labels[rows], pd[rows]) for rows in drawn]
            np.testing.assert_allclose(found[name], plain, atol=1e-12, rtol=0, err_msg=name)


def plain_summary(scores, labels, users, pairs, draws: int, seed: int) -> dict:
    """The loop over draws, repeats and metrics that `summarise` stands for."""
    drawn = list(bootstrap_rows(labels, users, draws, seed))
    found: dict = {"contestants": {}, "differences": {}}
    for name, score in scores.items():
        metrics = {}
        for metric, (function, _) in METRICS.items():
            value = np.mean([function(labels, p) for p in score.pds])
            sample = [np.mean([function(labels[r], p[r]) for p in score.pds]) for r in drawn]
            lo, hi = np.quantile(sample, [0.025, 0.975])
            metrics[metric] = {"value": value, "lo": lo, "hi": hi}
        top = metrics["AUC"]
        entry = {"auc": top["value"], "lo": top["lo"], "hi": top["hi"]}
        found["contestants"][name] = entry | {"repeats": len(score.pds), "metrics": metrics}
    for one, other in pairs:
        both = min(len(scores[one].pds), len(scores[other].pds))
        a, b = scores[one].pds[:both], scores[other].pds[:both]
        value = np.mean(
            [roc_auc_score(labels, p) - roc_auc_score(labels, q) for p, q in zip(a, b, strict=True)]
        )
        sample = [
            np.mean(
                [
                    roc_auc_score(labels[r], p[r]) - roc_auc_score(labels[r], q[r])
                    for p, q in zip(a, b, strict=True)
                ]
            )
            for r in drawn
        ]
        lo, hi = np.quantile(sample, [0.025, 0.975])
        found["differences"][f"{one} - {other}"] = {
            "auc": value,
            "lo": lo,
            "hi": hi,
            "repeats": both,
        }
    return found


def flat(value, path: str = "") -> dict[str, float]:
    if not isinstance(value, dict):
        return {path: value}
    return {k: v for key in value for k, v in flat(value[key], f"{path}/{key}").items()}


def test_a_summary_is_that_of_the_plain_loop() -> None:
    labels, pds = many(1)
    _, others = many(2)
    rows = np.arange(300)
    scores = {
        "a": Scores(rows, pds),
        "b": Scores(rows, others),
        "once": Scores(rows, pds[1:2].round(1)),
    }
    users = [f"u{i % 130}" for i in range(300)]
    pairs = [("a", "b"), ("a", "once"), ("once", "b")]
    found = flat(summarise(scores, labels, users, [*pairs, ("a", "missing")], draws=40, seed=3))
    plain = flat(plain_summary(scores, labels, users, pairs, 40, 3))
    assert list(found) == list(plain)
    for path, value in plain.items():
        assert found[path] == pytest.approx(value, abs=1e-9), path
