"""Settings files: what they say is what is used; every mistake names its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbsf_core.config import ModelConfig, PretrainConfig, TrainConfig
from lbsf_core.errors import LbsfError
from lbsf_core.settings import Settings, load_settings, override, presets


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[model]\nwidth = 16\ndropout = 0\n[train]\nkeep = "last"\n')
    assert load_settings(file) == Settings(
        ModelConfig(width=16, dropout=0), TrainConfig(keep="last"), PretrainConfig()
    )


def test_presets_are_read_by_name() -> None:
    assert "few-labels" in presets()
    assert load_settings("many-users").model.meetings
    few = load_settings("few-labels")
    assert few.model.levels == "extra"
    assert not few.model.rhythm
    assert few.train.keep == "last"


def test_nothing_given_is_the_defaults() -> None:
    assert load_settings(None) == Settings(ModelConfig(), TrainConfig(), PretrainConfig())


def test_what_is_given_wins_and_what_is_not_given_does_not() -> None:
    config = TrainConfig(epochs=5, batch_samples=7)
    assert override(config, epochs=9, batch_samples=None) == TrainConfig(epochs=9, batch_samples=7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model]\nwidht = 16", r"\[model\] ModelConfig: unknown settings \['widht'\]"),
        ("[models]\nwidth = 16", r"unknown \['models'\]; tables are"),
        ('[model]\nwidth = "16"', r"`model.width` is '16'; give a whole number"),
        ("[model]\nwidth = 16.5", r"`model.width` is 16.5"),
        ("[model]\nrhythm = 1", r"`model.rhythm` is 1; give true or false"),
        ("[train]\nepochs = true", r"`train.epochs` is True; give a whole number"),
        ('[model]\nlevels = "some"', r"levels is 'some'; choose"),
        ("model = 3", r"`model` is no table"),
        ("[model", "is no TOML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    with pytest.raises(LbsfError, match=message):
        load_settings(file)


def test_a_name_that_is_nothing_lists_what_ships() -> None:
    with pytest.raises(LbsfError, match=r"one of the settings that ship with lbsf .*few-labels"):
        load_settings("many-labels")
