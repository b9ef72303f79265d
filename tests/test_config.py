"""Settings: JSON there and back, and every senseless value refused with its name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lbsf_core.config import Config, FoldConfig, ModelConfig, TrainConfig
from lbsf_core.errors import LbsfError


@pytest.mark.parametrize(
    "config",
    [
        FoldConfig(),
        FoldConfig(window_days=365, max_merchants=50, max_payments=200),
        ModelConfig(width=32, heads=8, dropout=0.0),
        TrainConfig(epochs=3, split_by="time", seed=7),
    ],
)
def test_json_there_and_back(config: Config) -> None:
    data = json.loads(json.dumps(config.to_dict()))
    assert type(config).from_dict(data) == config


def test_missing_keys_take_their_defaults() -> None:
    assert FoldConfig.from_dict({"window_days": 30}) == FoldConfig(30, None, None)


def test_unknown_keys_are_named() -> None:
    with pytest.raises(LbsfError, match=r"FoldConfig: unknown settings \['days'\].*window_days"):
        FoldConfig.from_dict({"days": 30})


@pytest.mark.parametrize("name", ["window_days", "max_merchants", "max_payments"])
@pytest.mark.parametrize("value", [0, -1])
def test_caps_below_one_are_refused(name: str, value: int) -> None:
    with pytest.raises(LbsfError, match=f"{name} is {value}; give a number of at least 1"):
        FoldConfig(**{name: value})


def test_width_must_split_into_heads() -> None:
    with pytest.raises(LbsfError, match="width 30 can't be divided among 4 heads"):
        ModelConfig(width=30, heads=4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split_by": "merchant"}, "split_by is 'merchant'; choose 'user' or 'time'"),
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_samples": 0}, "batch_samples is 0"),
        ({"patience": 0}, "patience is 0"),
        ({"validation": 0.0}, "validation is 0.0"),
        ({"validation": 0.6, "test": 0.4}, "validation 0.6 and test 0.4 leave nothing to train on"),
        ({"test": -0.1}, "test is -0.1"),
    ],
)
def test_training_that_cannot_work_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(LbsfError, match=message):
        TrainConfig(**settings)
