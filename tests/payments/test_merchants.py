"""The merchant key: hand-made cases and properties, through the SQL that the ingest runs."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbsf_core.payments.merchants import NO_MERCHANT, normalise_merchants


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ("Sainsbury's S/mkts #0123", "sainsburys s mkts"),
        ("TESCO STORES 3056", "tesco stores"),
        ("Café NERO", "cafe nero"),
        ("Cafe\u0301 nero", "cafe nero"),
        ("7 Eleven", "7 eleven"),
        ("Studio 54", "studio 54"),
        ("M&S", "m and s"),
        ("AMZN Mktp UK*2K4LT31", "amzn mktp uk"),
        ("1234", "1234"),
        ("#12", "12"),
        ("!!!", "!!!"),
        ("a\tb\r\nc\u00a0d", "a b c d"),
        ("te\u200bsco\u202e", "tesco"),
        ("İstanbul", "istanbul"),
        ("株式会社", "株式会社"),
        ("'; DROP TABLE x; --", "drop table x"),
        ("", None),
        (" \t", None),
        ("\u200b\u202e", None),
        ("\u0301", None),
    ],
)
def test_hand_made(raw: str, key: str | None) -> None:
    assert normalise_merchants([raw]) == [key]


def test_numbers_can_be_kept() -> None:
    raw = ["YZ 79838293", "Tesco #12", "£"]
    assert normalise_merchants(raw, numbers="keep") == ["yz 79838293", "tesco 12", "£"]
    assert normalise_merchants(raw) == ["yz", "tesco", "£"]


def test_order_and_gaps_are_kept() -> None:
    assert normalise_merchants(["b", "", "a", "b"]) == ["b", None, "a", "b"]
    assert normalise_merchants([]) == []


texts = st.lists(st.text(max_size=30), max_size=40)


@settings(deadline=None, max_examples=60)
@given(texts, st.sampled_from(["strip", "keep"]))
def test_the_key_of_a_key_is_that_key(names: list[str], numbers: str) -> None:
    keys = normalise_merchants(names, numbers=numbers)
    assert normalise_merchants([key or "" for key in keys], numbers=numbers) == keys
    assert NO_MERCHANT not in keys


@settings(deadline=None, max_examples=60)
@given(texts)
def test_composed_and_decomposed_text_and_both_cases_agree(names: list[str]) -> None:
    keys = normalise_merchants([unicodedata.normalize("NFC", name) for name in names])
    assert normalise_merchants([unicodedata.normalize("NFD", name) for name in names]) == keys


@given(st.lists(st.text(st.characters(codec="latin-1"), max_size=20), max_size=40))
@settings(deadline=None, max_examples=60)
def test_upper_and_lower_case_agree(names: list[str]) -> None:
    # Only letters that Python maps one to one: `ß` becomes `SS` and is two letters then.
    names = [name.replace("ß", "s").replace("µ", "m") for name in names]
    upper = normalise_merchants([name.upper() for name in names])
    assert upper == normalise_merchants([name.lower() for name in names])
