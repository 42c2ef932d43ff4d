"""Between texts that a backend keeps and values that callers see: JSON, schema numbers, frozen copies, the cache.

A text that was decoded once for a cell is not decoded again: each reader gets a copy of the frozen value. A version
alone would not do: one that was staged and then refused is used again, for another value. Read `frozen.py` for why
there is a copy.
"""

import json
from collections.abc import Callable, Mapping

from pytest_guardrails.errors import ConfigurationError, NewerFormatError, check_whole
from pytest_guardrails.hints import Any, final
from pytest_guardrails.reliability.durability import finite_json
from pytest_guardrails.reliability.state.frozen import copier_of, freeze
from pytest_guardrails.reliability.state.model import Cell, Draft

__all__ = ["RESERVED", "UNKNOWN_FIELDS", "Migration", "Values", "check_key", "is_text"]

RESERVED = "@"  # keys of the store's own start with it
UNKNOWN_FIELDS = RESERVED + "unknown-fields"
_KEY_BYTES = 1000
_REMEMBERED = 4096  # decoded values at a time
Migration = Callable[[str, Any], Any]


def check_key(key: str) -> None:
    """Refuse what is no key.

    Raises:
        ConfigurationError: says why.
    """
    if not isinstance(key, str) or not key:
        raise ConfigurationError(f"a key is a text of at least one character, not {key!r}")
    if key.startswith(RESERVED):
        raise ConfigurationError(f"keys that start with {RESERVED!r} are the store's own: {key!r}")
    if not key.isascii():
        finite_json.check(key)
    if "\0" in key or len(key.encode()) > _KEY_BYTES:
        raise ConfigurationError(f"a key has at most {_KEY_BYTES} bytes, none of them zero: {key[:60]!r}")


def is_text(prefix: str) -> bool:
    """Whether a key can begin like this: what has a lone surrogate begins none, and backends can't be asked for it.

    Raises:
        ConfigurationError: it is no text at all.
    """
    if not isinstance(prefix, str):
        raise ConfigurationError(f"a prefix of keys is a text, not {prefix!r}")
    return finite_json.printable(prefix) == prefix


@final
class Values:
    """Encodes and decodes for one store.

    Args:
        schema: the application's number for the form of its values; stored with each.
        migrations: for each older number the function (key, value) -> value of the next number.
        remember: whether decoded values are kept.
    """

    def __init__(self, schema: int, migrations: Mapping[int, Migration], *, remember: bool) -> None:
        check_whole("schema", schema, 1)
        if missing := [number for number in migrations if not 1 <= number < schema]:
            raise ConfigurationError(f"migrations lead from 1 .. {schema - 1}; there is one from {missing[0]}")
        self.schema = schema
        self._migrations = migrations
        self._remember = remember
        # Each change of it is one step, which nobody sees half done.
        self._known: dict[str, tuple[Cell, Any, Callable[[Any], Any] | None]] = {}

    def draft(self, key: str, value: Any, keep: int | None = None) -> Draft:
        """A change that sets the key; raises `JsonRefusedError` with the path to what JSON has not."""
        return Draft(key, self.schema, finite_json.dumps(value), keep)

    def decode(self, key: str, text: str) -> Any:
        """A value of the present schema, frozen."""
        return self._decode(key, text, self.schema)

    def of(self, key: str, cell: Cell, default: Any = None) -> Any:
        """A cell's value, frozen and in the present schema; `default` for a deleted one.

        Raises:
            NewerFormatError: the value has a newer schema than this application.
        """
        if cell.text is None:
            return default
        known = self._known.get(key)
        if known is None or known[0] != cell:
            value = self._decode(key, cell.text, cell.schema)
            if not self._remember:
                return value
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[key] = (cell, value, copier_of(value))
        _, value, copy = known
        return value if copy is None else copy(value)

    def decode_old(self, key: str, cell: Cell) -> Any:
        """As `of`, for a value that is no longer current: it is not kept in memory."""
        return self._decode(key, cell.text or "null", cell.schema)

    def clear(self) -> None:
        """Forget all decoded values."""
        self._known.clear()

    def check_schema(self, key: str, schema: int) -> None:
        """Refuse what a later version of the application wrote.

        Raises:
            NewerFormatError: it did.
        """
        if schema > self.schema:
            raise NewerFormatError(f"{key!r} has schema {schema}; this program knows {self.schema}: update it")

    def _decode(self, key: str, text: str, schema: int) -> Any:
        self.check_schema(key, schema)
        value = json.loads(text)  # the strict reader is for outside data: this was checked when it was written
        for number in range(schema, self.schema):
            if number not in self._migrations:
                raise ConfigurationError(f"{key!r} has schema {schema}, and no migration from {number} is given")
            value = self._migrations[number](key, value)
        return freeze(value if schema == self.schema else _as_stored(key, value))


def _as_stored(key: str, value: Any) -> Any:
    """What a migration made, as it would come back if it were stored: finite, and frozen at every level."""
    try:
        return json.loads(finite_json.dumps(value))
    except finite_json.JsonRefusedError as error:
        raise ConfigurationError(f"the migration of {key!r} made what can't be stored: {error}; mend it") from error
