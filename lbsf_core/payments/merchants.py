r"""The merchant key: one normalisation, in SQL, so that it runs out of core and nowhere twice.

In this order, on the text as it stood in the source:

1. control, zero-width and direction-changing characters are taken out (tabs and line ends count
   as spaces); the raw text is kept elsewhere, in `merchant_raw`;
2. accents are taken off and letters made small, so that NFC and NFD, `CAFÉ` and `cafe` agree;
3. apostrophes are taken out (`Sainsbury's` -> `sainsburys`), `&` becomes ` and `;
4. unless numbers are to be kept: `#12` is a store number and goes;
5. everything that is no letter, digit or mark becomes one space;
6. unless numbers are to be kept: a word with three or more digits is a store, terminal or
   reference number and goes (`tesco stores 3056` -> `tesco stores`; `studio 54` and `7 eleven`
   stay).

If step 4 to 6 would leave nothing, the text after the last step that left something is the key
(`1234` stays `1234`, `!!!` stays `!!!`). Text without any visible character has no key: NULL.

The function is deterministic, and idempotent: the key of a key is that key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:  # who only draws a page names merchants and asks no SQL
    import duckdb

NO_MERCHANT = "(no merchant)"
"""The key of payments without any merchant; no other text can normalise to it."""

_MACROS = (
    # Cc: tab and line ends separate words; the other controls and Cf (zero-width, bidi) do not.
    r"""
    CREATE OR REPLACE MACRO lbsf_fold_text(t) AS
      trim(regexp_replace(
        nfc_normalize(lower(strip_accents(lower(
          regexp_replace(
            regexp_replace(t, '[\t\n\v\f\r\x{85}\p{Z}]+', ' ', 'g'),
            '[\p{Cc}\p{Cf}\p{Co}]+', '', 'g'))))),
        ' +', ' ', 'g'))
    """,
    r"""
    CREATE OR REPLACE MACRO lbsf_words(t) AS
      trim(regexp_replace(t, '[^\p{L}\p{N}\p{M}]+', ' ', 'g'))
    """,
    r"""
    CREATE OR REPLACE MACRO lbsf_spell_out(t) AS
      replace(regexp_replace(t, '[''’‘ʼ`´]', '', 'g'), '&', ' and ')
    """,
    r"""
    CREATE OR REPLACE MACRO lbsf_strip_numbers(t) AS
      trim(regexp_replace(
        lbsf_words(regexp_replace(t, '#+ ?\p{Nd}+', ' ', 'g')),
        '(^| )[^ ]*\p{Nd}[^ ]*\p{Nd}[^ ]*\p{Nd}[^ ]*', '', 'g'))
    """,
    # A mark alone has nothing to stand on: taking accents off leaves nothing.
    r"""
    CREATE OR REPLACE MACRO lbsf_invisible(t) AS
      regexp_full_match(t, '[\p{Cc}\p{Cf}\p{Co}\p{Z}\p{M}]*')
    """,
    """
    CREATE OR REPLACE MACRO lbsf_merchant_keep(t) AS
      coalesce(
        nullif(lbsf_words(lbsf_spell_out(lbsf_fold_text(t))), ''),
        nullif(lbsf_fold_text(t), ''))
    """,
    """
    CREATE OR REPLACE MACRO lbsf_merchant(t) AS
      coalesce(
        nullif(lbsf_strip_numbers(lbsf_spell_out(lbsf_fold_text(t))), ''),
        lbsf_merchant_keep(t))
    """,
)


def create_macros(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the macros known to this connection.

    `lbsf_merchant(text)` and `lbsf_merchant_keep(text)` give the key without and with numbers,
    `lbsf_invisible(text)` says cheaply whether there is none. A key costs about 3 µs, so a
    caller with many payments asks for each distinct text once.
    """
    cursor = connection.cursor()
    for macro in _MACROS:
        cursor.execute(macro)
    cursor.close()


def normalise_merchants(names: Sequence[str], *, numbers: str = "strip") -> list[str | None]:
    """The merchant key of each name, by the same SQL that the ingest runs.

    Args:
        names: raw merchant texts, (n,).
        numbers: "strip" or "keep" store numbers.

    Returns:
        The keys, (n,), in the same order; None where the name holds no visible character.

    Source: issue 2, "Merchant normalisation".
    """
    import duckdb

    macro = {"strip": "lbsf_merchant", "keep": "lbsf_merchant_keep"}[numbers]
    with duckdb.connect(config={"threads": "1"}) as connection:
        create_macros(connection)
        table = pa.table({"name": pa.array(names, pa.string()), "row": range(len(names))})
        connection.register("names", table)
        query = f"SELECT {macro}(name) FROM names ORDER BY row"  # noqa: S608 - one of two words
        return [row[0] for row in connection.execute(query).fetchall()]
