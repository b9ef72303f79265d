"""The rules of a mapping, as frozen dataclasses: every rule of the ingest is described here."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from lbsf_core.errors import IngestError
from lbsf_core.payments.schema import FieldKind

EPOCH_FORMATS = ("epoch_s", "epoch_ms")
ABSOLUTE_MARK = "%z"
NUMBER_KINDS = (FieldKind.AMOUNT, FieldKind.NUMBER)


@dataclass(frozen=True)
class FileRule:
    """`[file]`: how the text of a raw file is cut into cells (Parquet files ignore it).

    Attributes:
        separator: one character; empty = tab for `.tsv`, comma for everything else.
        quote: one character, or empty when the file quotes nothing.
        encoding: any Python codec name; a byte that does not fit stops the ingest.
        decimal: the decimal mark of every number.
        thousands: the grouping mark, or empty: then `1,10` is no number.
        null_values: cells that mean "nothing here", besides the empty one.
        columns: the header, for files that have none.
    """

    separator: str = ""
    quote: str = '"'
    encoding: str = "utf-8"
    decimal: str = "."
    thousands: str = ""
    null_values: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class MerchantRule:
    """`[merchant]`: where the merchant key comes from.

    Attributes:
        columns: joined by `joiner` when all of them hold something.
        fallback: used otherwise: those of them that hold something, joined by `joiner`.
        joiner: the text between joined columns.
        numbers: "strip" drops store numbers from the key, "keep" leaves them (account numbers).
        missing: "reject" a payment without any merchant, or "keep" it under `(no merchant)`.
    """

    columns: tuple[str, ...]
    fallback: tuple[str, ...] = ()
    joiner: str = " "
    numbers: str = "strip"
    missing: str = "reject"


@dataclass(frozen=True)
class TimeRule:
    """`[time]`: when a payment happened.

    Attributes:
        columns: one column, or several (date and time) joined by a space.
        formats: strptime formats tried in order, or `epoch_s` / `epoch_ms`.
        timezone: the zone of local times. A local time that happens twice (clocks go back) is
            the earlier one; a local time that never happens (clocks go forward) is moved on by
            the gap; both are counted. A date without a time of day is midnight in this zone.
        shift_years: added to every date (for exports whose dates were moved).
        minimum: the first date that is believed; before it is a reject. None = 1970-01-01.
        maximum: the last date that is believed. None = now: a payment in the future is a reject.
    """

    columns: tuple[str, ...]
    formats: tuple[str, ...] = ()
    timezone: str | None = None
    shift_years: int = 0
    minimum: date | None = None
    maximum: date | None = None


@dataclass(frozen=True)
class AmountRule:
    """`[amount]`: how much, and in which direction. Negative = money out.

    Attributes:
        sign: "signed" (as it stands), "inverted" (the source writes spending as positive),
            "words" (an unsigned amount and a column that says which way), or
            "two-columns" (one column for money out, one for money in, exactly one filled).
        column: the amount, except for "two-columns".
        direction: the column of the words, for "words".
        out_words: what means money out, compared trimmed and without case.
        in_words: what means money in.
        out_column: unsigned money out, for "two-columns".
        in_column: unsigned money in.
        null: "reject" a missing amount, or read it as "zero".
        zero: "keep" a zero amount (a card check), or "drop" it by rule (counted as left out).

    A refund is a payment with a positive amount at the same merchant; nothing is netted.
    """

    sign: str = "signed"
    column: str = ""
    direction: str = ""
    out_words: tuple[str, ...] = ()
    in_words: tuple[str, ...] = ()
    out_column: str = ""
    in_column: str = ""
    null: str = "reject"
    zero: str = "keep"


@dataclass(frozen=True)
class CurrencyRule:
    """`[currency]`: amounts in several currencies are never added up.

    Attributes:
        code: the currency of every payment.
        column: where each payment names its own.
        only: with `column`: keep this currency and leave the others out by rule (counted).
    """

    code: str = ""
    column: str = ""
    only: str = ""


@dataclass(frozen=True)
class ExtraRule:
    """`[[extra]]`: one more field of a payment: its name, its kind, its column."""

    name: str
    kind: FieldKind
    column: str
    formats: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelRule:
    """`[[labels.label]]`: one label column.

    Attributes:
        name: what `label=` chooses it by; the first one is the default.
        column: the column in the file.
        bad: values that mean label 1, compared trimmed and without case.
        good: values that mean label 0; every other value is a reject.
        meaning: what label 1 means, in words.
        proxy: true when it stands in for a default and is none.
    """

    name: str
    column: str
    bad: tuple[str, ...]
    good: tuple[str, ...]
    meaning: str
    proxy: bool = False


@dataclass(frozen=True)
class LabelsRule:
    """`[labels]`: the columns of the file of labels."""

    user: tuple[str, ...]
    cutoff: TimeRule
    labels: tuple[LabelRule, ...]

    def choose(self, name: str | None) -> LabelRule:
        """The label called `name`, or the first.

        Raises:
            IngestError: there is none of that name.
        """
        if name is None:
            return self.labels[0]
        for label in self.labels:
            if label.name == name:
                return label
        raise IngestError(
            f"No label is called '{name}'; this mapping has {[x.name for x in self.labels]}."
        )


@dataclass(frozen=True)
class Mapping:
    """What the columns of a raw file mean.

    Attributes:
        name: for messages.
        user: column of the user, or several joined by `-`.
        merchant, time, amount, currency: see the rules.
        description: columns joined by a space; may be none.
        payment_id: columns that name one payment for good; may be none.
        duplicates: without `payment_id`: "drop" (payments alike in every mapped field count
            once) or "per-file" (alike payments inside one file are real; across files the
            largest number of copies counts, so that a file given twice changes nothing).
        file: how text files are cut into cells.
        extras: extra fields, in column order.
        words: column -> (word in the file, word meant), for exports in other words.
        labels: the labels that belong to these payments; may be none.
    """

    name: str
    user: tuple[str, ...]
    merchant: MerchantRule
    time: TimeRule
    amount: AmountRule
    currency: CurrencyRule = CurrencyRule()
    description: tuple[str, ...] = ()
    payment_id: tuple[str, ...] = ()
    duplicates: str = "drop"
    file: FileRule = FileRule()
    extras: tuple[ExtraRule, ...] = ()
    words: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    labels: LabelsRule | None = None


def latest(rule: TimeRule) -> datetime:
    """The last instant that is believed: the end of `maximum`'s day, or now."""
    if rule.maximum is None:
        return datetime.now(UTC)
    return datetime.combine(rule.maximum, datetime.max.time(), UTC)


def earliest(rule: TimeRule) -> datetime:
    """The first instant that is believed: the start of `minimum`'s day."""
    return datetime.combine(rule.minimum or date(1970, 1, 1), datetime.min.time(), UTC)
