"""The catalogue: vague sentences are refused, and figures are written as a language writes them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from lbsf_core.errors import LbsfError
from lbsf_core.explain.codes import WRITTEN, Catalogue
from lbsf_core.explain.factors import FACTORS
from lbsf_core.explain.kinds import Kinds

KINDS = Kinds.load()
SHIPPED = Catalogue.load()
TEXT = (resources.files("lbsf_core.explain") / "catalogue" / "reasons.toml").read_text("utf-8")
ROSE = 'en = "{who} {direction} from {before} to {recent} a month in the last {days}"'


def code(name: str):
    return next(one for one in SHIPPED.codes if one.name == name)


def edited(folder: Path, old: str, new: str) -> Path:
    assert old in TEXT
    path = folder / "mine.toml"
    path.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("sentence", "missing"),
    [
        ("purchasing history", "{before}, {days}, {direction}, {recent}, {who}"),
        ("{who} {direction}", "{before}, {days}, {recent}"),
        ("{direction} from {before} to {recent} a month in the last {days}", "{who}"),
        ("{who} {direction} from {before} to {recent} a month", "{days}"),
        ("{who} changed from {before} to {recent} a month in the last {days}", "{direction}"),
        ("{who} {direction} much in the last {days}", "{before}, {recent}"),
    ],
)
def test_vague_sentences_are_refused(tmp_path: Path, sentence: str, missing: str) -> None:
    path = edited(tmp_path, ROSE, f'en = "{sentence}"')
    with pytest.raises(LbsfError, match="too vague") as caught:
        Catalogue.load(path)
    told = str(caught.value)
    assert "mine.toml: `codes.rose.text.en`" in told
    assert f"says nothing of {missing}." in told


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (ROSE, 'en = "{who.name}"', "`codes.rose.text.en` has '{who.name}'"),
        (ROSE, 'en = "{who!r}"', "write a plain name"),
        (ROSE, 'en = "{who"', "can't be read"),
        (ROSE, ROSE[:-1] + ' {lowest}"', "asks for {lowest}, which 'rose' does not count"),
        (ROSE + "\n", "", "`codes.rose.text` speaks ['de']"),
        ('factor = "rose"', 'factor = "felt"', "choose one of"),
        ('factor = "rose"', 'factor = "rose"\nfield = "balance"', "do not fit"),
        ('factor = "rose"', 'factor = "rose"\ndays = 0', "give a number above 0"),
        ("least = 2", "least = 1", "no habit to stop"),
        ('factor = "rose"', 'factor = "rose"\nday = 9', "did you mean `days`"),
        ('then = ["leveraged trading", "gambling"]\n', "", "`codes.pair.then` is missing"),
        ('day = ["day", "days"]', 'day = ["day"]', "needs two forms"),
        ('rose = "rose"\n', "", "`languages.en.directions.rose` is missing"),
        ('both = "{kind} payments at {merchants}"', 'both = "a {kind}"', "it must say"),
    ],
)
def test_a_wrong_catalogue_names_its_mistake(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(LbsfError) as caught:
        Catalogue.load(edited(tmp_path, old, new))
    assert says in str(caught.value)


def test_the_catalogue_that_ships_uses_and_documents_every_factor() -> None:
    assert {one.factor for one in SHIPPED.codes} == set(FACTORS)
    figures = {n for f in FACTORS.values() for n in (f.window, *f.figures, *f.more)}
    assert figures == set(WRITTEN)
    comments = "\n".join(line for line in TEXT.splitlines() if line.startswith("#"))
    assert all(f"{{{name}}}" in comments for name in figures)
    assert all(name in comments for name in FACTORS)
    assert {kind for one in SHIPPED.codes for kind in (*one.kinds, *one.then)} <= set(KINDS.names)


def test_a_sentence_in_two_languages() -> None:
    figures = {"before": 1.0, "recent": 6.26, "money_before": 0, "money_recent": 0, "days": 90}
    rose = code("rose")

    def told(language: str) -> str:
        who = SHIPPED.who(rose, "cash advance", ("payday lite",), KINDS, language)
        return SHIPPED.sentence(rose, figures, who, "", language)

    assert told("en") == (
        "cash advance payments at payday lite rose from 1.0 to 6.3 a month in the last 90 days"
    )
    assert told("de") == (
        "Zahlungen (Kurzzeitkredit) bei payday lite gestiegen von 1,0 auf 6,3 im Monat in den "
        "letzten 90 Tagen"
    )
    with pytest.raises(LbsfError, match="does not speak 'fr'; choose one of en, de"):
        SHIPPED.language("fr")


def test_figures_and_nouns() -> None:
    english, german = SHIPPED.language("en"), SHIPPED.language("de")
    assert english.figure("total", 1234567.891) == "1,234,567.89"
    assert german.figure("total", 1234567.891) == "1.234.567,89"
    assert english.figure("lowest", -1234.5) == "-1,234.50"
    assert english.figure("lowest", -0.001) == "0.00"
    assert [english.figure("gap", days) for days in (0.6, 1.2, 41.7)] == [
        "1 day",
        "1 day",
        "42 days",
    ]
    assert [english.figure("count", n) for n in (1.0, 2.0, 1200.0)] == [
        "1 payment",
        "2 payments",
        "1,200 payments",
    ]
    assert german.figure("times", 3) == "3 Mal"
    assert english.figure("of", 31.0) == "31"


def test_who_is_named() -> None:
    came = code("came")

    def who(kind: str | None, *merchants: str, language: str = "en") -> str:
        return SHIPPED.who(came, kind, merchants, KINDS, language)

    assert who("gambling", "a", "b") == "gambling payments at a, b"
    assert who("gambling", "a", "b", "c") == "gambling payments at 3 merchants"
    assert who("gambling", "a", "b", "c", language="de") == (
        "Zahlungen (Glücksspiel) bei 3 Händlern"
    )
    assert who(None, "a {b} [c]") == "payments at a {b} [c]"
    assert who("Postage", "a") == "“Postage” payments at a"
    # Where no payee is known the kind alone is told, but a real name never goes.
    assert who("cash withdrawal", "withdrawal in cash") == "cash withdrawal payments"
    assert who("subscription", "netflix") == "subscription payments at netflix"
    assert SHIPPED.who(code("below-zero"), None, ("a",), KINDS, "de") == "Kontostand"
    assert SHIPPED.who(code("all-rose"), None, ("a",), KINDS, "en").startswith("payments of every")


def test_braces_in_the_data_stay_as_they_are() -> None:
    figures = {"total": 5.0, "last": 3.0}
    told = SHIPPED.sentence(code("once"), figures, "payments at {x} {0}", "", "en")
    assert told == "payments at {x} {0}: a single one of 5.00, 3 days ago"
