"""One table of a TOML file, read key by key, so that every mistake names its key and a remedy."""

from __future__ import annotations

import datetime as dt
import difflib
from typing import Any, TypeVar

from lbsf_core.errors import IngestError

_T = TypeVar("_T")


class Table:
    """A TOML table that knows its own name and which of its keys were asked for."""

    def __init__(self, data: dict[str, Any], where: str, path: str = "") -> None:
        self._data = data
        self._where = where
        self._path = path
        self._asked: set[str] = set()

    @property
    def empty(self) -> bool:
        """Whether nothing stands in the table."""
        return not self._data

    def error(self, key: str, problem: str) -> IngestError:
        """The error to raise about one key."""
        return IngestError(f"{self._where}: `{self._path}{key}` {problem}.")

    def keys_in_order(self) -> tuple[str, ...]:
        """Every key of the table."""
        self._asked.update(self._data)
        return tuple(self._data)

    def done(self) -> None:
        """Raise when a key was never asked for: a spelling mistake must not be silent."""
        for key in self._data:
            if key not in self._asked:
                near = difflib.get_close_matches(key, sorted(self._asked), 1)
                hint = f"did you mean `{near[0]}`?" if near else f"known are {sorted(self._asked)}"
                raise IngestError(f"{self._where}: `{self._path}{key}` is no key here; {hint}")

    def _get(self, key: str, default: _T | None, kind: type, words: str) -> _T:
        self._asked.add(key)
        if key not in self._data:
            if default is None:
                raise self.error(key, f"is missing; give {words}")
            return default
        value: _T = self._data[key]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.error(key, f"is {value!r}; give {words}")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """A text; required and not empty when there is no default."""
        value = self._get(key, default, str, "a text in quotes")
        if default is None and not value:
            raise self.error(key, "is empty; give a text")
        return value

    def texts(self, key: str, required: bool = False) -> tuple[str, ...]:
        """One text or a list of texts (numbers are taken as text), as a tuple."""
        self._asked.add(key)
        value = self._data.get(key, [])
        values = value if isinstance(value, list) else [value]
        if any(isinstance(x, (bool, dict, list)) for x in values):
            raise self.error(key, f"is {value!r}; give a text or a list of texts")
        if required and not values:
            raise self.error(key, "is missing; give a text or a list of texts")
        return tuple(str(x) for x in values)

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        """One of a few words; the first is the default."""
        value = self.text(key, choices[0])
        if value not in choices:
            raise self.error(key, f"is '{value}'; choose one of {list(choices)}")
        return value

    def character(self, key: str, default: str) -> str:
        """One character, or empty."""
        value = self.text(key, default)
        if len(value) > 1:
            raise self.error(key, f"is '{value}'; give one character")
        return value

    def integer(self, key: str, default: int) -> int:
        """A whole number."""
        return self._get(key, default, int, "a whole number")

    def boolean(self, key: str, default: bool) -> bool:
        """Either true or false."""
        return self._get(key, default, bool, "true or false")

    def date(self, key: str) -> dt.date | None:
        """A TOML date such as 2020-01-31, or none."""
        if key not in self._data:
            self._asked.add(key)
            return None
        value: dt.date = self._get(key, None, dt.date, "a date such as 2020-01-31, without quotes")
        return value.date() if isinstance(value, dt.datetime) else value

    def table(self, key: str, required: bool = True) -> Table:
        """A table inside this one; an empty one when it may be missing."""
        default: dict[str, Any] | None = None if required else {}
        value = self._get(key, default, dict, f"a table [{self._path}{key}]")
        return Table(value, self._where, f"{self._path}{key}.")

    def tables(self, key: str) -> list[Table]:
        """A list of tables; empty when missing."""
        none: list[dict[str, Any]] = []
        value = self._get(key, none, list, f"tables [[{self._path}{key}]]")
        if not all(isinstance(entry, dict) for entry in value):
            raise self.error(key, f"is no list of tables; write [[{self._path}{key}]]")
        return [Table(x, self._where, f"{self._path}{key}[{i}].") for i, x in enumerate(value)]

    def pairs(self) -> dict[str, str]:
        """The whole table as text to text."""
        return {key: self.text(key, "") for key in self.keys_in_order()}
