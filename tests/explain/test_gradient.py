"""Integrated gradients: exact where they are known by hand, additive, and blind to the order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lbsf_core.config import ModelConfig
from lbsf_core.explain import gradient
from lbsf_core.explain.baselines import TYPICAL_PAYMENT, Baseline
from lbsf_core.explain.batch import explain_chunk
from lbsf_core.explain.gradient import (
    CHECK_TOLERANCE,
    FEW_STEPS,
    FIRST_STEPS,
    HISTORY,
    MAX_STEPS,
    Start,
    along_paths,
    explain,
    explain_against,
    field_names,
    integrated_gradients,
)
from lbsf_core.explain.result import TOLERANCE
from lbsf_core.fold.batch import FoldedBatch
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.lbsf import LBSF, Layout
from lbsf_core.model.merchant import STATISTICS
from lbsf_core.model.recency import DAYS
from lbsf_core.model.rhythm import RHYTHM, segment_rhythm
from tests.builders import SMALL, random_batch, random_samples, small_model

BATCH = random_batch(3, 6)
MODEL = small_model(random_batch(99, 30))
BUNDLE = Bundle(MODEL, {"slope": 1.0, "intercept": 0.0})


def tight(batch: FoldedBatch, model: LBSF = MODEL) -> gradient.Attributions:
    """With steps enough that the error of the rule is far below what is compared."""
    return gradient._integrate(model, batch, [128], [None])[0]


class Toy(LBSF):
    """LBSF's fields under a decoder whose integrated gradients are known by hand."""

    power = 1

    def forward_from(self, fused: Tensor, statistics: Tensor, layout: Layout) -> Tensor:
        """(B,) (sum of a payment's parts + sum of all statistics) ** power, sample by sample."""
        samples = len(layout.user_offsets) - 1
        total = torch.zeros(samples).index_add(0, layout.sample[layout.segment], fused.sum(dim=1))
        total = total.index_add(0, layout.sample, statistics.sum(dim=1))
        return total**self.power


def toy(power: int) -> Toy:
    model = Toy(SMALL, MODEL.fields, MODEL.fitted)
    model.load_state_dict(MODEL.state_dict())
    model.power = power
    return model.eval()


def history_by_hand(model: LBSF, batch: FoldedBatch, slopes: np.ndarray) -> np.ndarray:
    """(N,) as `LBSF.history_parts`; a payment's own figures are those of a merchant paid once."""
    payments, segment = len(batch.amounts), batch.segment_of_payment
    alone = replace(
        batch,
        merchants=batch.merchants.take(segment),
        offsets=np.arange(payments + 1),
        user_offsets=batch.offsets[batch.user_offsets],
    )
    bins, sums = len(DAYS), segment_rhythm(alone)[:, : RHYTHM - len(DAYS)]
    scales = model.rhythm.segment_scale.numpy(), model.levels.segment_scale.numpy()
    weights = slopes[:, len(STATISTICS) :] / np.concatenate(scales)
    own = (sums * weights[segment, : sums.shape[1]]).sum(axis=1)
    own += (model.levels.segments(alone) * weights[segment, RHYTHM:]).sum(axis=1)
    together = segment_rhythm(batch)
    count, paid = together[segment, :bins], together[segment, RHYTHM - bins :]
    share = np.divide(sums[:, :bins], count, out=np.zeros_like(count), where=count > 0)
    own += (share * paid * weights[segment, RHYTHM - bins : RHYTHM]).sum(axis=1)
    whole = (model.statistics(batch).numpy() * slopes).sum(axis=1)
    rest = whole - np.bincount(segment, own, minlength=len(whole))
    return own + (rest / np.diff(batch.offsets))[segment]


def parts_by_hand(model: LBSF, batch: FoldedBatch) -> np.ndarray:
    """(N, F + 1) what each field, and each share of history, adds to a toy's inner sum."""
    with torch.no_grad():
        moved = (model.field_vectors(batch) - model.typical).sum(dim=2) * model.field_weights()
        slopes = np.ones(model.statistics(batch).shape)
    return np.column_stack([moved.numpy(), history_by_hand(model, batch, slopes)])


def test_linear_model_by_hand() -> None:
    model = toy(1)
    found = integrated_gradients(model, BATCH)
    np.testing.assert_allclose(found.fields, parts_by_hand(model, BATCH), atol=1e-4)
    assert (found.steps == FEW_STEPS).all(), "the first steps of few payments are enough"
    assert np.abs(found.delta).max() < 1e-3


def test_square_model_by_hand() -> None:
    """For (sum)**2 the mean slope on the way from a to b is a + b."""
    model = toy(2)
    found = integrated_gradients(model, BATCH, tolerance=1.0)
    with torch.no_grad():
        inner = toy(1)
        ends = integrated_gradients(inner, BATCH)
    slope = (ends.logits + ends.baseline_logits)[BATCH.sample_of_payment]
    expected = parts_by_hand(model, BATCH) * slope[:, None]
    np.testing.assert_allclose(found.fields, expected, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(found.logits, ends.logits**2, rtol=1e-4)


def brute_force(model: LBSF, batch: FoldedBatch, steps: int = 250) -> np.ndarray:
    """(N, F + 1) a plain midpoint sum over the path of ALL (N, F, D) field vectors."""
    layout = Layout.of(batch)
    with torch.no_grad():
        fields, statistics = model.field_vectors(batch), model.statistics(batch)
    start = model.typical.expand_as(fields)
    slope, slope_statistics = torch.zeros_like(fields), torch.zeros_like(statistics)
    for step in range(steps):
        share = (step + 0.5) / steps
        at = (start + share * (fields - start)).requires_grad_()
        at_statistics = (share * statistics).requires_grad_()
        total = model.forward_from(model.fuse(at), at_statistics, layout).sum()
        to_fields, to_statistics = torch.autograd.grad(total, (at, at_statistics))
        slope += to_fields / steps
        slope_statistics += to_statistics / steps
    values = ((fields - start) * slope).sum(dim=2).detach().numpy()
    history = history_by_hand(model, batch, slope_statistics.numpy())
    return np.column_stack([values, history])


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_the_shortcut_over_fused_payments_is_exact(layers: int) -> None:
    """One integral over (N, D) fused payments equals the one over all (N, F, D) field vectors."""
    batch = random_batch(layers, 3)
    model = small_model(batch, config=replace(SMALL, relation_layers=layers), noise=0.35)
    with torch.no_grad():
        model.gates.copy_(torch.tensor([0.7, -0.3, 0.1, 1.2]))
    found, expected = tight(batch, model), brute_force(model, batch)
    assert np.abs(expected).max() > 0.02
    assert (np.abs(expected).max(axis=0) > 1e-3).all()  # every field takes part
    np.testing.assert_allclose(found.fields, expected, atol=2e-4)


def test_a_payments_share_of_history_is_its_own() -> None:
    """Of two payments at a merchant, only the old one is moved by the weight of old payments."""
    rows = [("m", "2023-01-01", -10.0, "a"), ("m", "2023-12-30", -10.0, "b")]
    batch = FoldedBatch.from_rows([("u", "2024-01-01", rows)])
    slopes = torch.zeros(MODEL.statistics(batch).shape)
    oldest = len(STATISTICS) + DAYS.index(365)  # payments counted about a year before the cutoff
    slopes[0, oldest] = 2.0
    with torch.no_grad():
        found = MODEL.history_parts(batch, slopes)
        whole = float((MODEL.statistics(batch) * slopes).sum())
    assert found.sum() == pytest.approx(whole, abs=1e-6)
    unit = 2.0 / float(MODEL.rhythm.segment_scale[DAYS.index(365)])
    assert found[0] - found[1] == pytest.approx(unit, rel=1e-5)


class StepByStep(IntegratedGradients):
    """Captum's own sum over steps, at the places that ours are at."""

    def _attribute(self, *, step_sizes_and_alphas, **asked):
        pairs = list(zip(*step_sizes_and_alphas, strict=True))
        sizes = [2 * (1 - u) * size for size, u in pairs]
        places = [1 - (1 - u) ** 2 for _, u in pairs]
        return super()._attribute(**asked, step_sizes_and_alphas=(sizes, places))


@pytest.mark.parametrize("pass_payments", [gradient.PASS_PAYMENTS, 200])
def test_points_and_sums_are_those_of_captum(
    pass_payments: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    references = [None, random_batch(5, 2)]
    monkeypatch.setattr(gradient, "PASS_PAYMENTS", pass_payments)
    found = gradient._integrate(MODEL, BATCH, [18, 18], references)
    monkeypatch.setattr(gradient, "_NearTheInput", StepByStep)
    captums = gradient._integrate(MODEL, BATCH, [18, 18], references)
    for ours, theirs in zip(found, captums, strict=True):
        np.testing.assert_allclose(ours.fields, theirs.fields, atol=1e-7)
        assert np.abs(ours.fields).max() > 0.01


@pytest.mark.parametrize("pass_payments", [gradient.PASS_PAYMENTS, 200])
def test_paths_with_steps_of_their_own_are_those_of_each_alone(
    pass_payments: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    references, steps = [None, random_batch(5, 2), random_batch(6, 1)], [18, 8, 5]
    monkeypatch.setattr(gradient, "PASS_PAYMENTS", pass_payments)
    found = gradient._integrate(MODEL, BATCH, steps, references)
    for one, reference, number in zip(found, references, steps, strict=True):
        (alone,) = gradient._integrate(MODEL, BATCH, [number], [reference])
        np.testing.assert_allclose(one.fields, alone.fields, atol=1e-6)
        assert (one.steps == number).all()
    (more,) = gradient._integrate(MODEL, BATCH, [18], [references[2]])
    assert np.abs(found[2].fields - more.fields).max() > 1e-5, "so few steps are seen"


def test_paths_share_a_pass_where_it_holds_them_or_where_captum_can_cut_it() -> None:
    assert gradient._passes([18, 8], 26) == [([0, 1], {"steps": [18, 8]})]
    assert gradient._passes([18, 8, 18], 43) == [([0, 2], {}), ([1], {})]
    assert gradient._passes([18, 18], 1) == [([0, 1], {})]


def test_a_path_begins_with_the_steps_that_it_is_given() -> None:
    starts = [Start(None, 1e-3), Start(random_batch(5, 2), CHECK_TOLERANCE, 3)]
    one, other = along_paths(MODEL, BATCH, starts)
    assert one.steps.min() == FEW_STEPS
    assert set(other.steps) <= {3, 6, 12, 24}, "what does not add up has twice as many"
    assert other.steps.min() < other.steps.max()
    assert (np.abs(other.delta) <= CHECK_TOLERANCE / 2).all()


def test_steps_of_a_check_are_the_fewest_that_leave_a_twentieth(
    tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, bundle = tiny
    model = bundle.model
    reference = store.read([0])
    monkeypatch.setattr(gradient, "MEASURED_PAYMENTS", 10**9)  # all samples
    chosen = gradient.steps_to_check(store, model, reference)
    batch = store.read(np.flatnonzero(store.samples["payments"].to_numpy() > 0))

    def left(steps: int) -> float:
        (found,) = gradient._integrate(model, batch, [steps], [reference])
        return float(np.mean(np.abs(found.delta) > CHECK_TOLERANCE / 2))

    assert left(chosen) <= gradient.LEFT
    monkeypatch.setattr(gradient, "CHECK_STEPS", (1, 2, 3, 4, 6, 8, 12, 18, 24, 36))
    fewest = gradient.steps_to_check(store, model, reference)
    enough = [steps for steps in gradient.CHECK_STEPS if left(steps) <= gradient.LEFT]
    assert fewest == enough[0] > 1
    monkeypatch.setattr(gradient, "CHECK_STEPS", (1, 2))
    monkeypatch.setattr(gradient, "LEFT", 0.0)
    assert gradient.steps_to_check(store, model, reference) == 2, "the most where none is enough"
    monkeypatch.setattr(gradient, "MEASURED_PAYMENTS", 1)
    assert gradient.steps_to_check(store, model, reference) == FIRST_STEPS, "no sample so short"


def test_attention_beside_the_attributions_is_that_of_the_payments_as_they_are() -> None:
    found = integrated_gradients(MODEL, BATCH).attention
    with torch.no_grad():
        _, asked = MODEL.forward_with_attention(BATCH)
    torch.testing.assert_close(found.merchants, asked.merchants)
    torch.testing.assert_close(found.payments, asked.payments)
    for one, other in zip(found.relations, asked.relations, strict=True):
        torch.testing.assert_close(one, other)


def test_columns_are_the_fields_and_history() -> None:
    assert field_names(MODEL) == ("merchant", "description", "timestamp", "amount", HISTORY)
    assert integrated_gradients(MODEL, BATCH).fields.shape == (len(BATCH.amounts), 5)


def test_logits_are_the_models_and_the_baseline_knows_only_the_layout() -> None:
    found = integrated_gradients(MODEL, BATCH)
    with torch.no_grad():
        np.testing.assert_allclose(found.logits, MODEL(BATCH).numpy(), atol=1e-5)
    other = replace(BATCH, amounts=BATCH.amounts * 9 - 4)
    again = integrated_gradients(MODEL, other)
    np.testing.assert_allclose(again.baseline_logits, found.baseline_logits, atol=1e-6)
    assert (again.logits != found.logits).all()


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000))
def test_values_sum_to_the_distance_from_the_baseline(seed: int) -> None:
    batch = random_batch(seed, 4)
    found = integrated_gradients(MODEL, batch)
    sums = np.bincount(batch.sample_of_payment, found.fields.sum(axis=1), minlength=4)
    np.testing.assert_allclose(sums, found.logits - found.baseline_logits, atol=TOLERANCE)
    np.testing.assert_allclose(found.delta, sums - (found.logits - found.baseline_logits))


def test_batched_equals_one_by_one() -> None:
    found = tight(BATCH)
    sample = BATCH.sample_of_payment
    for b in range(len(BATCH)):
        alone = tight(BATCH.select([b]))
        np.testing.assert_allclose(alone.fields, found.fields[sample == b], atol=1e-4)
        np.testing.assert_allclose(alone.logits, found.logits[b : b + 1], atol=1e-5)


def test_permuting_segments_permutes_attributions_and_weights() -> None:
    batch = random_batch(6, 3, payments=25, days=30)
    order = np.concatenate([np.arange(*batch.user_offsets[b : b + 2])[::-1] for b in range(3)])
    moved = batch.permute_segments(order)
    one, other = (explain(BUNDLE, b) for b in (batch, moved))
    assert np.ptp(one[0].merchant_attributions) > 0.01
    for before, after in zip(one, other, strict=True):
        assert after.merchants == before.merchants[::-1]
        np.testing.assert_allclose(after.logit, before.logit, atol=1e-5)
        for name in ("merchant_attributions", "merchant_weights"):
            np.testing.assert_allclose(
                getattr(after, name), getattr(before, name)[::-1], atol=TOLERANCE, err_msg=name
            )
        np.testing.assert_allclose(
            after.relation_weights, before.relation_weights[:, ::-1, ::-1], atol=1e-5
        )
        by_payment = dict(zip(_keys(before), before.payment_attributions, strict=True))
        for key, value in zip(_keys(after), after.payment_attributions, strict=True):
            assert value == pytest.approx(by_payment[key], abs=TOLERANCE)


def _keys(explanation) -> list[tuple]:
    frame = explanation.payments_frame()
    return list(zip(frame["merchant"], frame["timestamp"], frame["amount"], strict=True))


def test_fault_14_and_26_order_and_later_payments_change_no_explanation() -> None:
    samples = random_samples(8, 2)
    later = [
        (
            user,
            cutoff,
            [("canary", cutoff, -1e6, "canary"), *rows[::-1], ("a", "2030-01-01", 5, "")],
        )
        for user, cutoff, rows in samples
    ]
    one, other = (explain(BUNDLE, FoldedBatch.from_rows(s)) for s in (samples, later))
    assert [e.to_dict() for e in one] == [e.to_dict() for e in other]


def test_fault_27_empty_history_is_explained() -> None:
    batch = FoldedBatch.from_rows(
        [("empty", "2024-01-01", []), ("one", "2024-02-01", [("m", "2024-01-01", -5.0, "x")])]
    )
    for empty in (explain(BUNDLE, batch)[0], *explain(BUNDLE, batch.select([0]))):
        assert empty.merchants == ()
        assert empty.delta == 0.0
        assert empty.logit == empty.baseline_logit
        assert np.isfinite(empty.logit)
        assert 0 < empty.pd < 1
        assert empty.problems() == []
        assert empty.merchants_frame().empty
        assert empty.payments_frame().empty
        assert empty.to_dict()["relations"] == {"merchants": [], "weights": []}
    one = explain(BUNDLE, batch)[1]
    assert one.merchants == ("m",)
    assert one.problems() == []
    assert (one.merchant_weights.tolist(), one.payment_weights.tolist()) == ([1.0], [1.0])
    assert one.relations.tolist() == [[1.0]]
    assert one.merchant_attributions[0] == pytest.approx(one.logit - one.baseline_logit, abs=1e-3)


#: Asked of the sharp model below.
TIGHT = 1e-3


@pytest.mark.parametrize("few", [0, 128])
def test_steps_are_raised_only_where_they_are_needed(
    few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharp = small_model(BATCH, noise=0.8)
    with torch.no_grad():
        for parameter in sharp.head.parameters():
            parameter.mul_(4.0)
    asked: list[tuple[int, int]] = []
    real = gradient._integrate
    assert len(BATCH.amounts) <= gradient.FEW_PAYMENTS
    monkeypatch.setattr(gradient, "FEW_PAYMENTS", few)
    first = FEW_STEPS if few else FIRST_STEPS
    monkeypatch.setattr(
        gradient, "_integrate",
        lambda m, b, steps, refs: (asked.append((*steps, len(b))), real(m, b, steps, refs))[1],
    )  # fmt: skip
    found = integrated_gradients(sharp, BATCH, tolerance=TIGHT)
    assert [steps for steps, _ in asked] == [
        min(first * 2**i, MAX_STEPS) for i in range(len(asked))
    ]
    assert asked[0] == (first, 6)
    sizes = [size for _, size in asked]
    assert len(sizes) > 1
    assert sizes == sorted(sizes, reverse=True)
    assert sizes == [int((found.steps >= steps).sum()) for steps, _ in asked]
    assert len(set(found.steps)) > 1, "some samples are done sooner"
    assert (np.abs(found.delta[found.steps < 512]) <= TIGHT / 2).all()
    # What was kept for a sample is what its last steps found.
    for b, steps in enumerate(found.steps):
        (alone,) = real(sharp, BATCH.select([b]), [int(steps)], [None])
        mine = found.fields[BATCH.sample_of_payment == b]
        np.testing.assert_allclose(mine, alone.fields, atol=2e-4)


def test_paths_from_several_starts_are_those_of_each_alone() -> None:
    references = [None, random_batch(5, 2), random_batch(6, 1)]
    together = along_paths(MODEL, BATCH, [Start(reference, 1e-3) for reference in references])
    for reference, found in zip(references, together, strict=True):
        alone = integrated_gradients(MODEL, BATCH, 1e-3, reference=reference)
        np.testing.assert_allclose(found.fields, alone.fields, atol=1e-5)
        np.testing.assert_allclose(found.baseline_logits, alone.baseline_logits, atol=1e-5)
        np.testing.assert_array_equal(found.steps, alone.steps)
    assert np.abs(together[0].fields - together[1].fields).max() > 1e-3, "the starts differ"


def test_other_baselines_change_nothing_of_what_is_held_against_the_first() -> None:
    batch, reference = random_batch(8, 2), Baseline("typical user", "t", random_batch(5, 1))
    found, (other,) = explain_against(BUNDLE, batch, TYPICAL_PAYMENT, [reference])
    for one, alone in zip(found, explain(BUNDLE, batch), strict=True):
        np.testing.assert_allclose(one.field_attributions, alone.field_attributions, atol=1e-5)
    alone = np.concatenate([e.merchant_attributions for e in explain(BUNDLE, batch, reference)])
    assert np.abs(other - alone).max() < CHECK_TOLERANCE


def test_an_error_that_is_left_is_reported_never_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    sharp = small_model(BATCH, config=ModelConfig(**SMALL.to_dict()))
    with torch.no_grad():
        for parameter in sharp.parameters():
            parameter.mul_(3.0)
    monkeypatch.setattr(gradient, "FEW_STEPS", 1)
    monkeypatch.setattr(gradient, "MAX_STEPS", 1)
    found = explain(Bundle(sharp, {"slope": 1.0, "intercept": 0.0}), BATCH)
    worst = max(found, key=lambda e: abs(e.delta))
    assert abs(worst.delta) > 0.01
    (sentence,) = worst.problems()
    assert sentence.startswith("Merchants miss the score's distance to the baseline by")
    assert f"{worst.delta:+.4f}" in sentence


def test_explaining_leaves_no_gradient_behind() -> None:
    explain(BUNDLE, BATCH)
    assert all(p.grad is None for p in MODEL.parameters())


@pytest.fixture(scope="module")
def tiny(tiny_store: Path, tiny_bundle: Path) -> tuple[FoldedStore, Bundle]:
    return FoldedStore.open(tiny_store), Bundle.load(tiny_bundle)


def test_a_trained_model_adds_up_at_every_level(tiny) -> None:
    store, bundle = tiny
    rows = [0, 11, 30, 59]
    for explanation in explain(bundle, store.read(rows)):
        data = explanation.to_dict()
        assert data["problems"] == []
        total = data["logit"] - data["baseline_logit"]
        assert total != 0
        merchants = data["merchants"]
        assert sum(m["attribution"] for m in merchants) == pytest.approx(total, abs=1e-3)
        assert sum(m["weight"] for m in merchants) == pytest.approx(1, abs=1e-4)
        for merchant in merchants:
            payments = merchant["payments"]
            own = sum(p["attribution"] for p in payments)
            assert own == pytest.approx(merchant["attribution"], abs=1e-3)
            assert sum(p["weight"] for p in payments) == pytest.approx(1, abs=1e-4)
            for payment in payments:
                fields = payment["fields"]
                assert sum(fields.values()) == pytest.approx(payment["attribution"], abs=1e-3)
                assert set(fields) == {*field_names(bundle.model)}
        names = [m["merchant"] for m in merchants]
        assert data["relations"]["merchants"] == names
        weights = np.array(data["relations"]["weights"])
        np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-4)
        assert weights.shape == (len(names), len(names))


def test_explaining_twice_gives_the_same_numbers(tiny) -> None:
    store, bundle = tiny
    one, two = (explain(bundle, store.read([7]))[0].to_dict() for _ in range(2))
    assert one == two


def test_explaining_all_samples_agrees_with_explaining_one(tiny) -> None:
    store, bundle = tiny
    segments = explain_chunk(store, bundle, 10, 50)[0].to_pandas()
    found = {sample: segments[segments["sample"] == sample] for sample in (17, 42)}
    for sample, table in found.items():
        (one,) = explain(bundle, store.read([sample]))
        assert table["merchant"].tolist() == list(one.merchants)
        np.testing.assert_allclose(table["attribution"], one.merchant_attributions, atol=1e-3)
        np.testing.assert_allclose(table["weight"], one.merchant_weights, atol=1e-5)
        frame = one.merchants_frame()
        for name in ("payments", "money_in", "money_out"):
            np.testing.assert_allclose(table[name], frame[name], atol=1e-6)
