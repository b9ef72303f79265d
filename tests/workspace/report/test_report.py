"""A report of cohorts: the comparison's figures in words, and no name that is markup."""

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


def test_reasons_and_spend_are_those_of_the_comparison(
    workspace: Workspace, report: Report
) -> None:
    tables = {table.title: table for table in report.tables}
    sides = {"Reasons why risky": "risk", "Reasons that speak for them": "protective"}
    for title, side in sides.items():
        mix, rows = workspace.compare_reasons(A, B, side), tables[title].rows
        assert rows and len(rows) == min(len(mix), 12)
        assert rows[0][0].endswith(mix["code"][0].replace("-", " "))
        assert rows[0][0].startswith(mix["kind"][0])
        assert rows[0][2].startswith(f"{mix['share_b'][0]:.1%} ({mix['lo_b'][0]:.1%} to ")
        assert [row[3] for row in rows] == [("no", "yes")[int(s)] for s in mix["significant"]][:12]
    spend = workspace.compare(A, B, ("Risky", EVIL_TAG)).spend
    first = spend[(spend["cohort"] == "Risky")].sort_values("month").iloc[0]
    row = next(r for r in tables["Spend over time"].rows if r[0] == f"{first['month']:%Y-%m}")
    assert row[1] == f"{first['spend']:,.2f}"


def test_others_stand_beside_the_two(workspace: Workspace, report: Report) -> None:
    four = make_report(
        workspace, A, B, ("Risky", EVIL_TAG), words=("a", "b", "c", "d"), by="me", at=AT,
        beside=(("Middle", SampleFilter(bands=("medium",))), ("All", SampleFilter())),
    )  # fmt: skip
    assert four.title == f"{report.title}, beside Middle and All"
    assert [name for name, _ in four.cohorts][2:] == ["Middle", "All"]
    assert [words for _, words in four.cohorts] == ["a", "b", "c", "d"]
    tables = {table.title: table for table in four.tables}
    before = {table.title: table for table in report.tables}
    for title in ("Who they are", "How the scores do inside each"):
        assert tables[title].rows[:2] == before[title].rows
        assert [row[0] for row in tables[title].rows[2:]] == ["Middle", "All"]
    assert tables["Who they are"].rows[3][1] == f"{workspace.summary().samples:,}"
    shares = tables["Score distribution"]
    assert shares.head[-2:] == ("Middle", "All")
    for side in range(1, 5):
        assert sum(float(r[side].rstrip("%")) for r in shares.rows) == pytest.approx(100, abs=0.6)
    assert tables["Where they pay"] == before["Where they pay"]
    assert all(len(row) == len(table.head) for table in four.tables for row in table.rows)
    assert pdf_report(four).startswith(b"%PDF")


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
