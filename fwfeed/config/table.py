"""Reading TOML tables so that no mistake hides another: every key is taken once, every problem is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from enum import StrEnum
from typing import TypeVar

_T = TypeVar("_T")
_E = TypeVar("_E", bound=StrEnum)


class Table:
    """A TOML table being read: each key is taken once, what is left over is unknown; problems are collected."""

    def __init__(self, path: str, values: Mapping[str, object], problems: list[tuple[str, str]]) -> None:
        self.path = path
        self.problems = problems
        self._values = dict(values)
        self._known: list[str] = []
        self._tables: list[Table] = []

    def blame(self, key: str, message: str) -> None:
        """Keep a problem with a key of this table."""
        self.problems.append((f"{self.path}.{key}" if self.path else key, message))

    def _take(self, key: str) -> object:
        self._known.append(key)
        return self._values.pop(key, None)

    def table(self, key: str) -> Table:
        """Take a table below this one, empty where there is none."""
        path = f"{self.path}.{key}" if self.path else key
        values = self._take(key)
        if values is not None and not isinstance(values, dict):
            self.blame(key, f"must be a table, [{path}]")
            values = None
        table = Table(path, values or {}, self.problems)
        self._tables.append(table)
        return table

    def tables(self, key: str) -> list[Table]:
        """Take an array of tables, [[key]]."""
        path = f"{self.path}.{key}" if self.path else key
        values = self._take(key)
        if values is None:
            values = []
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            self.blame(key, f"must be an array of tables, [[{path}]]")
            values = []
        tables = [Table(f"{path}[{index}]", value, self.problems) for index, value in enumerate(values)]
        self._tables += tables
        return tables

    def model(self, key: str) -> Table:
        """Return an empty table as of the array [[key]], for its keys to be known where there is none."""
        model = Table(f"[{key}]", {}, [])  # what it lacks is no problem
        self._tables.append(model)
        return model

    def finish(self, owners: Mapping[str, Sequence[str]] | None = None) -> list[str]:
        """Report what nobody asked for, here and in the tables below; return what belongs below another section.

        `owners` are the sections that know a key, those below this one unless given.
        """
        owners = self._owners() if owners is None else owners
        hints = []
        for key in self._values:
            if key in owners:
                self.blame(key, "unknown key")
                hints.append(f"{key} belongs below {' or '.join(owners[key])}")
            else:
                near = get_close_matches(key, self._known, n=1)
                self.blame(key, f"unknown key{f'; did you mean {near[0]}?' if near else ''}")
        for table in self._tables:
            hints += table.finish(owners)
        return list(dict.fromkeys(hints))

    def _owners(self) -> dict[str, list[str]]:
        """Return which sections know each key: first the tables here, then those below them, then the arrays."""
        found: dict[str, list[str]] = {}
        tables = [table for table in self._tables if not table.path.endswith("]")]
        models = [table for table in self._tables if table.path.startswith("[")]
        below = [(f"[{table.path}.NAME]", each) for table in tables for each in table._tables]  # noqa: SLF001 - its own kind
        sections = [(f"[{table.path}]", table) for table in tables]
        for section, table in (*sections, *below, *((f"[{model.path}]", model) for model in models)):
            for key in table._known:  # noqa: SLF001 - its own kind
                if section not in (known := found.setdefault(key, [])):
                    known.append(section)
        return found

    def require(self, *keys: str) -> None:
        """Report each of these keys that is not there."""
        for key in keys:
            if key not in self._values:
                self.blame(key, "is missing")

    def read(self, key: str, default: _T, kind: type, meaning: str, convert: Callable[[object], _T]) -> _T:
        """Take a value of the type `kind` and convert it; ValueError from `convert` becomes a problem."""
        value = self._take(key)
        if value is None:
            return default
        if type(value) is not kind:
            self.blame(key, f"must be {meaning}, not {_type_name(value)}")
            return default
        try:
            return convert(value)
        except ValueError as error:
            self.blame(key, str(error))
            return default

    def text(self, key: str, default: _T, convert: Callable[[str], _T]) -> _T:
        """Take a text."""
        return self.read(key, default, str, "text", lambda value: convert(str(value)))

    def flag(self, key: str, *, default: bool) -> bool:
        """Take a truth value."""
        return self.read(key, default, bool, "true or false", bool)

    def number(self, key: str, default: int, convert: Callable[[int], int]) -> int:
        """Take a whole number."""
        return self.read(key, default, int, "a whole number", lambda value: convert(int(str(value))))

    def number_or_off(self, key: str, default: int | None, convert: Callable[[int], int]) -> int | None:
        """Take a whole number, or None for "off"."""
        if self._values.get(key) == "off":
            self._take(key)
            return None
        return self.read(key, default, int, 'a whole number or "off"', lambda value: convert(int(str(value))))

    def choice(self, key: str, default: _E) -> _E:
        """Take one value of a closed set."""
        kinds = type(default)

        def convert(text: str) -> _E:
            if text not in set(kinds):
                raise ValueError(f"{text!r} is none of {', '.join(kinds)}")
            return kinds(text)

        return self.text(key, default, convert)

    def texts(self, key: str, default: tuple[str, ...], convert: Callable[[str], str]) -> tuple[str, ...]:
        """Take a list of texts without repetition; each bad element is a problem of its own."""
        values = self.read(key, None, list, "a list of texts", lambda value: value)
        if not isinstance(values, list):
            return default
        result: list[str] = []
        for index, value in enumerate(values):
            place = f"{key}[{index}]"
            if not isinstance(value, str):
                self.blame(place, f"must be text, not {_type_name(value)}")
                continue
            try:
                text = convert(value)
            except ValueError as error:
                self.blame(place, str(error))
                continue
            if text in result:
                self.blame(place, f"{value!r} is there twice")
            else:
                result.append(text)
        return tuple(result)


def _type_name(value: object) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a table"}
    return names.get(type(value), type(value).__name__)
