"""Kinds of merchant: by category, by words, by what a short text says; never by the company."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbsf_core.errors import LbsfError
from lbsf_core.explain.kinds import OTHER, Kinds, merchant_kinds, normal
from lbsf_core.fold.batch import FoldedBatch, Strings
from lbsf_core.payments.simulate.kinds import KINDS
from tests.builders import random_batch

SHIPPED = Kinds.load()


def paid(*payments: tuple[str, str], **fields: list[str]) -> FoldedBatch:
    """One sample of (merchant, description), the first paid last, with texts in that order."""
    days = [f"2024-01-{28 - at:02}" for at in range(len(payments))]
    rows = [(m, day, -5.0, text) for (m, text), day in zip(payments, days, strict=True)]
    batch = FoldedBatch.from_rows([("u", "2024-02-01", rows)])
    # Oldest first inside a merchant, newest merchant first: back from days to the order given.
    given_at = (28 - (batch.timestamps // 86_400_000_000 - 19723 + 1)).astype(int)
    texts = {k: Strings.encode([v[at] for at in given_at]) for k, v in fields.items()}
    return replace(batch, texts={**batch.texts, **texts})


def kinds_of(batch: FoldedBatch) -> dict[str, str]:
    return dict(zip(batch.merchants.decode(), merchant_kinds(batch), strict=True))


@pytest.mark.parametrize(
    ("merchant", "text", "kind"),
    [
        ("joes casino", "", "gambling"),
        ("alphabet books", "", "shopping"),  # not "bet"
        ("Café Nero", "", "coffee"),
        ("x", "PAYDAY LOANS 123", "cash advance"),
        ("x", "withdrawal in cash", "cash withdrawal"),
        ("x", "withdrawal in cash sanction interest if negative balance", "overdraft interest"),
        ("x lettings", "FASTER PAYMENT TO X LETTINGS", "rent"),  # what for before how
        ("tesco stores", "REF 9", "groceries"),
        ("x", "REF 9912", OTHER),
        ("x", "", OTHER),
    ],
)
def test_words_tell_the_kind(merchant: str, text: str, kind: str) -> None:
    assert kinds_of(paid((merchant, text))) == {merchant: kind}


def test_a_category_is_believed_before_any_word() -> None:
    batch = paid(
        ("joes casino", "poker"),
        ("shop", "a"),
        ("bank", "b"),
        category=["groceries", "Own Thing", ""],
    )
    assert kinds_of(batch) == {"joes casino": "groceries", "shop": "Own Thing", "bank": OTHER}
    batch = paid(("12 345", "remittance to another bank"), k_symbol=["insurrance payment"])
    assert kinds_of(batch) == {"12 345": "insurance"}


def test_every_kind_of_the_simulator_is_in_the_catalogue() -> None:
    assert {kind.name for kind in KINDS} <= set(SHIPPED.names)
    assert all(SHIPPED.name(kind.name, "de") != kind.name for kind in KINDS)


def test_the_kind_of_most_payments_wins_and_silent_ones_have_no_vote() -> None:
    batch = paid(
        ("x", "casino"), ("x", "fuel"), ("x", "fuel"), ("x", "a 1"), ("x", "b 2"), ("x", "c 3")
    )
    assert kinds_of(batch) == {"x": "fuel"}
    batch = paid(("x", "fuel"), ("x", "casino"))
    assert kinds_of(batch) == {"x": "gambling"}  # of equals the one that tells more


def test_a_short_text_may_be_the_kind_itself() -> None:
    batch = paid(
        ("argos mail", "Equip Operational"),
        ("sam smith", "Sam Smith"),  # names the merchant
        ("y", "one two three four five six"),  # a sentence
        ("z", "Invoice 12"),  # a number
        ("w", "..."),
    )
    assert merchant_kinds(batch)[0] == "shopping"
    batch = paid(
        ("mail order", "Equip Operational"), ("mail order", "Postage"), ("mail order", "Postage")
    )
    assert kinds_of(batch) == {"mail order": "Postage"}
    others = paid(("sam smith", "Sam Smith"), ("y", "one two three four five six"), ("z", "Ref 12"))
    assert set(merchant_kinds(others)) == {OTHER}
    assert merchant_kinds(paid(("x", "a 1"), cost_centre=["casino"])) == [OTHER]  # who pays


@given(seed=st.integers(0, 10_000))
def test_company_makes_no_difference(seed: int) -> None:
    batch = random_batch(seed, 5)
    words = ["casino", "fuel", "Equip Operational", "Ref 12", "merchant 1"]
    text = batch.texts["description"]
    told = tuple(words[at % 5] for at in range(len(text.words)))
    batch = replace(batch, texts={"description": Strings(text.codes, told)})
    together = merchant_kinds(batch)
    apart = [kind for at in range(5) for kind in merchant_kinds(batch.select([at]))]
    assert together == apart
    assert len(set(together)) > 1


def test_no_payments_have_no_kinds() -> None:
    batch = paid(("x", "y"))
    assert merchant_kinds(batch.keep(np.zeros(1, dtype=bool))) == []


def test_names_in_words() -> None:
    assert SHIPPED.name("gambling", "de") == "Glücksspiel"
    assert SHIPPED.name("gambling", "en") == SHIPPED.name("gambling", "fr") == "gambling"
    assert SHIPPED.name("Vehicle Thing", "de") == "“Vehicle Thing”"
    assert SHIPPED.nameless("withdrawal in cash household")
    assert not SHIPPED.nameless("netflix")
    assert not SHIPPED.nameless("joes casino")
    assert normal("  L’Été & Söhne_GmbH!") == "lete and sohne gmbh"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[kinds.a]\nwords = ['Big']", "`kinds.a.words` has 'Big'; write it as 'big'"),
        ("[kinds.a]\nwords = ['x']\n[kinds.b]\nwords = ['x']", "has 'x', as has a"),
        ("[kinds.a]\nword = ['x']", "did you mean `words`"),
        ("[kinds.a", "is no TOML"),
    ],
)
def test_a_wrong_catalogue_names_its_mistake(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LbsfError, match=r"mine\.toml") as caught:
        Kinds.load(path)
    assert says in str(caught.value)
    with pytest.raises(LbsfError, match="no readable"):
        Kinds.load(tmp_path / "none.toml")


def test_an_own_catalogue_is_used(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("spoken = []\n[kinds.'toy shop']\nwords = ['toy']\n", encoding="utf-8")
    batch = paid(("toy box", "Things"), ("joes casino", "Things"))
    assert merchant_kinds(batch, Kinds.load(path)) == ["toy shop", OTHER]
