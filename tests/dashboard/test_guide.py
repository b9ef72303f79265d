"""Words and tour: every word is explained once, and the tour names only what is there."""

from __future__ import annotations

from dashboard.components import guide
from tests.dashboard.conftest import Open


def test_words_are_in_order_and_are_sentences() -> None:
    assert list(guide.WORDS) == sorted(guide.WORDS, key=str.lower)
    assert all(means.endswith(".") for means in guide.WORDS.values())


def test_every_page_explains_its_words(open_page: Open) -> None:
    for page in ("portfolio", "user", "cohorts", "model"):
        at = open_page(page, user="U001")
        assert any("**Attribution**" in element.value for element in at.markdown)
        assert at.button(key="tour")
