"""A parsed TOML table whose keys are taken one by one, with their types; what is left over was misspelt."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from conch_ollama.errors import UsageError

Made = TypeVar("Made")


class Table:
    """`values` are the keys that nobody has taken yet, `tables` the sub-tables; `name` is for messages."""

    def __init__(self, values: Mapping[str, Any], name: str = "") -> None:
        self.name = name
        self.values = {key: value for key, value in values.items() if not isinstance(value, dict)}
        self.tables = {
            key: Table(value, f"{name}.{key}" if name else key)
            for key, value in values.items()
            if isinstance(value, dict)
        }

    def __contains__(self, key: str) -> bool:
        return key in self.values or key in self.tables

    def _where(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key

    def table(self, key: str) -> Table:
        """A sub-table, taken; empty where there is none."""
        if key in self.values:
            raise UsageError(f"{self._where(key)} must be a table")
        return self.tables.pop(key, None) or Table({}, self._where(key))

    def take(self, key: str, kind: Any, default: Any = None) -> Any:
        """The value of a key, of that type (an int passes for a float). Raises UsageError for another."""
        if kind is dict:
            found = self.tables.pop(key, None)
            return default if found is None else found.plain()
        if key in self.tables:
            raise UsageError(f"{self._where(key)} must not be a table")
        if key not in self.values:
            return default
        value = self.values.pop(key)
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if float in kinds and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            names = " or ".join(
                {str: "text", int: "a whole number", bool: "true or false"}.get(k, "a number") for k in kinds
            )
            raise UsageError(f"{self._where(key)} must be {names}")
        return value

    def texts(self, key: str, default: Sequence[str] = ()) -> tuple[str, ...]:
        """A list of texts; a single text is a list of one."""
        value = self.values.pop(key, None)
        if value is None:
            return tuple(default)
        found = [value] if isinstance(value, str) else value
        if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
            raise UsageError(f"{self._where(key)} must be a list of texts")
        return tuple(found)

    def lists(self, key: str) -> list[Table]:
        """A list of tables."""
        value = self.values.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
            raise UsageError(f"{self._where(key)} must be a list of tables")
        return [Table(part, f"{self._where(key)}[{number}]") for number, part in enumerate(value)]

    def fill(self, kind: type[Made]) -> Made:
        """A dataclass whose fields are numbers, from the keys of its names."""
        known = {field.name: field.type for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
        given = {
            key: self.take(key, float if "float" in str(known[key]) else int)
            for key in list(self.values)
            if key in known
        }
        self.end()
        negative = [key for key, value in given.items() if value < 0]
        if negative:
            raise UsageError(f"{self._where(negative[0])} must not be negative")
        return kind(**given)

    def plain(self) -> dict[str, Any]:
        """As a dictionary."""
        return {**self.values, **{key: table.plain() for key, table in self.tables.items()}}

    def end(self) -> None:
        """Raises UsageError if something was not taken."""
        left = [*self.values, *self.tables]
        if left:
            raise UsageError(
                f"{self._where(left[0])} is not known", hint="see docs/serve.md for what conch.toml may hold"
            )
