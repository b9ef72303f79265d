"""Labels: one row a sample, a value of 0 or 1, and what they mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbsf_core.errors import IngestError
from lbsf_core.payments.labels import ingest_labels
from lbsf_core.payments.schema import LABEL_COLUMNS, read_metadata
from tests.payments.raw_files import SIMPLE, mapping, read, rejects, write

LABELS = """
[labels]
user = "user"
cutoff = "day"
formats = ["%Y-%m-%d"]
timezone = "UTC"
[[labels.label]]
name = "bad"
column = "status"
bad = ["B", "d"]
good = ["A"]
meaning = "not paid back"
[[labels.label]]
name = "other"
bad = ["1"]
good = ["0"]
meaning = "stopped"
proxy = true
"""
HEADER = "user,day,status,other"
ROWS = ["b,2020-01-02, b ,0", "a,2020-01-01,A,1", "b,2020-01-01,D,1", "a,2020-01-01,A,1"]


def test_labels_from_end_to_end(tmp_path: Path) -> None:
    raw, out = write(tmp_path / "raw.csv", *ROWS, header=HEADER), tmp_path / "labels.parquet"
    summary = ingest_labels([raw], mapping(SIMPLE + LABELS), out)
    assert read(out, ", ".join(LABEL_COLUMNS)) == [
        ("a", "2020-01-01 00:00:00+00", 0),
        ("b", "2020-01-01 00:00:00+00", 1),
        ("b", "2020-01-02 00:00:00+00", 1),
    ]
    assert (summary.read, summary.kept, summary.duplicates, summary.bad) == (4, 3, 1, 2)
    assert (summary.users, summary.label, summary.proxy) == (2, "bad", False)
    assert ("label 1", "2 (66.7%)") in summary.rows()
    metadata = read_metadata(out)
    assert (metadata.label, metadata.proxy) == ("not paid back", False)
    assert metadata.sources[0]["rows"] == 4


def test_another_label_is_chosen_by_name(tmp_path: Path) -> None:
    raw, out = write(tmp_path / "raw.csv", *ROWS, header=HEADER), tmp_path / "labels.parquet"
    summary = ingest_labels([raw], mapping(SIMPLE + LABELS), out, label="other")
    assert [row[0] for row in read(out, "label")] == [1, 1, 0]
    assert ("label", "other: stopped (a proxy, not a default)") in summary.rows()
    assert read_metadata(out).proxy
    with pytest.raises(IngestError, match=r"No label is called 'x'"):
        ingest_labels([raw], mapping(SIMPLE + LABELS), out, label="x")


def test_values_that_are_neither_good_nor_bad_are_rejects(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw.csv", *ROWS, "c,2020-01-01,E,0", ",x,A,0", header=HEADER)
    out = tmp_path / "labels.parquet"
    with pytest.raises(IngestError, match=r"line 6, column 'status': 'E': neither bad nor good"):
        ingest_labels([raw], mapping(SIMPLE + LABELS), out)
    assert not out.exists()
    ingest_labels([raw], mapping(SIMPLE + LABELS), out, max_reject_share=0.5)
    assert rejects(out) == [
        ("raw.csv", 6, "status", "E", "neither bad nor good"),
        ("raw.csv", 7, "user", "", "no user"),
    ]


def test_a_sample_with_two_labels_is_refused(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw.csv", *ROWS, "a,2020-01-01,B,1", header=HEADER)
    with pytest.raises(IngestError, match=r"lines 3 and 6: user 'a' has two labels at 2020-01-01"):
        ingest_labels([raw], mapping(SIMPLE + LABELS), tmp_path / "labels.parquet")


def test_a_mapping_without_labels(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match=r"has no \[labels\] table"):
        ingest_labels([tmp_path / "raw.csv"], mapping(), tmp_path / "labels.parquet")
