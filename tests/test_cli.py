"""The command line, end to end: what a newcomer types, on simulated and on real payments."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from lbsf_core.cli import app, main
from lbsf_core.errors import LbsfError
from lbsf_core.explain.result import TOLERANCE
from lbsf_core.model.bundle import Bundle
from lbsf_core.workspace import Workspace
from lbsf_core.workspace.dossier import html_page, read_dossier

runner = CliRunner()


def lbsf(*arguments: object) -> Result:
    result = runner.invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def check_tree(found: dict) -> None:
    """Every sum of the printed tree, by plain addition (issue 2, acceptance 5)."""
    total = sum(m["attribution"] for m in found["merchants"])
    assert total == pytest.approx(found["logit"] - found["baseline_logit"], abs=TOLERANCE)
    for merchant in found["merchants"]:
        paid = sum(p["attribution"] for p in merchant["payments"])
        assert paid == pytest.approx(merchant["attribution"], abs=TOLERANCE)
        for payment in merchant["payments"]:
            fields = sum(payment["fields"].values())
            assert fields == pytest.approx(payment["attribution"], abs=TOLERANCE)
    assert sum(m["weight"] for m in found["merchants"]) == pytest.approx(1, abs=1e-5)
    names, weights = found["relations"]["merchants"], found["relations"]["weights"]
    assert names == [m["merchant"] for m in found["merchants"]]
    assert all(sum(row) == pytest.approx(1, abs=1e-5) for row in weights)


def test_from_payments_to_an_explained_score(tmp_path: Path) -> None:
    raw, store, bundle = tmp_path / "raw", tmp_path / "store", tmp_path / "bundle"
    lbsf("simulate", raw, "--users", 60, "--seed", 3)
    labels = ["--labels", raw / "labels.parquet"]
    lbsf("fold", raw / "payments.parquet", *labels, "--out", store, "--window-days", 60)
    lbsf("train", store, "--out", bundle, "--epochs", 1, "--width", 16)
    lbsf("score", store, bundle, "--out", tmp_path / "scores.parquet")
    scores = pd.read_parquet(tmp_path / "scores.parquet")
    assert list(scores.columns) == ["sample", "user_id", "cutoff", "label", "logit", "pd"]
    assert scores["pd"].between(0, 1, inclusive="neither").all()
    user = scores["user_id"].iloc[0]
    found = json.loads(lbsf("explain", store, bundle, "--user", user, "--json").stdout)
    assert found["user"] == user
    assert found["pd"] == pytest.approx(scores["pd"].iloc[0], abs=1e-6)
    check_tree(found)
    lbsf("explain", store, bundle, "--user", user)
    merchant = found["merchants"][0]["merchant"]
    asked = ("--user", user, "--method", "removal", "--merchant", merchant, "--budget", 60)
    removal = json.loads(lbsf("explain", store, bundle, *asked, "--json").stdout)
    assert removal["logit"] == pytest.approx(found["logit"], abs=1e-5)
    assert abs(removal["delta"]) <= 1e-3
    values = {row["merchant"]: row for row in removal["merchants"]}
    assert list(values) == [row["merchant"] for row in found["merchants"]]
    inside = sum(payment["attribution"] for payment in values[merchant]["payments"])
    assert inside == pytest.approx(values[merchant]["attribution"], abs=1e-3)
    lbsf("explain", store, bundle, *asked)
    looked = json.loads(lbsf("attention", store, bundle, "--user", user, "--json").stdout)
    assert [m["merchant"] for m in looked["merchants"]] == list(values)
    together = json.loads(lbsf("pairs", store, bundle, "--user", user, "--json").stdout)["pairs"]
    assert len(together) == len(values) * (len(values) - 1) // 2
    for command in ("attention", "pairs"):
        lbsf(command, store, bundle, "--user", user)
    for method in ("gradient", "removal"):
        typical = ("--user", user, "--method", method, "--baseline", "typical user", "--json")
        held = json.loads(lbsf("explain", store, bundle, *typical).stdout)
        assert held["baseline"].startswith("user ")
        assert held["problems"] == []
    faith = lbsf("faithfulness", store, bundle, "--users", 3, "--json")
    measured = json.loads(faith.stdout)
    assert {"methods", "differences", "payments", "stability"} <= set(measured)
    assert Bundle.load(bundle).faithfulness == {}
    lbsf("faithfulness", store, bundle, "--users", 2, "--keep")
    assert Bundle.load(bundle).faithfulness["default"] in measured["methods"]
    cause = json.loads(lbsf("planted", store, bundle, raw / "causes.parquet", "--json").stdout)
    assert cause["samples"] >= 1
    lbsf("planted", store, bundle, raw / "causes.parquet")
    lbsf("workspace", store, bundle, "--out", tmp_path / "workspace", "--name", "From the tests")
    assert (tmp_path / "workspace" / "manifest.json").is_file()
    cv = lbsf(
        *("evaluate", store, "--cv", 2, "--repeats", 2, "--epochs", 1, "--json"),
        *("--out", tmp_path / "evaluation"),
    )
    report = json.loads(cv.stdout)
    assert set(report["metrics"]) == {
        *("AUC", "KS", "PR-AUC", "Brier", "ECE", "Top-decile capture", "Calibration slope")
    }
    assert len(report["by_repeat"]["AUC"]) == 2
    lbsf(
        *("workspace", store, bundle, "--out", tmp_path / "workspace"),
        *("--evaluation", tmp_path / "evaluation"),
    )


def test_a_real_loan_is_explained(shared_data: Path, tmp_path: Path) -> None:
    berka = shared_data / "berka"
    payments, labels = tmp_path / "payments.parquet", tmp_path / "labels.parquet"
    store, bundle = tmp_path / "store", tmp_path / "bundle"
    lbsf("ingest", berka / "trans.csv", "--mapping", "berka", "--out", payments)
    lbsf("ingest-labels", berka / "loan.asc", "--mapping", "berka", "--out", labels)
    lbsf("fold", payments, "--labels", labels, "--out", store)
    lbsf("train", store, "--out", bundle, "--epochs", 2)
    known = pd.read_parquet(labels)
    user = known.loc[known["label"] == 1, "user_id"].iloc[0]
    found = json.loads(lbsf("explain", store, bundle, "--user", user, "--json").stdout)
    assert {"user", "cutoff", "logit", "baseline_logit", "pd", "delta"} <= set(found)
    check_tree(found)
    last = max(p["timestamp"] for m in found["merchants"] for p in m["payments"])
    assert pd.Timestamp(last) < pd.Timestamp(found["cutoff"])


def test_an_error_is_one_sentence_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["lbsf", "score", str(tmp_path), "b", "--out", "s.parquet"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == LbsfError.exit_code
    said = " ".join(capsys.readouterr().err.split())
    assert "is no folded store" in said
    assert "lbsf fold" in said
    assert "Traceback" not in said


def test_demo_prepares_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lbsf_core import demo

    built = []
    monkeypatch.setattr(demo, "fold", lambda *_: built.append("fold"))

    def build(store: Path, bundle: Path, out: Path, **_: object) -> None:
        out.mkdir(parents=True)
        built.append("workspace")

    monkeypatch.setattr("lbsf_core.workspace.build.build_workspace", build)
    monkeypatch.setattr(demo.Workspace, "open", lambda path: None)
    ready = demo.prepare(tmp_path / "demo")
    assert demo.prepare(tmp_path / "demo") == ready
    assert built == ["fold", "workspace"]


def test_pretrained_compared_and_scored_at_another_default_rate(tmp_path: Path) -> None:
    raw, store = tmp_path / "raw", tmp_path / "store"
    lbsf("simulate", raw, "--users", 80, "--seed", 3)
    labels = ["--labels", raw / "labels.parquet"]
    lbsf("fold", raw / "payments.parquet", *labels, "--out", store, "--window-days", 30)
    pretrained, bundle = tmp_path / "pretrained", tmp_path / "bundle"
    with pytest.raises(LbsfError, match="no user is left"):
        lbsf(
            *("pretrain", raw / "payments.parquet", "--out", pretrained),
            *("--every-days", 120, "--without", raw / "labels.parquet"),
        )
    lbsf(
        *("pretrain", raw / "payments.parquet", "--out", pretrained, "--window-days", 30),
        *("--every-days", 120, "--epochs", 1, "--width", 16),
    )
    lbsf("train", store, "--out", bundle, "--init", pretrained)
    scores = []
    for options in ((), ("--prior", 0.01)):
        lbsf("score", store, bundle, "--out", tmp_path / "scores.parquet", *options)
        scores.append(pd.read_parquet(tmp_path / "scores.parquet"))
    assert scores[1]["pd"].mean() < scores[0]["pd"].mean()
    assert scores[1]["logit"].tolist() == scores[0]["logit"].tolist()
    user = scores[0]["user_id"].iloc[0]
    check_tree(json.loads(lbsf("explain", store, bundle, "--user", user, "--json").stdout))
    lbsf(
        *("evaluate", store, "--compare", "scorecard,lightgbm_user", "--cv", 2),
        *("--out", tmp_path / "report"),
    )
    assert (tmp_path / "report" / "report.html").read_text().startswith("<!doctype html>")
    workspace = tmp_path / "workspace"
    lbsf("workspace", store, bundle, "--out", workspace, "--comparison", tmp_path / "report")
    assert "LightGBM" in (workspace / "performance.json").read_text()
    assert "lbsf_pretrained" in lbsf("contestants").output


def test_a_merchants_payments_are_valued_by_removal_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--user", "u", "--merchant", "m"]
    monkeypatch.setattr("sys.argv", ["lbsf", "explain", str(tmp_path), "b", *asked])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == LbsfError.exit_code
    assert "--method removal" in " ".join(capsys.readouterr().err.split())


def test_a_dossier_is_written_and_replayed(tiny_workspace: Path, tmp_path: Path) -> None:
    user = str(Workspace.open(tiny_workspace).queue(limit=1)["user_id"].iloc[0])
    page, edits = tmp_path / "case.html", '[{"kind": "window", "days": 30}]'
    asked = ("--user", user, "--by", "me", "--edits", edits)
    lbsf("dossier", tiny_workspace, *asked, "--out", page)
    lbsf("dossier", tiny_workspace, *asked, "--out", tmp_path / "case.pdf")
    assert (tmp_path / "case.pdf").read_bytes().startswith(b"%PDF")
    found = json.loads(lbsf("replay", page, tiny_workspace, "--json").stdout)
    assert found["reproduced"] and found["largest_difference"] <= 1e-6 and found["numbers"] > 100
    lbsf("replay", page, tiny_workspace)
    with pytest.raises(LbsfError, match=r"end the name in .html or .pdf"):
        lbsf("dossier", tiny_workspace, *asked, "--out", tmp_path / "case.doc")
    # A number that was changed, page and data alike, ends with status 1 and names the place.
    data = read_dossier(page)
    data["said"]["case"]["logit"] += 0.5
    page.write_text(html_page(data), encoding="utf-8")
    result = runner.invoke(app, ["replay", str(page), str(tiny_workspace), "--json"])
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["where"] == "said.case.logit" and told["largest_difference"] == pytest.approx(0.5)
