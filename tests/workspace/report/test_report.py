"""A report of two cohorts: the comparison's figures in words, and no name that is markup."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lbsf_core.workspace import SampleFilter, Workspace
from lbsf_core.workspace.report import Report, html_report, make_report, pdf_report
from tests.dashboard.fake_workspace import EVIL_TAG

A, B = SampleFilter(bands=("high", "very high")), SampleFilter(bands=("very low", "low"))
AT = datetime(2024, 5, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def workspace(tiny_workspace: Path) -> Workspace:
    return Workspace.open(tiny_workspace)


@pytest.fixture(scope="module")
def report(workspace: Workspace) -> Report:
    words = ("band high", "band low")
    return make_report(workspace, A, B, ("Risky", EVIL_TAG), words=words, by="A. Nalyst", at=AT)


def test_it_says_what_the_comparison_found(workspace: Workspace, report: Report) -> None:
    found = workspace.compare(A, B, ("Risky", EVIL_TAG))
    tables = {table.title: table for table in report.tables}
    sizes = tables["Who they are"].rows
    assert [row[1] for row in sizes] == [f"{n:,}" for n in found.sizes["samples"]]
    assert sizes[0][7] == f"{found.sizes['mean_pd'][0]:.1%}"
    assert len(tables["How the scores do inside each"].rows) == 2
    kinds = workspace.compare_importance(A, B, "kind")
    first = tables["What moves the scores: kinds of merchants"].rows[0]
    assert first[0] == kinds["group"][0]
    assert first[1].startswith(f"{kinds['mean_a'][0]:+.3f}".replace("-", "−"))
    shares = [tuple(row[1:]) for row in tables["Score distribution"].rows]
    for side in (0, 1):
        assert sum(float(row[side].rstrip("%")) for row in shares) == pytest.approx(100, abs=0.5)
    assert all(len(row) == len(table.head) for table in report.tables for row in table.rows)
    assert ("Made by", "A. Nalyst") in report.made
    assert report.notes[0].startswith("Simulated payments")


def test_the_page_needs_nothing_beside_it_and_names_are_letters(report: Report) -> None:
    page = html_report(report)
    assert "<script" not in page and "src=" not in page.replace("src=x", "")
    assert not re.search(r"(href|url)\s*[=(]", page)
    assert "<img" not in page and "&lt;img" in page
    assert "default-src 'none'" in page


def test_the_pdf_is_one(workspace: Workspace, report: Report) -> None:
    assert pdf_report(report).startswith(b"%PDF")
    asked = {"words": ("all", "nobody"), "by": "me"}
    nobody = SampleFilter(user="nobody")
    for form, begin in (("html", b"<!doctype html>"), ("pdf", b"%PDF")):
        page = workspace.cohort_report(SampleFilter(), nobody, ("A", "B"), form=form, **asked)
        assert page.startswith(begin), "an empty cohort is no reason to fail"
