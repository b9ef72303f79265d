"""Cells in SQL: text as it stood, cleaned values, numbers and instants, and what can be wrong.

No text of a file ever becomes SQL; texts of the mapping do, through `sql.literal`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Mapped
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from lbsf_core.errors import IngestError
from lbsf_core.payments.rules import (
    ABSOLUTE_MARK,
    EPOCH_FORMATS,
    FileRule,
    TimeRule,
    earliest,
    latest,
)
from lbsf_core.payments.sql import literal

LARGEST_AMOUNT = 1e13  # beyond it a double can't hold hundredths
_WHITE = " \t\r\n\u00a0"
_INFINITE = "not a finite number"
_NOT_FINITE = r"[+-]?(nan|inf|infinity)"


@dataclass(frozen=True)
class Check:
    """A reason to reject a row: the column, and in SQL when, the value to show, the words."""

    condition: str
    column: str
    value: str
    reason: str


class Cells:
    """The cleaned cells of one source: `_r0` is the text as it stood, `_v0` the value or NULL."""

    def __init__(
        self,
        wanted: Sequence[str],
        types: Mapped[str, pa.DataType],
        rule: FileRule,
        words: Mapped[str, tuple[tuple[str, str], ...]],
    ) -> None:
        self._wanted = list(wanted)
        self._types = types
        self._rule = rule
        self._words = words
        self._shapes: dict[str, str] = {}
        self._numbers: dict[str, str] = {}

    def raw(self, column: str) -> str:
        """The cell as text, never NULL."""
        return f"coalesce(_r{self._wanted.index(column)}, '')"

    def value(self, column: str) -> str:
        """The trimmed cell in the words that are meant; NULL when it holds nothing."""
        return f"_v{self._wanted.index(column)}"

    def typed(self, column: str) -> str:
        """The cell in its own type."""
        return f"_c{self._wanted.index(column)}"

    def kind(self, column: str) -> pa.DataType:
        """The Arrow type of the column."""
        return self._types[column]

    def select(self) -> str:
        """The SELECT that makes the cells, after every `number` and `local_time` was asked for.

        In steps, because DuckDB works an expression out again wherever it is written.
        """
        parts = ["_line", "_problem"]
        for i, column in enumerate(self._wanted):
            parts += [
                f"_c{i}",
                f"CAST(_c{i} AS VARCHAR) AS _r{i}",
                f"{self._clean(i, column)} AS _v{i}",
            ]
        query = f"SELECT {', '.join(parts)} FROM raw"  # noqa: S608 - see the module's first lines
        for step in (self._shapes, self._numbers):
            made = "".join(f", {expression} AS {name}" for name, expression in step.items())
            query = f"SELECT *{made} FROM ({query})"  # noqa: S608
        return query

    def _clean(self, i: int, column: str) -> str:
        text = f"trim(CAST(_c{i} AS VARCHAR), {literal(_WHITE)})"
        nothing = ["", *(value.strip() for value in self._rule.null_values)]
        cleaned = f"CASE WHEN {text} IN {text_tuple(nothing)} THEN NULL ELSE {text} END"
        pairs = self._words.get(column, ())
        if pairs:
            cases = " ".join(
                f"WHEN {literal(word.strip().lower())} THEN nullif({literal(meant)}, '')"
                for word, meant in pairs
            )
            cleaned = f"CASE lower({text}) {cases} ELSE {cleaned} END"
        return cleaned

    def joined(self, columns: Sequence[str], joiner: str) -> str:
        """The values of the columns that hold something, joined; NULL when none does."""
        values = ", ".join(self.value(column) for column in columns)
        return f"nullif(concat_ws({literal(joiner)}, {values}), '')"

    def number(self, column: str) -> tuple[str, list[Check]]:
        """A number as DOUBLE (NULL when missing or wrong), and what can be wrong with it."""
        value = self.value(column)
        decimal, thousands = self._rule.decimal, self._rule.thousands
        if not _is_text(self.kind(column)):
            decimal, thousands = ".", ""
        mark = re.escape(decimal)
        digits = "[0-9]+"
        if thousands:
            digits = f"([0-9]+|[0-9]{{1,3}}({re.escape(thousands)}[0-9]{{3}})+)"
        pattern = f"[+-]?({digits}({mark}[0-9]*)?|{mark}[0-9]+)([eE][+-]?[0-9]+)?"
        plain = f"replace({value}, {literal(thousands)}, '')" if thousands else value
        if decimal != ".":
            plain = f"replace({plain}, {literal(decimal)}, '.')"
        index = self._wanted.index(column)
        well, number = f"_w{index}", f"_n{index}"
        self._shapes[well] = f"coalesce(regexp_full_match({value}, {literal(pattern)}), false)"
        self._numbers[number] = f"CASE WHEN {well} THEN TRY_CAST({plain} AS DOUBLE) END"
        odd = f"regexp_full_match(lower({value}), {literal(_NOT_FINITE)})"
        shape = f"no number with the decimal mark '{decimal}' and " + (
            f"the thousands mark '{thousands}'" if thousands else "no thousands mark"
        )
        # What costs time is asked only of the rows that fail already.
        why = f"CASE WHEN {odd} THEN {literal(_INFINITE)} ELSE {literal(shape)} END"
        checks = [
            Check(f"{value} IS NOT NULL AND NOT {well}", column, value, why),
            Check(f"NOT isfinite(coalesce({number}, 0))", column, value, literal(_INFINITE)),
            Check(
                f"abs({number}) >= {LARGEST_AMOUNT!r}",
                column,
                value,
                literal("too large to be held to the hundredth"),
            ),
        ]
        return number, checks

    def local_time(self, columns: Sequence[str], formats: Sequence[str]) -> tuple[str, bool]:
        """A time as SQL, and whether it is absolute (TIMESTAMPTZ) or local (TIMESTAMP)."""
        if len(columns) == 1 and not _is_text(self.kind(columns[0])):
            kind = self.kind(columns[0])
            if pa.types.is_timestamp(kind) and kind.tz is not None:
                return f"CAST({self.typed(columns[0])} AS TIMESTAMPTZ)", True
            if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
                return f"CAST({self.typed(columns[0])} AS TIMESTAMP)", False
        if not formats:
            raise IngestError(
                f"Column '{'+'.join(columns)}' holds text or plain numbers; the mapping must say "
                "`formats`, e.g. ['%Y-%m-%d'] or ['epoch_s']."
            )
        values = [self.value(column) for column in columns]
        text = " || ' ' || ".join(values)
        tries = ", ".join(_parse_time(f"({text})", form) for form in formats)
        absolute = formats[0] in EPOCH_FORMATS or ABSOLUTE_MARK in formats[0]
        name = "_t" + "_".join(str(self._wanted.index(column)) for column in columns)
        self._numbers[name] = f"coalesce({tries})"
        return name, absolute


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def text_tuple(texts: Sequence[str]) -> str:
    """Texts as what stands after IN."""
    return "(" + ", ".join(literal(text) for text in dict.fromkeys(texts)) + ")"


def _parse_time(text: str, form: str) -> str:
    if form in EPOCH_FORMATS:
        scale = 1_000_000 if form == "epoch_s" else 1_000
        micros = f"TRY_CAST(round(TRY_CAST({text} AS DOUBLE) * {scale}) AS BIGINT)"
        # Beyond the year 9999 DuckDB raises instead of answering NULL.
        safe = f"CASE WHEN abs({micros}) < 253402300800000000 THEN {micros} END"
        return f"timezone('UTC', make_timestamp({safe}))"
    parsed = f"try_strptime({text}, {literal(form)})"
    digits = {"%Y": 4, "%y": 2, "%m": 2, "%d": 2, "%H": 2, "%M": 2, "%S": 2}
    directives = re.findall("%.", form)
    if "".join(directives) == form and all(part in digits for part in directives):
        # Without separators a missing digit would move every later part: 96123 is no date.
        length = sum(digits[part] for part in directives)
        return f"CASE WHEN length({text}) = {length} THEN {parsed} END"
    return parsed


@dataclass(frozen=True)
class Instant:
    """A time in SQL: the TIMESTAMPTZ, whether the local time was ambiguous or does not exist."""

    instant: str
    ambiguous: str
    skipped: str
    checks: list[Check]


def instant(cells: Cells, rule: TimeRule, where: str, alias: str) -> Instant:
    """The instant of a payment or cutoff under the rules of `TimeRule`; `alias` is its column.

    Raises:
        IngestError: times are local and the mapping names no timezone.
    """
    time, absolute = cells.local_time(rule.columns, rule.formats)
    shown = " || ' ' || ".join(cells.raw(column) for column in rule.columns)
    column = "+".join(rule.columns)
    if rule.shift_years:
        time = f"({time} + to_years({rule.shift_years}))"
    filled = " AND ".join(f"{cells.value(part)} IS NOT NULL" for part in rule.columns)
    ambiguous = skipped = "false"
    moment = time
    if not absolute:
        if rule.timezone is None:
            raise IngestError(
                f"Mapping {where}: column '{column}' holds local times; say which with "
                '`timezone = "Europe/London"` (or "UTC") under [time].'
            )
        zone = literal(rule.timezone)
        moment = f"timezone({zone}, {time})"
        if rule.timezone != "UTC":
            moment = f"lbsf_instant({zone}, {time})"
            ambiguous = f"lbsf_ambiguous({zone}, {time})"
            skipped = f"lbsf_skipped({zone}, {time})"
    low, high = earliest(rule), latest(rule)
    checks = [
        Check(f"NOT ({filled})", column, shown, literal("no date")),
        Check(
            f"{alias} IS NULL",
            column,
            shown,
            literal(f"no date in the format {list(rule.formats)}"),
        ),
        Check(
            f"{alias} < TIMESTAMPTZ {literal(low.isoformat())}",
            column,
            shown,
            literal(f"date before {low:%Y-%m-%d}"),
        ),
        Check(
            f"{alias} > TIMESTAMPTZ {literal(high.isoformat())}",
            column,
            shown,
            literal(
                "date in the future" if rule.maximum is None else f"date after {high:%Y-%m-%d}"
            ),
        ),
    ]
    return Instant(moment, ambiguous, skipped, checks)


TIME_MACROS = (
    # A local time that happens twice has two instants less than three hours apart.
    """
    CREATE OR REPLACE MACRO lbsf_earlier(zone, local) AS
      CASE
        WHEN timezone(zone, timezone(zone, local) - INTERVAL 1 HOUR) = local
          THEN timezone(zone, local) - INTERVAL 1 HOUR
        WHEN timezone(zone, timezone(zone, local) - INTERVAL 30 MINUTE) = local
          THEN timezone(zone, local) - INTERVAL 30 MINUTE
        WHEN timezone(zone, timezone(zone, local) - INTERVAL 2 HOUR) = local
          THEN timezone(zone, local) - INTERVAL 2 HOUR
      END
    """,
    """
    CREATE OR REPLACE MACRO lbsf_ambiguous(zone, local) AS
      lbsf_earlier(zone, local) IS NOT NULL
      OR timezone(zone, timezone(zone, local) + INTERVAL 1 HOUR) = local
      OR timezone(zone, timezone(zone, local) + INTERVAL 30 MINUTE) = local
      OR timezone(zone, timezone(zone, local) + INTERVAL 2 HOUR) = local
    """,
    """
    CREATE OR REPLACE MACRO lbsf_skipped(zone, local) AS
      timezone(zone, timezone(zone, local)) <> local
    """,
    """
    CREATE OR REPLACE MACRO lbsf_instant(zone, local) AS
      coalesce(lbsf_earlier(zone, local), timezone(zone, local))
    """,
)
