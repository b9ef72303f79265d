"""Settings from a TOML file: tables [model], [train] and [pretrain], each key as in `config.py`.

Some ship with lbsf (`presets/`) and go by their name.
"""

from __future__ import annotations

import tomllib
from dataclasses import MISSING, dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from lbsf_core.config import Config, ModelConfig, PretrainConfig, TrainConfig
from lbsf_core.errors import LbsfError

_C = TypeVar("_C", bound=Config)
_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
}


@dataclass(frozen=True)
class Settings:
    """How models are built, trained and pre-trained."""

    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)


def presets() -> tuple[str, ...]:
    """Names of the settings that ship with lbsf."""
    names = (entry.name for entry in (resources.files("lbsf_core") / "presets").iterdir())
    return tuple(sorted(n.removesuffix(".toml") for n in names if n.endswith(".toml")))


def load_settings(settings: str | Path | None) -> Settings:
    """Settings from the name of a preset or from a TOML file; the defaults where None is given.

    Raises:
        LbsfError: no such file or preset, no TOML, or a key is unknown or of the wrong kind.
    """
    if settings is None:
        return Settings()
    try:
        if str(settings) in presets():
            source = resources.files("lbsf_core") / "presets" / f"{settings}.toml"
            text = source.read_text(encoding="utf-8")
        else:
            text = Path(settings).read_text(encoding="utf-8")
        top = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LbsfError(f"{settings}: is no TOML ({error}).") from error
    except (OSError, UnicodeDecodeError) as error:
        raise LbsfError(
            f"{settings}: is neither a readable UTF-8 file nor one of the settings that ship with "
            f"lbsf ({', '.join(presets())})."
        ) from error
    known = {entry.name for entry in fields(Settings)}
    if unknown := sorted(set(top) - known):
        raise LbsfError(f"{settings}: unknown {unknown}; tables are {sorted(known)}.")
    return Settings(
        _table(settings, "model", top, ModelConfig),
        _table(settings, "train", top, TrainConfig),
        _table(settings, "pretrain", top, PretrainConfig),
    )


def override(config: _C, **given: Any) -> _C:  # noqa: ANN401 - any setting
    """The settings with what is not None in place of what they say."""
    return replace(config, **{key: value for key, value in given.items() if value is not None})


def _table(settings: str | Path, name: str, top: dict[str, Any], kind: type[_C]) -> _C:
    table = top.get(name, {})
    if not isinstance(table, dict):
        raise LbsfError(f"{settings}: `{name}` is no table; write [{name}].")
    defaults = {e.name: e.default for e in fields(kind) if e.default is not MISSING}
    for key, value in table.items():
        default = defaults.get(key, value)
        number = isinstance(default, float) and type(value) is int
        if type(value) is not type(default) and not number:
            raise LbsfError(
                f"{settings}: `{name}.{key}` is {value!r}; give {_KINDS[type(default)]}, like "
                f"{default!r}."
            )
    try:
        return kind.from_dict(table)
    except LbsfError as error:
        raise LbsfError(f"{settings}: [{name}] {error}") from error
