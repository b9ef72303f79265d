"""Compiled loops give the logits and states of the model, whatever its parts and its payments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsf_core.errors import BatchError
from lbsf_core.fold.batch import FoldedBatch, Strings
from lbsf_core.fold.store import FoldedStore
from lbsf_core.model.bundle import Bundle
from lbsf_core.model.fields import TextEncoder
from lbsf_core.model.lbsf import LBSF
from lbsf_core.payments.schema import Field, FieldKind
from lbsf_core.score import kernels, lean, stream
from lbsf_core.score.lean import Lean
from lbsf_core.score.scorer import batch_logits, score_store
from lbsf_core.score.stream import score_stream, scoring
from lbsf_core.score.texts import Texts, as_bytes
from tests.builders import SMALL, fold_rows, random_batch, random_samples, small_model

EXTRA = (
    Field("channel", FieldKind.CATEGORY),
    Field("balance", FieldKind.NUMBER),
    Field("booked", FieldKind.TIMESTAMP),
    Field("note", FieldKind.TEXT),
)


def rich(folder: Path, seed: int) -> FoldedBatch:
    """Samples with a field of every kind, some numbers missing."""
    rng = np.random.default_rng(seed)
    rows = []
    for user, _, paid in random_samples(seed, 15):
        for merchant, when, amount, text in paid:
            balance = None if rng.random() < 0.3 else float(rng.normal(100, 400))
            booked = None if rng.random() < 0.2 else when
            others = (f"way {rng.integers(3)}", balance, booked, f"note {rng.integers(5)}")
            rows.append((user, merchant, when, amount, text, *others))
    labels = [(f"user {i:02}", "2024-02-05", None) for i in range(16)]  # the last one paid nothing
    return fold_rows(folder, rows, labels, extra=EXTRA).read(np.arange(16))


def agree(model: LBSF, batch: FoldedBatch) -> None:
    with torch.no_grad():
        expected = model.segment_states(batch)
    one = Lean(model)
    found = one.states(batch)
    torch.testing.assert_close(found.vectors, expected.vectors, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.sums, expected.sums, atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(found.days, expected.days)
    logits = batch_logits(model, [batch])
    assert len(batch) < 2 or logits.std() > 0.01  # the test would see a difference
    np.testing.assert_allclose(one.logits(batch), logits, atol=2e-5)
    with torch.no_grad():
        users, _ = model.represent(model.fused(batch), model.statistics(batch), model.layout(batch))
    assert one.representations(batch).shape == users.shape
    np.testing.assert_allclose(one.representations(batch), users, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"attention": "mean"},
        {"rhythm": False},
        {"levels": "none"},
        {"levels": "extra"},
        {"rhythm": False, "levels": "none"},
        {"meetings": True},
        {"user_gap": True},
        {"forecasts": 3},
        {"relation_layers": 0},
        {"width": 64, "heads": 4, "text_buckets": 4_096, "text_width": 32, "bins": 16},
        {"width": 6, "heads": 1, "text_buckets": 97},
    ],
    ids=str,
)
def test_every_kind_of_model(settings: dict[str, Any], tmp_path: Path) -> None:
    model = small_model(rich(tmp_path / "fitted", 1), 0, replace(SMALL, **settings), EXTRA)
    agree(model, rich(tmp_path / "asked", 2))


@pytest.fixture(autouse=True)
def folders(tmp_path: Path) -> None:
    for name in ("fitted", "asked"):
        (tmp_path / name).mkdir()


@pytest.mark.parametrize("block", [1, 7, 100_000])
def test_blocks_that_cut_merchants_in_two(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean, "BLOCK", block)
    batch = random_batch(5, 8, payments=40, merchants=2)
    agree(small_model(batch), batch)


@pytest.mark.parametrize("zone", ["Europe/London", "Asia/Kathmandu", "America/St_Johns"])
def test_hours_and_days_are_those_of_the_clock_on_the_wall(zone: str) -> None:
    batch = replace(random_batch(6, 30), timezone=zone)
    agree(small_model(random_batch(99, 30)), batch)


@pytest.mark.parametrize("cutoff", ["1904-03-01", "1970-01-02", "2000-03-01", "2024-03-01"])
def test_days_of_the_month_of_any_year(cutoff: str) -> None:
    times = np.array(cutoff, "datetime64[us]").astype(np.int64) - 86_400_000_000 * np.arange(2000)
    paid = [
        ("shop", str(np.datetime64(int(t) - 1, "us")), 1.0, "") for t in np.sort(times).tolist()
    ]
    batch = FoldedBatch.from_rows([("a", cutoff, paid), ("b", cutoff, paid[1500:])])
    agree(small_model(random_batch(99, 30)), batch)


def test_amounts_at_the_edge() -> None:
    amounts = [0.0, -0.0, 1e300, -1e300, 1e-300, 5e12, -5e12]
    paid = [(f"m{i % 3}", f"2024-01-{i + 1:02}", a, "x") for i, a in enumerate(amounts)]
    batch = FoldedBatch.from_rows([("a", "2024-02-01", paid), ("b", "2024-02-01", paid[:2])])
    agree(small_model(random_batch(99, 30)), batch)


def test_a_fold_by_something_else_than_merchants() -> None:
    batch = random_batch(8, 20)
    names = Strings.encode([batch.merchants.decode()[s] for s in batch.segment_of_payment])
    agree(
        small_model(random_batch(99, 30)), replace(batch, texts={**batch.texts, "merchant": names})
    )


def test_users_without_payments_and_no_users() -> None:
    model = small_model(random_batch(99, 30))
    empty = FoldedBatch.from_rows([("a", "2024-01-01", []), ("b", "2024-01-01", [])])
    np.testing.assert_allclose(Lean(model).logits(empty), batch_logits(model, [empty]), atol=1e-6)
    assert Lean(model).logits(empty.select([])).shape == (0,)


def test_whoever_else_is_in_a_batch_changes_nothing() -> None:
    """What the engines owe each other: they cut a store into other batches."""
    batch = random_batch(4, 30, payments=60)
    one = Lean(small_model(random_batch(99, 30)))
    alone = np.concatenate([one.logits(batch.select([row])) for row in range(30)])
    np.testing.assert_array_equal(one.logits(batch), alone)


def test_a_field_that_the_payments_lack_is_named(tmp_path: Path) -> None:
    model = small_model(rich(tmp_path / "fitted", 1), extra=EXTRA)
    with pytest.raises(BatchError, match="channel"):
        Lean(model).logits(random_batch(1, 3))


words = st.lists(
    st.text(st.characters(codec="utf-8"), max_size=120)
    | st.sampled_from(["", " ", "\x02", "\x03", "\x03\x02", "ΑΣ", "İstanbul", "a  b", "é" * 60]),
    min_size=1,
    max_size=8,
    unique=True,
)


@settings(max_examples=150, deadline=None)
@given(words, st.sampled_from([64, 97]))
def test_vectors_of_texts_are_those_of_the_model(some: list[str], buckets: int) -> None:
    torch.manual_seed(0)
    encoder = TextEncoder(Field("description", FieldKind.TEXT), 4, 8, buckets, 0.0)
    with torch.no_grad():
        expected = encoder._bags(*encoder.cache.hashes(some)).numpy()
        found = Texts(encoder.ngrams.weight.numpy(), 100).vectors(some)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_gelu_is_torchs() -> None:
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(0, 3, (500, 6)), np.linspace(-60, 60, 3_000).reshape(-1, 6)])
    rows, bias = rows.astype(np.float32), rng.normal(0, 1, 6).astype(np.float32)
    rows[0, 0] = np.nan
    expected = torch.nn.functional.gelu(torch.from_numpy(rows + bias).double()).numpy()
    kernels.gelu(rows, bias)
    np.testing.assert_allclose(rows, expected, atol=2e-6)
    assert np.isnan(rows[0, 0])


@given(words)
def test_texts_as_bytes(some: list[str]) -> None:
    data, starts, ends = as_bytes(some)
    found = [bytes(data[a:b]) for a, b in zip(starts, ends, strict=True)]
    assert found == [text.lower().encode() for text in some]


def test_texts_are_forgotten_all_at_once_when_there_are_too_many() -> None:
    rng = np.random.default_rng(0)
    texts = Texts(rng.normal(size=(64, 4)).astype(np.float32), 3)
    fresh = {t: Texts(texts.weight, 9).vectors([t])[0] for t in "abcdef"}
    for some in (["a", "b"], ["b", "c"], ["c", "d"], ["a", "b", "c", "d", "e", "f"], ["f", "a"]):
        np.testing.assert_array_equal(texts.vectors(some), [fresh[t] for t in some])


def test_two_threads_that_meet_a_new_text_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look-up and the remembering of one, the other remembers some of the same."""
    rng = np.random.default_rng(0)
    texts = Texts(rng.normal(size=(64, 4)).astype(np.float32), 99)
    fresh = {t: Texts(texts.weight, 99).vectors([t])[0] for t in "abcdefg"}
    inner, meanwhile = lean.kernels.text_vectors, [["b", "c"]]

    def interrupted(*given: Any) -> None:
        if meanwhile:
            texts.vectors(meanwhile.pop())
        inner(*given)

    monkeypatch.setattr(lean.kernels, "text_vectors", interrupted)
    for some in ("abc", "de", "fg", "abcdefg"):
        np.testing.assert_array_equal(texts.vectors(list(some)), [fresh[t] for t in some])


def test_a_large_store_is_scored_by_them(
    tiny_store: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, bundle = FoldedStore.open(tiny_store), Bundle.load(tiny_bundle)
    used: list[int] = []
    inner = Lean.logits

    def noted(self: Lean, batch: FoldedBatch) -> np.ndarray:
        used.append(len(batch.amounts))
        return inner(self, batch)

    monkeypatch.setattr(Lean, "logits", noted)
    score_stream(store, bundle)
    assert not used  # not worth loading a compiler
    monkeypatch.setattr(stream, "LEAN_FROM", 1)
    found = score_stream(store, bundle)
    assert sum(used) == int(store.samples["payments"].sum())
    expected = score_store(store, bundle)
    np.testing.assert_allclose(found["logit"], expected["logit"], atol=1e-5)


def test_double_precision_is_left_to_the_model() -> None:
    model = small_model(random_batch(99, 30)).double()
    batch = random_batch(1, 4)
    np.testing.assert_array_equal(scoring(model, 10**9)(batch), batch_logits(model, [batch]))
