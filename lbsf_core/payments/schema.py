"""What a payment is: the columns of `payments.parquet` and `labels.parquet`.

    user_id       text
    merchant      text, the normalised key that payments are folded by
    merchant_raw  text, as it stood in the source
    description   text, may be empty, never null
    timestamp     timestamp with time zone, stored UTC
    amount        number, signed: negative = money out, in the currency's major unit
    currency      text, three letters, or empty when the source names none
    ...           the extra fields of the mapping, each with its kind

The extra fields and the provenance travel in the Parquet file's key-value metadata under the
key `lbsf` (JSON), so that one file is enough.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lbsf_core.errors import IngestError

SCHEMA_VERSION = 1
METADATA_KEY = b"lbsf"


class FieldKind(StrEnum):
    """How a field is read and encoded."""

    TEXT = "text"
    CATEGORY = "category"
    AMOUNT = "amount"
    NUMBER = "number"
    TIMESTAMP = "timestamp"


@dataclass(frozen=True)
class Field:
    """One field of a payment: its column name and its kind."""

    name: str
    kind: FieldKind

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", FieldKind(self.kind))

    @property
    def is_string(self) -> bool:
        """Whether the column holds text."""
        return self.kind in (FieldKind.TEXT, FieldKind.CATEGORY)

    @property
    def sql_type(self) -> str:
        """The DuckDB type of the column."""
        if self.is_string:
            return "VARCHAR"
        return "TIMESTAMPTZ" if self.kind is FieldKind.TIMESTAMP else "DOUBLE"


CORE_FIELDS: tuple[Field, ...] = (
    Field("merchant", FieldKind.TEXT),
    Field("description", FieldKind.TEXT),
    Field("timestamp", FieldKind.TIMESTAMP),
    Field("amount", FieldKind.AMOUNT),
)
PAYMENT_COLUMNS: tuple[str, ...] = (
    "user_id",
    "merchant",
    "merchant_raw",
    "description",
    "timestamp",
    "amount",
    "currency",
)
LABEL_COLUMNS: tuple[str, ...] = ("user_id", "cutoff", "label")


@dataclass(frozen=True)
class PaymentsMetadata:
    """What `payments.parquet` or `labels.parquet` says about itself.

    Attributes:
        extra_fields: fields beyond the core ones, in column order.
        currency: the one currency of every amount; empty when the source names none.
        timezone: the zone that local times were read in.
        simulated: true only for `lbsf simulate`; shown wherever a figure on it is shown.
        label: what the label means, in words (labels only).
        proxy: true when the label stands in for a default and is none (labels only).
        sources: name, SHA-256 and rows of each raw file.
    """

    extra_fields: tuple[Field, ...] = ()
    currency: str = ""
    timezone: str = "UTC"
    simulated: bool = False
    label: str = ""
    proxy: bool = False
    sources: tuple[dict[str, Any], ...] = ()
    schema_version: int = field(default=SCHEMA_VERSION)

    def to_json(self) -> str:
        """The metadata as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> PaymentsMetadata:
        """Read the metadata back."""
        data = json.loads(text)
        data["extra_fields"] = tuple(Field(**entry) for entry in data.get("extra_fields", ()))
        data["sources"] = tuple(data.get("sources", ()))
        return cls(**data)


def read_metadata(path: str | Path) -> PaymentsMetadata:
    """The metadata of a `payments.parquet` or `labels.parquet`.

    A Parquet file without metadata is taken as it is (core columns, no currency), so that
    files made by other tools with the right columns work too.

    Raises:
        IngestError: the file is missing, is no Parquet, or was written by another schema version.
    """
    path = Path(path)
    try:
        raw = pq.read_schema(path).metadata or {}
    except FileNotFoundError as error:
        raise IngestError(f"{path}: no such file.") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise IngestError(f"{path}: is no readable Parquet file ({error}).") from error
    if METADATA_KEY not in raw:
        return PaymentsMetadata()
    version = json.loads(raw[METADATA_KEY]).get("schema_version")
    if version != SCHEMA_VERSION:
        raise IngestError(
            f"{path}: schema version {version}, this lbsf reads {SCHEMA_VERSION}. "
            "Run `lbsf ingest` on the raw files again."
        )
    return PaymentsMetadata.from_json(raw[METADATA_KEY])


def quote_identifier(name: str) -> str:
    """A column name for SQL text, where DuckDB takes no parameter."""
    return '"' + name.replace('"', '""') + '"'
