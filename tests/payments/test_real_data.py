"""The real files beside the repository go through the mappings that ship, without one reject."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbsf_core.payments.ingest import ingest
from lbsf_core.payments.labels import ingest_labels
from tests.payments.raw_files import read


@pytest.mark.parametrize(
    ("name", "mapping", "payments", "users", "days"),
    [
        ("berka/trans.csv", "berka", 30_200, 354, ("1995-04-19", "1998-12-05")),
        (
            "berka/trans_1993_other_export.csv",
            "berka-1993",
            28_205,
            1_139,
            ("1993-01-01", "1993-12-31"),
        ),
        (
            "birmingham/payments.parquet",
            "birmingham",
            131_894,
            1_356,
            ("2013-11-12", "2017-01-31"),
        ),
    ],
)
def test_payments(
    shared_data: Path,
    tmp_path: Path,
    name: str,
    mapping: str,
    payments: int,
    users: int,
    days: tuple[str, str],
) -> None:
    summary = ingest([shared_data / name], mapping, tmp_path / "out.parquet")
    assert (summary.read, summary.kept, summary.users) == (payments, payments, users)
    assert summary.rejected == summary.left_out == {}
    assert ("dates", " to ".join(days)) in summary.rows()


def test_both_berka_exports_speak_the_same_words(shared_data: Path, tmp_path: Path) -> None:
    found = {}
    for name, mapping in (("trans.csv", "berka"), ("trans_1993_other_export.csv", "berka-1993")):
        out = tmp_path / "out.parquet"
        ingest([shared_data / "berka" / name], mapping, out)
        found[mapping] = set(read(out, "DISTINCT operation, k_symbol"))
    new = found["berka-1993"] - found["berka"]
    assert {operation for operation, _ in new} <= {x for x, _ in found["berka"]}
    assert {symbol for _, symbol in new} <= {"old-age pension", "loan payment"}


@pytest.mark.parametrize(
    ("name", "mapping", "label", "samples", "bad"),
    [
        ("berka/loan.asc", "berka", None, 354, 30),
        ("birmingham/labels.parquet", "birmingham", None, 3_168, 214),
        ("birmingham/labels.parquet", "birmingham", "label_drop120", 3_168, 482),
    ],
)
def test_labels(
    shared_data: Path,
    tmp_path: Path,
    name: str,
    mapping: str,
    label: str | None,
    samples: int,
    bad: int,
) -> None:
    out = tmp_path / "labels.parquet"
    summary = ingest_labels([shared_data / name], mapping, out, label=label)
    assert (summary.read, summary.kept, summary.bad) == (samples, samples, bad)
    assert summary.rejected == {}
    assert summary.proxy == (mapping == "birmingham")
