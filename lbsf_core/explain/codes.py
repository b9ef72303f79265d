"""The catalogue of reason codes: which facts are told, in which words, and that none is vague.

The catalogue is `catalogue/reasons.toml`, which says how it is written; `check_catalogue` refuses a
sentence that does not name who, which way, when and how much.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Literal

from lbsf_core.errors import IngestError, LbsfError
from lbsf_core.explain.factors import FACTORS, Factor, Options
from lbsf_core.explain.kinds import Kinds, read_toml
from lbsf_core.payments.toml_table import Table

Of = Literal["kind", "all", "field"]
Side = Literal["both", "risk", "protective"]
SIDES: tuple[Side, ...] = ("both", "risk", "protective")
OF: tuple[Of, ...] = ("kind", "all", "field")
#: Whole numbers that a code may give, and what they are where it does not.
OPTIONS = {"days": 90, "change": 50, "within": 2, "least": 3}
NOUNS = ("day", "payment", "time", "merchant")
#: How a language says whose payments, and what that must hold.
WHO = {"kind": {"kind"}, "merchant": {"merchants"}, "both": {"kind", "merchants"}, "all": set()}
#: Merchants that a sentence names one by one; more are counted.
NAMED = 2

#: How a figure is written: rate 6.3, money 1,234.50, number 31, or a noun of `NOUNS`.
WRITTEN: dict[str, str] = {
    **dict.fromkeys(("before", "recent"), "rate"),
    **dict.fromkeys(("money_before", "money_recent", "total", "lowest", "lowest_before"), "money"),
    **dict.fromkeys(("typical_before", "typical_recent"), "money"),
    **dict.fromkeys(("days", "gap", "since", "last", "span", "within"), "day"),
    **dict.fromkeys(("shortest", "longest", "typical"), "day"),
    "count": "payment",
    "times": "time",
    "of": "number",
}


@dataclass(frozen=True)
class Code:
    """One entry of the catalogue; see there.

    Attributes:
        name: its id.
        factor: how it is counted.
        of: whose payments.
        kinds, then: kinds it is asked of, and kinds that follow; () = every kind.
        options: handed to the factor.
        alone: told only where nothing else can be.
        side: what it may be told as.
        text: language -> sentence.
    """

    name: str
    factor: str
    of: Of
    kinds: tuple[str, ...]
    then: tuple[str, ...]
    options: Options
    alone: bool
    side: Side
    text: Mapping[str, str]

    @property
    def counted(self) -> Factor:
        """What the factor is."""
        return FACTORS[self.factor]


@dataclass(frozen=True)
class Language:
    """How one language writes; see the catalogue."""

    thousands: str
    decimal: str
    nouns: Mapping[str, tuple[str, str]]
    directions: Mapping[str, str]
    who: Mapping[str, str]
    fields: Mapping[str, str]

    def figure(self, name: str, value: float) -> str:
        """A figure as it is written in a sentence."""
        written = WRITTEN[name]
        if written in ("rate", "money"):
            return self._number(value, 1 if written == "rate" else 2)
        return self._number(value, 0) if written == "number" else self.count(written, value)

    def count(self, noun: str, value: float) -> str:
        """A whole number with its noun in the right number."""
        whole = round(value)
        return f"{self._number(whole, 0)} {self.nouns[noun][whole != 1]}"

    def merchants(self, names: Iterable[str]) -> str:
        """A few names, or how many."""
        told = list(names)
        return ", ".join(told) if len(told) <= NAMED else self.count("merchant", len(told))

    def _number(self, value: float, places: int) -> str:
        text = f"{value:,.{places}f}"
        if not float(text.replace(",", "")):
            text = text.lstrip("-")  # no "-0.0"
        return text.translate({ord(","): self.thousands, ord("."): self.decimal})


@dataclass(frozen=True)
class Catalogue:
    """Codes in their order, and the languages they speak."""

    codes: tuple[Code, ...]
    languages: Mapping[str, Language]
    where: str

    @classmethod
    def load(cls, path: str | Path | None = None) -> Catalogue:
        """Read and check a catalogue; None = the one that ships.

        Raises:
            LbsfError: it is unreadable, makes no sense, or has a vague sentence; names the code.
        """
        return _shipped() if path is None else cls._read(path)

    @classmethod
    def _read(cls, path: str | Path | None) -> Catalogue:
        data, where = read_toml(path, "reasons.toml")
        try:
            return check_catalogue(_parse(Table(data, where), where))
        except IngestError as error:  # what `Table` raises
            raise LbsfError(str(error)) from error

    def language(self, name: str) -> Language:
        """How a language writes.

        Raises:
            LbsfError: the catalogue does not speak it.
        """
        if name not in self.languages:
            raise LbsfError(
                f"{self.where} does not speak '{name}'; choose one of {', '.join(self.languages)}."
            )
        return self.languages[name]

    def sentence(
        self,
        code: Code,
        figures: Mapping[str, float],
        who: str,
        then: str,
        language: str,
    ) -> str:
        """What a code says of these figures."""
        speech = self.language(language)
        words = {name: speech.figure(name, value) for name, value in figures.items()}
        words |= {
            "who": who,
            "then": then,
            "direction": speech.directions[code.counted.direction],
        }
        return code.text[language].format_map(words)

    def who(
        self, code: Code, kind: str | None, merchants: tuple[str, ...], kinds: Kinds, language: str
    ) -> str:
        """Whose payments, in words; `kind` None = the merchants are of no kind."""
        speech = self.language(language)
        if code.of == "field":
            return speech.fields.get(code.options.field, code.options.field)
        if code.of == "all":
            return speech.who["all"]
        if kind is None:
            return speech.who["merchant"].format(merchants=speech.merchants(merchants))
        told = kinds.name(kind, language)
        # Payments without a payee go by what they are: no "cash withdrawal at cash withdrawal".
        if all(kinds.nameless(name) for name in merchants):
            return speech.who["kind"].format(kind=told)
        return speech.who["both"].format(kind=told, merchants=speech.merchants(merchants))


@cache
def _shipped() -> Catalogue:
    return Catalogue._read(None)


def check_catalogue(catalogue: Catalogue) -> Catalogue:
    """Refuse sentences that are vague, or that ask for what their factor does not count.

    Every sentence must name who, the direction, the window and the figures of its factor, in every
    language of the catalogue.

    Raises:
        LbsfError: says which file, code, language and what is missing.
    """
    for code in catalogue.codes:
        at = f"{catalogue.where}: `codes.{code.name}.text"
        if set(code.text) != set(catalogue.languages):
            raise LbsfError(
                f"{at}` speaks {sorted(code.text)}; give a sentence for each of "
                f"{sorted(catalogue.languages)}."
            )
        counted = code.counted
        needed = {"who", "direction", counted.window, *counted.figures}
        if code.factor == "followed":
            needed.add("then")
        for language, text in code.text.items():
            found = _placeholders(text, f"{at}.{language}`")
            if missing := sorted(needed - found):
                raise LbsfError(
                    f"{at}.{language}` is too vague: '{text}' says nothing of "
                    f"{', '.join('{' + name + '}' for name in missing)}. A reason names whose "
                    "payments, which way, when and how much."
                )
            if unknown := sorted(found - needed - set(counted.more)):
                raise LbsfError(
                    f"{at}.{language}` asks for {{{unknown[0]}}}, which '{code.factor}' does not "
                    f"count; known are {sorted(needed | set(counted.more))}."
                )
    return catalogue


def _placeholders(text: str, at: str) -> set[str]:
    """Names in braces; nothing but a plain name may stand there."""
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise LbsfError(f"{at} can't be read: {error}.") from error
    for _, name, form, conversion in parts:
        if name is not None and (form or conversion or not name.isidentifier()):
            raise LbsfError(f"{at} has '{{{name}}}'; write a plain name such as {{who}}.")
    return {name for _, name, _, _ in parts if name is not None}


def _parse(top: Table, where: str) -> Catalogue:
    codes, languages = top.table("codes"), top.table("languages")
    top.done()
    return Catalogue(
        codes=tuple(_code(codes.table(name), name) for name in codes.keys_in_order()),
        languages={n: _language(languages.table(n)) for n in languages.keys_in_order()},
        where=where,
    )


def _code(table: Table, name: str) -> Code:
    factor = table.text("factor")
    if factor not in FACTORS:
        raise table.error("factor", f"is '{factor}'; choose one of {sorted(FACTORS)}")
    of = table.choice("of", OF)
    needs_field, has_field = factor in ("below_zero", "lowest_fell"), table.text("field", "")
    if needs_field != (of == "field") or needs_field != bool(has_field):
        raise table.error("of", f"and `field` do not fit factor '{factor}'")
    then = table.texts("then", required=factor == "followed")
    days, change, within, least = (_positive(table, *pair) for pair in OPTIONS.items())
    if least < 2:
        raise table.error("least", f"is {least}; one day with payments is no habit to stop")
    code = Code(
        name=name,
        factor=factor,
        of=next(known_of for known_of in OF if known_of == of),
        kinds=table.texts("kinds"),
        then=then,
        options=Options(days, 1 + change / 100, has_field, within, least),
        alone=table.boolean("alone", False),
        side=next(known for known in SIDES if known == table.choice("side", SIDES)),
        text=table.table("text").pairs(),
    )
    table.done()
    return code


def _positive(table: Table, key: str, default: int) -> int:
    value = table.integer(key, default)
    if value <= 0:
        raise table.error(key, f"is {value}; give a number above 0")
    return value


def _language(table: Table) -> Language:
    nouns, directions, who = (table.table(key) for key in ("nouns", "directions", "who"))
    forms = {noun: nouns.texts(noun, required=True) for noun in NOUNS}
    for noun, form in forms.items():
        if len(form) != 2:
            raise nouns.error(noun, "needs two forms: of one, and of more")
    found = Language(
        thousands=table.character("thousands", ","),
        decimal=table.character("decimal", "."),
        nouns={noun: (form[0], form[1]) for noun, form in forms.items()},
        directions={f.direction: directions.text(f.direction) for f in FACTORS.values()},
        who={key: who.text(key) for key in WHO},
        fields=table.table("fields", required=False).pairs(),
    )
    for key, needed in WHO.items():
        if _placeholders(found.who[key], f"`who.{key}`") != needed:
            raise who.error(key, f"is '{found.who[key]}'; it must say {sorted(needed)}")
    for part in (nouns, directions, who, table):
        part.done()
    return found
