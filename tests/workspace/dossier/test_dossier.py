"""Dossiers: the page says what was found, nothing in a name runs, and replay finds every change."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pypdf
import pytest

from lbsf_core.errors import DossierError
from lbsf_core.workspace import Case, Workspace
from lbsf_core.workspace.dossier import (
    Question,
    html_page,
    make_dossier,
    pdf_page,
    read_dossier,
    replay,
)
from lbsf_core.workspace.dossier.view import view

AT = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)
EVIL = "</script><script>alert(1)</script>\u202e<img src=http://evil/x>"


@pytest.fixture(scope="module")
def workspace(tiny_workspace: Path) -> Workspace:
    return Workspace.open(tiny_workspace)


@pytest.fixture(scope="module")
def case(workspace: Workspace) -> Case:
    return workspace.case(str(workspace.queue(limit=1)["user_id"].iloc[0]))


def removal(workspace: Workspace, case: Case) -> Question:
    name = workspace.explanation(case).merchants[0]
    edits = ({"kind": "remove", "merchant": name}, {"kind": "window", "days": 30})
    return Question.about(case, method="removal", opened=(name,), edits=edits)


@pytest.fixture(scope="module")
def dossier(workspace: Workspace, case: Case) -> dict[str, Any]:
    return make_dossier(workspace, removal(workspace, case), by="A. Nalyst", at=AT)


@pytest.fixture
def file(dossier: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "case.html"
    path.write_text(html_page(dossier), encoding="utf-8")
    return path


def test_it_holds_what_the_workspace_says(
    workspace: Workspace, case: Case, dossier: dict[str, Any]
) -> None:
    said = dossier["said"]
    assert said["case"]["user_id"] == case.user_id and said["case"]["pd"] == case.pd
    assert len(said["payments"]["rows"]) == case.payments
    assert said["payments"]["columns"][:4] == ["merchant", "timestamp", "amount", "description"]
    total = sum(one["attribution"] for one in said["explanation"]["merchants"])
    distance = said["explanation"]["logit"] - said["explanation"]["baseline_logit"]
    assert total == pytest.approx(distance, abs=1e-3)
    assert said["reasons"]["given"] is True
    assert said["what_if"]["pd"]["before"] == pytest.approx(case.pd, abs=1e-5)
    assert dossier["made"] == {"at": "2026-11-25T12:30:00+00:00", "by": "A. Nalyst"}
    assert dossier["from"]["store"] == workspace.store.digest
    assert Question.from_dict(dossier["asked"]) == removal(workspace, case)
    json.dumps(dossier, allow_nan=False)


@pytest.mark.parametrize("method", ["gradient", "removal"])
def test_asked_again_the_same_comes_out(
    workspace: Workspace, case: Case, tmp_path: Path, method: str
) -> None:
    path = tmp_path / "case.html"
    path.write_bytes(workspace.dossier(case, by="me", method=method))
    found = replay(path, workspace)
    assert found.differences == () and found.largest <= 1e-6
    assert found.numbers > 100
    assert not found.other_code


def test_the_page_is_made_of_the_data_alone(dossier: dict[str, Any], file: Path) -> None:
    assert read_dossier(file) == json.loads(json.dumps(dossier))
    assert html_page(read_dossier(file)) == file.read_text(encoding="utf-8")


def changed(file: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The same dossier after a change of its data, the page made to fit."""
    data = read_dossier(file)
    change(data)
    file.write_text(html_page(data), encoding="utf-8")
    return file


def test_other_data_or_another_model_is_refused_with_the_reason(
    workspace: Workspace, dossier: dict[str, Any], file: Path
) -> None:
    for part, words in (("store", "other payments than"), ("bundle", "other model than")):

        def move(data: dict[str, Any], part: str = part) -> None:
            data["from"] = dossier["from"] | {part: "0" * 64}

        with pytest.raises(DossierError, match=words):
            replay(changed(file, move), workspace)


def test_a_number_that_was_changed_is_found(workspace: Workspace, file: Path) -> None:
    def lower(data: dict[str, Any]) -> None:
        data["said"]["case"]["pd"] -= 0.01

    found = replay(changed(file, lower), workspace)
    assert found.largest == pytest.approx(0.01)
    assert found.where == "said.case.pd"
    assert len(found.differences) == 1 and found.differences[0].startswith("said.case.pd: ")


def test_a_word_and_a_missing_part_are_found(workspace: Workspace, file: Path) -> None:
    def edit(data: dict[str, Any]) -> None:
        data["said"]["case"]["label"] = "saint"
        del data["said"]["reasons"]["tested"]
        data["said"]["payments"]["rows"].pop()

    found = replay(changed(file, edit), workspace)
    places = [words.split(":")[0] for words in found.differences]
    assert places == ["said.case.label", "said.payments.rows", "said.reasons.tested"]


def test_a_page_that_says_something_else_than_its_data_is_refused(
    workspace: Workspace, file: Path
) -> None:
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("probability of default", "probability of profit"), "utf-8")
    with pytest.raises(DossierError, match="changed after it was made"):
        replay(file, workspace)


def test_of_another_version_of_lbsf_numbers_are_compared_but_not_the_page(
    workspace: Workspace, file: Path
) -> None:
    def older(data: dict[str, Any]) -> None:
        data["from"] = data["from"] | {"code": "f" * 64}

    text = changed(file, older).read_text(encoding="utf-8")
    file.write_text(text.replace("probability of default", "chance of default"), "utf-8")
    found = replay(file, workspace)
    assert found.other_code and found.differences == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html><body>hello</body></html>", "holds no dossier's data"),
        (b'<script type="application/json" id="dossier">{}</script>', "dossier version None"),
        (b"\xff\xfe", "can't be read"),
        (b'<script id="dossier">[1]</script>', "dossier version None"),
    ],
)
def test_what_is_no_dossier_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "x.html"
    path.write_bytes(content)
    with pytest.raises(DossierError, match=words):
        read_dossier(path)
    with pytest.raises(DossierError, match="can't be read"):
        read_dossier(tmp_path / "none.html")


def hostile(dossier: dict[str, Any]) -> dict[str, Any]:
    """The dossier with every text from data replaced by one that would like to run."""
    data: dict[str, Any] = json.loads(json.dumps(dossier))
    data["said"]["case"]["user_id"] = data["made"]["by"] = EVIL
    for one in data["said"]["explanation"]["merchants"]:
        one["merchant"] = EVIL
    for row in data["said"]["payments"]["rows"]:
        row[0] = row[3] = EVIL
    for one in data["said"]["reasons"]["risk"] + data["said"]["reasons"]["protective"]:
        one["text"] = EVIL
    return data


def test_nothing_in_a_name_runs_or_is_fetched(dossier: dict[str, Any], tmp_path: Path) -> None:
    data = hostile(dossier)
    text = html_page(data)
    assert text.count("<script") == 1 and text.count("</script>") == 1
    assert "<img" not in text and "\u202e" not in text.split("<script")[0]
    assert "‹U+202E›" in text
    assert "default-src 'none'" in text
    (tmp_path / "x.html").write_text(text, encoding="utf-8")
    assert read_dossier(tmp_path / "x.html") == data  # letter for letter
    assert len(pypdf.PdfReader(io.BytesIO(pdf_page(data))).pages) >= 1


def test_the_pdf_says_the_same_on_one_page(dossier: dict[str, Any], case: Case) -> None:
    content = pdf_page(dossier)
    assert content == pdf_page(dossier)
    pages = pypdf.PdfReader(io.BytesIO(content)).pages
    text = " ".join(page.extract_text() for page in pages)
    shown = view(dossier)
    assert len(pages) == 1
    words = (shown.title, shown.pd, "A. Nalyst", dossier["from"]["store"], shown.lanes[0].name)
    for word in words:
        assert word in text
    assert case.user_id in text


def test_a_view_draws_the_strongest_first_and_adds_up_the_rest(
    workspace: Workspace, case: Case
) -> None:
    found = make_dossier(workspace, Question.about(case), by="me")
    shown = view(found)
    merchants = found["said"]["explanation"]["merchants"]
    sizes = sorted((abs(one["attribution"]) for one in merchants), reverse=True)
    assert len(shown.lanes) == min(12, len(merchants))
    assert shown.lanes[0].effect.lstrip("+−") == f"{sizes[0]:.3f}"
    for lane in shown.lanes:
        assert 0 <= lane.bar[0] <= lane.bar[1] <= 1
        assert shown.zero in (pytest.approx(lane.bar[0]), pytest.approx(lane.bar[1]))
        assert all(0 <= when < 1 and 0 <= size <= 1 for when, size, _ in lane.dots)
        assert len(lane.dots) == int(lane.payments)
    assert not shown.sampled and shown.what_if == ()


def test_a_broken_sum_and_an_empty_history_are_said(dossier: dict[str, Any]) -> None:
    data = json.loads(json.dumps(dossier))
    data["said"]["explanation"]["problems"] = ["Merchants miss the score by +0.2000."]
    shown = view(data)
    assert not shown.adds_up and "Does not add up" in shown.summed
    said = data["said"]
    said["explanation"] |= {"merchants": [], "problems": []}
    said["payments"]["rows"], said["reasons"]["risk"], said["reasons"]["protective"] = [], [], []
    said["case"] |= {"payments": 0, "first_payment": None, "window_start": None}
    empty = view(data)
    assert empty.lanes == () and empty.cited == () and empty.rest == ""
    assert "No payments by themselves raise this score" in html_page(data)
    assert pdf_page(data).startswith(b"%PDF")


def test_an_unknown_question_is_an_error(case: Case) -> None:
    asked = Question.about(case).to_dict()
    for broken in (asked | {"colour": "red"}, {k: v for k, v in asked.items() if k != "opened"}):
        with pytest.raises(DossierError, match="incomplete"):
            Question.from_dict(broken)
    assert replace(Question.about(case), language="de").to_dict()["language"] == "de"
