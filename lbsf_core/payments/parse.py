"""The cells of a raw row become one payment or one reject: a mapping as a single SELECT.

The SELECT reads the relation `raw` (see `sources.batches`): `_line`, `_problem`, `_c0`, ...
"""

from __future__ import annotations

from collections.abc import Mapping as Mapped
from collections.abc import Sequence

import pyarrow as pa

from lbsf_core.payments.cells import Cells, Check, instant, text_tuple
from lbsf_core.payments.rules import NUMBER_KINDS, LabelRule, LabelsRule, Mapping, TimeRule
from lbsf_core.payments.schema import FieldKind
from lbsf_core.payments.sql import identifier, literal

BY_RULE = "left out by the mapping: "


def wanted_columns(mapping: Mapping) -> list[str]:
    """Every raw column that a mapping's payments need, once, in a fixed order."""
    amount, currency = mapping.amount, mapping.currency
    columns = [
        *mapping.user,
        *mapping.payment_id,
        *mapping.merchant.columns,
        *mapping.merchant.fallback,
        *mapping.description,
        *mapping.time.columns,
        amount.column,
        amount.direction,
        amount.out_column,
        amount.in_column,
        currency.column,
        *(extra.column for extra in mapping.extras),
    ]
    return [column for column in dict.fromkeys(columns) if column]


def _merchant(cells: Cells, mapping: Mapping) -> tuple[str, str, list[Check]]:
    """The text that the key is made of, the text as it stood, and what can be wrong."""
    rule = mapping.merchant
    full = " AND ".join(f"{cells.value(column)} IS NOT NULL" for column in rule.columns)

    def choose(first: str, second: str) -> str:
        return f"CASE WHEN {full} THEN {first} ELSE {second} END"

    def raws(columns: Sequence[str]) -> str:
        return f" || {literal(rule.joiner)} || ".join(cells.raw(column) for column in columns)

    fallback = cells.joined(rule.fallback, rule.joiner) if rule.fallback else "NULL"
    # Parts that hold nothing are left out of the raw text of a fallback too.
    parts = [
        f"CASE WHEN {cells.value(column)} IS NOT NULL THEN {cells.raw(column)} END"
        for column in rule.fallback
    ]
    raw_fallback = f"concat_ws({literal(rule.joiner)}, {', '.join(parts)})" if parts else "''"
    text = choose(cells.joined(rule.columns, rule.joiner), fallback)
    raw = choose(raws(rule.columns), raw_fallback)
    if rule.missing == "keep":
        return text, raw, []
    missing = "coalesce(lbsf_invisible(_merchant), true)"
    return (
        text,
        raw,
        [Check(missing, "+".join(rule.columns), raws(rule.columns), literal("no merchant"))],
    )


def _amount(cells: Cells, mapping: Mapping) -> tuple[str, list[Check]]:
    rule = mapping.amount
    if rule.sign == "two-columns":
        out, out_checks = cells.number(rule.out_column)
        into, in_checks = cells.number(rule.in_column)
        names = f"{rule.out_column}+{rule.in_column}"
        shown = f"{cells.raw(rule.out_column)} || ' | ' || {cells.raw(rule.in_column)}"
        amount = f"coalesce({into}, 0) - coalesce({out}, 0)"
        both = f"coalesce({into}, 0) <> 0 AND coalesce({out}, 0) <> 0"
        neither = f"{out} IS NULL AND {into} IS NULL"
        checks = [
            *out_checks,
            *in_checks,
            Check(both, names, shown, literal("money in and money out in one row")),
            Check(
                f"{out} < 0 OR {into} < 0",
                names,
                shown,
                literal("negative amount beside a direction"),
            ),
        ]
    else:
        number, checks = cells.number(rule.column)
        names, shown = rule.column, cells.raw(rule.column)
        neither = f"{cells.value(rule.column)} IS NULL"
        amount = f"-{number}" if rule.sign == "inverted" else number
        if rule.sign == "words":
            word = f"lower({cells.value(rule.direction)})"
            out_words = text_tuple([text.strip().lower() for text in rule.out_words])
            in_words = text_tuple([text.strip().lower() for text in rule.in_words])
            amount = f"CASE WHEN {word} IN {out_words} THEN -{number} ELSE {number} END"
            checks = [
                Check(
                    f"coalesce({word} NOT IN {out_words} AND {word} NOT IN {in_words}, true)",
                    rule.direction,
                    cells.raw(rule.direction),
                    literal("no word of `out_words` or `in_words`"),
                ),
                *checks,
                Check(f"{number} < 0", names, shown, literal("negative amount beside a direction")),
            ]
    if rule.null == "reject":
        checks = [Check(neither, names, shown, literal("no amount")), *checks]
    if rule.zero == "drop":
        checks.append(Check("amount = 0", names, shown, literal(BY_RULE + "zero amount")))
    # + 0.0 turns -0.0 into 0.0: equal amounts must be equal bytes.
    return f"coalesce({amount}, 0.0) + 0.0", checks


def _currency(cells: Cells, mapping: Mapping) -> tuple[str, list[Check]]:
    rule = mapping.currency
    if not rule.column:
        return literal(rule.code), []
    code = f"upper({cells.value(rule.column)})"
    shown = cells.raw(rule.column)
    well = f"coalesce(regexp_full_match({code}, '[A-Z]{{3}}'), false)"
    checks = [
        Check(f"NOT {well}", rule.column, shown, literal("no currency code of three letters"))
    ]
    if rule.only:
        other = f"{code} <> {literal(rule.only)}"
        checks.append(
            Check(other, rule.column, shown, literal(BY_RULE + f"currency is not {rule.only}"))
        )
    return code, checks


def _user(cells: Cells, columns: Sequence[str]) -> tuple[str, Check]:
    missing = " OR ".join(f"{cells.value(column)} IS NULL" for column in columns)
    shown = " || '-' || ".join(cells.raw(column) for column in columns)
    joined = " || '-' || ".join(cells.value(column) for column in columns)
    return joined, Check(missing, "+".join(columns), shown, literal("no user"))


def payments_select(mapping: Mapping, types: Mapped[str, pa.DataType]) -> str:
    """The SELECT from `raw` to payments and rejects.

    Columns: `_line`, `_id`, the payment columns (but `_merchant`, the text that the key is made
    of, instead of `merchant`), the extra fields, `_ambiguous`, `_skipped`, and
    `_reject`, a struct (column, value, reason) that is NULL for a payment.
    """
    cells = Cells(wanted_columns(mapping), types, mapping.file, mapping.words)
    user, user_check = _user(cells, mapping.user)
    time = instant(cells, mapping.time, mapping.name, "timestamp")
    merchant, merchant_raw, merchant_checks = _merchant(cells, mapping)
    amount, amount_checks = _amount(cells, mapping)
    currency, currency_checks = _currency(cells, mapping)
    columns = {
        "_id": cells.joined(mapping.payment_id, "|") if mapping.payment_id else "NULL",
        "user_id": user,
        "_merchant": merchant,
        "merchant_raw": merchant_raw,
        "description": (
            f"coalesce({cells.joined(mapping.description, ' ')}, '')"
            if mapping.description
            else "''"
        ),
        "timestamp": time.instant,
        "amount": amount,
        "currency": currency,
    }
    extra_checks: list[Check] = []
    for extra in mapping.extras:
        value = cells.value(extra.column)
        if extra.kind in NUMBER_KINDS:
            number, checks = cells.number(extra.column)
            columns[identifier(extra.name)] = f"{number} + 0.0"
            extra_checks += checks
        elif extra.kind is FieldKind.TIMESTAMP:
            rule = TimeRule((extra.column,), extra.formats, mapping.time.timezone)
            extra_time = instant(cells, rule, mapping.name, extra.name)
            columns[identifier(extra.name)] = extra_time.instant
            bad = f"{value} IS NOT NULL AND {identifier(extra.name)} IS NULL"
            extra_checks.append(
                Check(bad, extra.column, value, literal("no date in the extra field"))
            )
        else:
            columns[identifier(extra.name)] = f"coalesce({value}, '')"
    if mapping.payment_id:
        extra_checks.append(
            Check("_id IS NULL", "+".join(mapping.payment_id), "''", literal("no payment id"))
        )
    checks = [
        user_check,
        *time.checks,
        *amount_checks,
        *currency_checks,
        *merchant_checks,
        *extra_checks,
    ]
    columns |= {"_ambiguous": time.ambiguous, "_skipped": time.skipped}
    return _two_steps(cells, columns, checks)


def _two_steps(cells: Cells, columns: dict[str, str], checks: list[Check]) -> str:
    """Cells, then columns, then the first check that fails: each step sees the one before."""
    cases = ["WHEN _problem IS NOT NULL THEN " + _reject("", "''", "_problem")]
    for check in checks:
        reject = _reject(check.column, check.value, check.reason)
        cases.append(f"WHEN {check.condition} THEN {reject}")
    made = ", ".join(f"{expression} AS {name}" for name, expression in columns.items())
    parts = ["_line", *columns, f"CASE {' '.join(cases)} END AS _reject"]
    return (
        f"WITH cells AS ({cells.select()}), "  # noqa: S608 - see the module's first lines
        f"made AS (SELECT *, {made} FROM cells) SELECT {', '.join(parts)} FROM made"
    )


def _reject(column: str, value: str, reason: str) -> str:
    return (
        f"{{'column': {literal(column)}, 'value': left(coalesce({value}, ''), 500), "
        f"'reason': {reason}}}"
    )


def label_columns(rule: LabelsRule, label: LabelRule) -> list[str]:
    """Every raw column that the labels need, once."""
    return list(dict.fromkeys([*rule.user, *rule.cutoff.columns, label.column]))


def labels_select(
    mapping: Mapping, rule: LabelsRule, label: LabelRule, types: Mapped[str, pa.DataType]
) -> str:
    """The SELECT from `raw` to `_line`, `user_id`, `cutoff`, `label`, `_reject`."""
    cells = Cells(label_columns(rule, label), types, mapping.file, {})
    user, user_check = _user(cells, rule.user)
    time = instant(cells, rule.cutoff, mapping.name, "cutoff")
    value = f"lower({cells.value(label.column)})"
    bad = text_tuple([text.strip().lower() for text in label.bad])
    good = text_tuple([text.strip().lower() for text in label.good])
    columns = {
        "user_id": user,
        "cutoff": time.instant,
        "label": f"CASE WHEN {value} IN {bad} THEN 1 WHEN {value} IN {good} THEN 0 END",
    }
    checks = [
        user_check,
        *time.checks,
        Check(
            "label IS NULL", label.column, cells.raw(label.column), literal("neither bad nor good")
        ),
    ]
    return _two_steps(cells, columns, checks)
