"""What-if on the command line: every command as a person and as a program would read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lbsf_core.cli import app
from lbsf_core.errors import EditError
from lbsf_core.fold.store import FoldedStore

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def user(tiny_store: Path) -> tuple[str, list[str]]:
    """A user id, and the merchants of that user."""
    store = FoldedStore.open(tiny_store)
    name = str(store.samples["user_id"].iloc[3])
    return name, store.read([store.find(name)]).merchants.decode()


def run(command: str, store: Path, bundle: Path, *options: object) -> Result:
    found = RUNNER.invoke(app, [command, str(store), str(bundle), *map(str, options)])
    if isinstance(found.exception, EditError):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found


def test_edits_from_short_options_and_from_a_file(
    tiny_store: Path, tiny_bundle: Path, user: tuple[str, list[str]], tmp_path: Path
) -> None:
    name, merchants = user
    asked = ("--user", name, "--remove", merchants[0], "--scale", f"{merchants[1]}=0.5")
    asked += ("--stop", f"{merchants[2]}=2000-01-01", "--window", 60)
    found = json.loads(run("what-if", tiny_store, tiny_bundle, *asked, "--json").stdout)
    assert [edit["kind"] for edit in found["edits"]] == ["remove", "scale", "remove", "window"]
    assert found["pd"]["before"] != found["pd"]["after"]
    file = tmp_path / "edits.json"
    file.write_text(
        json.dumps([{k: v for k, v in e.items() if k != "words"} for e in found["edits"]])
    )
    again = run("what-if", tiny_store, tiny_bundle, "--user", name, "--edits", file, "--json")
    assert json.loads(again.stdout) == found
    assert "PD" in run("what-if", tiny_store, tiny_bundle, *asked).output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--remove", "nobody at all"), "no payments at"),
        (("--scale", "half"), "MERCHANT=VALUE"),
        (("--edits", "[1]"), "no edit"),
        (("--edits", "{x"), "no JSON"),
    ],
)
def test_wrong_edits_say_what_is_wrong(
    tiny_store: Path,
    tiny_bundle: Path,
    user: tuple[str, list[str]],
    options: tuple[str, ...],
    words: str,
) -> None:
    with pytest.raises(EditError, match=words):
        run("what-if", tiny_store, tiny_bundle, "--user", user[0], *options)


def test_history_counterfactual_and_sufficient(
    tiny_store: Path, tiny_bundle: Path, user: tuple[str, list[str]]
) -> None:
    asked = ("--user", user[0])
    history = json.loads(run("history", tiny_store, tiny_bundle, *asked, "--json").stdout)
    now = history["history"][-1]["pd"]
    threshold = ("--threshold", now - 0.001)
    for command in ("counterfactual", "sufficient"):
        found = run(command, tiny_store, tiny_bundle, *asked, *threshold, "--json")
        assert json.loads(found.stdout)["pd"] == pytest.approx(now, abs=1e-5)
        run(command, tiny_store, tiny_bundle, *asked, *threshold)
    run("history", tiny_store, tiny_bundle, *asked)
