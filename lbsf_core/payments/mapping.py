"""Mappings: a TOML file that says what the columns of a raw file mean.

A mapping is read into the frozen dataclasses of `rules`. Every mistake in it is named with its
key, what was expected there, and what to do. `berka`, `berka-1993` and `birmingham` ship with
lbsf and are the worked examples of the format.
"""

from __future__ import annotations

import codecs
import tomllib
import zoneinfo
from importlib import resources
from pathlib import Path

from lbsf_core.errors import IngestError
from lbsf_core.payments.rules import (
    ABSOLUTE_MARK,
    EPOCH_FORMATS,
    AmountRule,
    CurrencyRule,
    ExtraRule,
    FileRule,
    LabelRule,
    LabelsRule,
    Mapping,
    MerchantRule,
    TimeRule,
)
from lbsf_core.payments.schema import PAYMENT_COLUMNS, FieldKind
from lbsf_core.payments.toml_table import Table

__all__ = ["Mapping", "load_mapping", "named_mappings", "parse_mapping"]


def named_mappings() -> tuple[str, ...]:
    """Names of the mappings that ship with lbsf."""
    folder = resources.files("lbsf_core.payments") / "mappings"
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def load_mapping(mapping: str | Path | Mapping) -> Mapping:
    """A mapping from its name, its TOML file, or itself.

    Raises:
        IngestError: no such mapping, no TOML, or a key in it is wrong, missing or unknown.
    """
    if isinstance(mapping, Mapping):
        return mapping
    if str(mapping) in named_mappings():
        source = resources.files("lbsf_core.payments") / "mappings" / f"{mapping}.toml"
        return parse_mapping(source.read_text(encoding="utf-8"), str(mapping))
    path = Path(mapping)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise IngestError(
            f"{mapping}: is neither a readable UTF-8 file nor one of the mappings that ship with "
            f"lbsf ({', '.join(named_mappings())})."
        ) from error
    return parse_mapping(text, str(path))


def parse_mapping(text: str, where: str) -> Mapping:
    """A mapping from the text of a TOML file; `where` names it in errors.

    Raises:
        IngestError: no TOML, or a key in it is wrong, missing or unknown.
    """
    try:
        top = Table(tomllib.loads(text), where)
    except tomllib.TOMLDecodeError as error:
        raise IngestError(f"{where}: is no TOML ({error}).") from error
    if "\x00" in text or "\\u0000" in text:
        raise IngestError(f"{where}: holds a NUL character; take it out.")
    columns = top.table("columns")
    extras = tuple(_extra(entry) for entry in top.tables("extra"))
    labels = top.table("labels", required=False)
    mapping = Mapping(
        name=top.text("name", Path(where).stem),
        user=columns.texts("user", required=True),
        payment_id=columns.texts("payment_id"),
        description=columns.texts("description"),
        merchant=_merchant(top.table("merchant")),
        time=_time(top.table("time"), "column"),
        amount=_amount(top.table("amount")),
        currency=_currency(top.table("currency", required=False)),
        duplicates=top.choice("duplicates", ("drop", "per-file")),
        file=_file(top.table("file", required=False)),
        extras=extras,
        words=_words(top.table("words", required=False)),
        labels=None if labels.empty else _labels(labels),
    )
    columns.done()
    top.done()
    names = [extra.name.lower() for extra in extras]
    if len(set(names)) < len(names):
        raise IngestError(f"{where}: two [[extra]] fields have the same name; rename one.")
    return mapping


def _file(table: Table) -> FileRule:
    rule = FileRule(
        separator=table.character("separator", ""),
        quote=table.character("quote", '"'),
        encoding=table.text("encoding", "utf-8"),
        decimal=table.character("decimal", "."),
        thousands=table.character("thousands", ""),
        null_values=table.texts("null_values"),
        columns=table.texts("columns"),
    )
    try:
        codecs.lookup(rule.encoding)
        "".encode(rule.encoding)
    except LookupError as error:
        raise table.error(
            "encoding", f"'{rule.encoding}' is no text encoding; try utf-8 or cp1252"
        ) from error
    if rule.decimal not in (".", ","):
        raise table.error("decimal", "give '.' or ','")
    if rule.thousands == rule.decimal:
        raise table.error("thousands", "differs from `decimal` in every real file; change one")
    table.done()
    return rule


def _merchant(table: Table) -> MerchantRule:
    rule = MerchantRule(
        columns=table.texts("columns", required=True),
        fallback=table.texts("fallback"),
        joiner=table.text("joiner", " "),
        numbers=table.choice("numbers", ("strip", "keep")),
        missing=table.choice("missing", ("reject", "keep")),
    )
    table.done()
    return rule


def _time(table: Table, column_key: str) -> TimeRule:
    rule = TimeRule(
        columns=table.texts(column_key, required=True),
        formats=table.texts("formats"),
        timezone=table.text("timezone", "") or None,
        shift_years=table.integer("shift_years", 0),
        minimum=table.date("minimum"),
        maximum=table.date("maximum"),
    )
    _check_formats(table, rule.formats)
    if rule.timezone is not None:
        try:
            zoneinfo.ZoneInfo(rule.timezone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
            raise table.error(
                "timezone", f"'{rule.timezone}' is no zone; give a name such as Europe/London"
            ) from error
    if column_key == "column":
        table.done()
    return rule


def _check_formats(table: Table, formats: tuple[str, ...]) -> None:
    for text in formats:
        if text not in EPOCH_FORMATS and "%" not in text:
            raise table.error(
                "formats", f"'{text}' is no strptime format; write e.g. '%Y-%m-%d' or 'epoch_s'"
            )
    absolute = {ABSOLUTE_MARK in text or text in EPOCH_FORMATS for text in formats}
    if len(absolute) > 1:
        raise table.error(
            "formats", "some name an offset from UTC and some do not; split the file in two"
        )


def _amount(table: Table) -> AmountRule:
    sign = table.choice("sign", ("signed", "inverted", "words", "two-columns"))
    two, words = sign == "two-columns", sign == "words"
    rule = AmountRule(
        sign=sign,
        column="" if two else table.text("column"),
        direction=table.text("direction") if words else "",
        out_words=table.texts("out_words", required=True) if words else (),
        in_words=table.texts("in_words", required=True) if words else (),
        out_column=table.text("out_column") if two else "",
        in_column=table.text("in_column") if two else "",
        null=table.choice("null", ("reject", "zero")),
        zero=table.choice("zero", ("keep", "drop")),
    )
    both = {word.strip().lower() for word in rule.out_words} & {
        word.strip().lower() for word in rule.in_words
    }
    if both:
        raise table.error("out_words", f"{sorted(both)} also stand in `in_words`; take them out")
    table.done()
    return rule


def _currency(table: Table) -> CurrencyRule:
    rule = CurrencyRule(
        code=table.text("code", ""), column=table.text("column", ""), only=table.text("only", "")
    )
    if rule.code and rule.column:
        raise table.error("code", "stands beside `column`; keep one of them")
    if rule.only and not rule.column:
        raise table.error("only", "needs `column`, the column that names the currency")
    for key in ("code", "only"):
        code = getattr(rule, key)
        if code and not (len(code) == 3 and code.isascii() and code.isupper()):
            raise table.error(key, f"'{code}' is no ISO 4217 code such as GBP")
    table.done()
    return rule


def _extra(table: Table) -> ExtraRule:
    name = table.text("name")
    kinds = tuple(kind.value for kind in FieldKind)
    rule = ExtraRule(
        name=name,
        kind=FieldKind(table.choice("kind", kinds)),
        column=table.text("column", name),
        formats=table.texts("formats"),
    )
    _check_formats(table, rule.formats)
    if name.lower() in PAYMENT_COLUMNS or not name.isidentifier() or name.startswith("_"):
        raise table.error(
            "name", f"'{name}' must be letters, digits and _, and none of {list(PAYMENT_COLUMNS)}"
        )
    table.done()
    return rule


def _words(table: Table) -> dict[str, tuple[tuple[str, str], ...]]:
    return {column: tuple(table.table(column).pairs().items()) for column in table.keys_in_order()}


def _labels(table: Table) -> LabelsRule:
    labels = []
    for entry in table.tables("label"):
        name = entry.text("name")
        labels.append(
            LabelRule(
                name=name,
                column=entry.text("column", name),
                bad=entry.texts("bad", required=True),
                good=entry.texts("good", required=True),
                meaning=entry.text("meaning"),
                proxy=entry.boolean("proxy", False),
            )
        )
        entry.done()
    if not labels:
        raise table.error("label", "give at least one [[labels.label]]")
    rule = LabelsRule(
        user=table.texts("user", required=True), cutoff=_time(table, "cutoff"), labels=tuple(labels)
    )
    table.done()
    return rule
