"""`lbsf reasons`, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lbsf_core.cli import app
from lbsf_core.errors import LbsfError
from lbsf_core.fold.store import FoldedStore

runner = CliRunner()


def asked(store: Path, bundle: Path, *options: object) -> Result:
    user = FoldedStore.open(store).samples["user_id"].iloc[0]
    line = ["reasons", store, bundle, "--user", user, *options]
    return runner.invoke(app, [str(part) for part in line], catch_exceptions=False)


def test_reasons_as_json_and_as_a_table(tiny_store: Path, tiny_bundle: Path) -> None:
    found = json.loads(asked(tiny_store, tiny_bundle, "--always", "--json").stdout)
    assert found["given"] is True
    assert found["tested"] > 10
    assert len(found["risk"]) <= 4
    assert len(found["protective"]) <= 4
    german = asked(tiny_store, tiny_bundle, "--always", "--json", "--language", "de").stdout
    assert json.loads(german)["tested"] == found["tested"]
    table = asked(tiny_store, tiny_bundle, "--always")
    assert table.exit_code == 0
    assert "raises the score" in table.output
    assert "lowers it" in table.output


def test_a_low_score_says_why_it_has_none(tiny_store: Path, tiny_bundle: Path) -> None:
    low = asked(tiny_store, tiny_bundle, "--threshold", "0.999")
    assert "PD below 99.9%; --always gives them all the same" in low.output
    found = json.loads(asked(tiny_store, tiny_bundle, "--threshold", "0.999", "--json").stdout)
    assert (found["given"], found["risk"], found["protective"]) == (False, [], [])


def test_an_own_catalogue_must_not_be_vague(
    tiny_store: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    from importlib import resources

    shipped = resources.files("lbsf_core.explain") / "catalogue" / "reasons.toml"
    text = shipped.read_text(encoding="utf-8")
    mine = tmp_path / "mine.toml"
    mine.write_text(text, encoding="utf-8")
    options = ("--always", "--json", "--catalogue", mine)
    assert asked(tiny_store, tiny_bundle, *options).exit_code == 0
    start = text.index('en = "{who}', text.index("[codes.came.text]"))
    end = text.index("\n", start)
    mine.write_text(text[:start] + 'en = "purchasing history"' + text[end:], encoding="utf-8")
    with pytest.raises(LbsfError, match="too vague"):
        asked(tiny_store, tiny_bundle, *options)
