"""What kind of merchant is it? Found in a catalogue of words, `catalogue/kinds.toml`.

A field that says so outright is believed first (`category`), then words of the catalogue in any
other text, then a short text that reads like a category. A merchant is of the kind that most of
its payments are. The answer for one sample never depends on what else is in the batch.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lbsf_core.errors import IngestError, LbsfError
from lbsf_core.fold.batch import FoldedBatch, Strings
from lbsf_core.payments.merchants import NO_MERCHANT
from lbsf_core.payments.toml_table import Table

Ints = npt.NDArray[np.int64]

#: The kind of merchants that no word and no category tells.
OTHER = "other"
#: A text that may stand for a kind has at most so many words and signs, and so many letters.
MOST_WORDS, MOST_SIGNS, LEAST_LETTERS = 5, 32, 3
#: Texts whose kind is remembered.
MOST_KEPT = 500_000
_SIGNS = re.compile(r"[^\w]+|_+")
_APOSTROPHES = re.compile("['’‘ʼ`´]")


def normal(text: str) -> str:
    """Small letters, no accents or apostrophes, `and` for `&`, one space between words."""
    flat = unicodedata.normalize("NFKD", _APOSTROPHES.sub("", text).replace("&", " and "))
    bare = "".join(letter for letter in flat if not unicodedata.combining(letter))
    return _SIGNS.sub(" ", bare.casefold()).strip()


def read_toml(path: str | Path | None, shipped: str) -> tuple[dict[str, Any], str]:
    """(the tables of a catalogue, where it stands); the one that ships where `path` is None.

    Raises:
        LbsfError: no such file, or no TOML.
    """
    where = shipped if path is None else str(path)
    try:
        if path is None:
            source = resources.files("lbsf_core.explain") / "catalogue" / shipped
            text = source.read_text(encoding="utf-8")
        else:
            text = Path(path).read_text(encoding="utf-8")
        return tomllib.loads(text), where
    except tomllib.TOMLDecodeError as error:
        raise LbsfError(f"{where}: is no TOML ({error}).") from error
    except (OSError, UnicodeDecodeError) as error:
        raise LbsfError(f"{where}: is no readable UTF-8 file ({error}).") from error


@dataclass(frozen=True)
class Kinds:
    """A catalogue of kinds; see `catalogue/kinds.toml`.

    Attributes:
        names: K kinds, the telling ones first.
        phrases: normal text -> number of its kind.
        whole: the same, for texts that must match as a whole (names of kinds and `fold`).
        generic: phrases that are no names of merchants.
        told: kind -> language -> its name there.
        categories, spoken, unread: names of text fields, see the catalogue.
    """

    names: tuple[str, ...]
    phrases: Mapping[str, int]
    whole: Mapping[str, int]
    generic: frozenset[str]
    told: Mapping[str, Mapping[str, str]]
    categories: tuple[str, ...]
    spoken: tuple[str, ...]
    unread: tuple[str, ...]
    _found: dict[str, int] = field(default_factory=dict, repr=False, compare=False)
    _first: dict[str, list[str]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for phrase in self.phrases:
            self._first.setdefault(phrase.split(" ", 1)[0], []).append(f"{phrase} ")

    @classmethod
    def load(cls, path: str | Path | None = None) -> Kinds:
        """Read a catalogue; None = the one that ships.

        Raises:
            LbsfError: it is unreadable, or says something that makes no sense; names the key.
        """
        return _shipped() if path is None else cls._read(path)

    @classmethod
    def _read(cls, path: str | Path | None) -> Kinds:
        data, where = read_toml(path, "kinds.toml")
        try:
            return cls._parse(Table(data, where))
        except IngestError as error:  # what `Table` raises
            raise LbsfError(str(error)) from error

    @classmethod
    def _parse(cls, top: Table) -> Kinds:
        categories, spoken, unread = (top.texts(k) for k in ("categories", "spoken", "unread"))
        kinds = top.table("kinds")
        top.done()
        names = kinds.keys_in_order()
        phrases: dict[str, int] = {}
        whole: dict[str, int] = {}
        generic: set[str] = set()
        told: dict[str, dict[str, str]] = {}
        for number, name in enumerate(names):
            kind = kinds.table(name)
            for key, into in (("words", phrases), ("names", phrases), ("fold", whole)):
                for words in kind.texts(key):
                    if not words or normal(words) != words:
                        raise kind.error(key, f"has '{words}'; write it as '{normal(words)}'")
                    if into.setdefault(words, number) != number:
                        raise kind.error(key, f"has '{words}', as has {names[into[words]]}")
            generic.update(kind.texts("words"))
            whole[normal(name)] = number
            told[name] = kind.table("told", required=False).pairs()
            kind.done()
        return cls(names, phrases, whole, frozenset(generic), told, categories, spoken, unread)

    def name(self, kind: str, language: str) -> str:
        """A kind as a reader of this language calls it; one that is not in the catalogue quoted."""
        if kind not in self.told:
            return f"“{kind}”"
        return self.told[kind].get(language, kind)

    def of_text(self, text: str) -> int:
        """Number of the kind of a text, by the first kind that has a word of it; K = none."""
        found = self._found.get(text)
        if found is None:
            if len(self._found) >= MOST_KEPT:
                self._found.clear()
            flat = normal(text)
            found = self._found[text] = self.whole.get(flat, self._by_words(flat))
        return found

    def nameless(self, merchant: str) -> bool:
        """Whether a merchant is nothing but words of the catalogue: no payee was known."""
        rest = normal(merchant).split()
        while rest:
            lengths = [n for n in range(len(rest), 0, -1) if " ".join(rest[:n]) in self.generic]
            if not lengths:
                return False
            rest = rest[lengths[0] :]
        return True

    def _by_words(self, flat: str) -> int:
        found, rest = len(self.names), f"{flat} "
        while rest:
            word, _, after = rest.partition(" ")
            for phrase in self._first.get(word, ()):
                if rest.startswith(phrase):
                    found = min(found, self.phrases[phrase[:-1]])
            rest = after
        return found


@cache
def _shipped() -> Kinds:
    return Kinds._read(None)


def merchant_kinds(batch: FoldedBatch, kinds: Kinds | None = None) -> list[str]:
    """The kind of each segment's merchant.

    Args:
        batch: any samples.
        kinds: the catalogue; None = the one that ships.

    Returns:
        S names: of the catalogue, or a text of the data that reads like a category, or `OTHER`.
    """
    kinds = kinds or Kinds.load()
    count, segment = len(kinds.names), batch.segment_of_payment
    own: dict[int, str] = {}  # numbers above the catalogue's are texts of the data
    numbers: dict[str, int] = {}

    def number_of(text: str) -> int:
        number = numbers.setdefault(text, count + 1 + len(numbers))
        own[number] = text
        return number

    def category(text: str) -> int:
        known = kinds.of_text(text)
        return known if known < count or not normal(text) else number_of(text.strip())

    ranks = np.full(len(segment), count, dtype=np.int64)
    for name in kinds.categories:  # the first that says anything
        if name in batch.texts:
            said = _of_each(batch.texts[name], category)
            ranks = np.where(ranks == count, said, ranks)
    words = _of_each(batch.merchants, kinds.of_text)[segment]
    for name, text in batch.texts.items():
        if name not in (*kinds.categories, *kinds.unread):
            words = np.minimum(words, _of_each(text, kinds.of_text))
    found = _most(segment, np.where(ranks == count, words, ranks), len(batch.merchants), count)

    for name in kinds.spoken:
        open_ = found == count
        if name in batch.texts and open_.any():
            said = _of_each(
                batch.texts[name], lambda text: number_of(text.strip()) if _spoken(text) else count
            )
            most = _most(segment, said, len(batch.merchants), count)
            for at in np.flatnonzero(open_ & (most != count)):
                merchant = normal(batch.merchants.words[batch.merchants.codes[at]])
                if not set(merchant.split()) & set(normal(own[int(most[at])]).split()):
                    found[at] = most[at]
    return [own.get(n, OTHER) if n >= count else kinds.names[n] for n in found.tolist()]


def _of_each(column: Strings, number: Callable[[str], int]) -> Ints:
    """The number of each row's text; each distinct text is asked once."""
    table = np.array([number(word) for word in column.words], dtype=np.int64)
    return table[column.codes] if len(column.codes) else np.zeros(0, dtype=np.int64)


def _most(segment: Ints, numbers: Ints, segments: int, none: int) -> Ints:
    """(S,) the number that most payments of a segment have, the lower of equals, `none` aside."""
    found = np.full(segments, none, dtype=np.int64)
    some = numbers != none
    base = int(numbers.max(initial=none)) + 1
    keys, counts = np.unique(segment[some] * base + numbers[some], return_counts=True)
    of, number = np.divmod(keys, base)
    order = np.lexsort((-number, counts))  # what comes last is written last
    found[of[order]] = number[order]
    return found


def _spoken(text: str) -> bool:
    """Whether a text may be the name of a category: short, a few letters, no digits."""
    flat = text.strip()
    return (
        0 < len(flat) <= MOST_SIGNS
        and len(normal(flat).split()) <= MOST_WORDS
        and sum(letter.isalpha() for letter in flat) >= LEAST_LETTERS
        and not any(letter.isdigit() for letter in flat)
        and flat != NO_MERCHANT
    )
