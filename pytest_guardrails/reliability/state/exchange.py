"""A store's present values as one JSON file for people and other stores: export, import, and a mirror kept beside.

    {"format": "pytest-guardrails-export", "format_version": 1, "version": N,
     "entries": {KEY: {"version": N, "schema": N, "value": ...}}}

Fields that are not known here are kept by the importing store and written again by its next export. A mirror is for
reading: what is changed in it comes in by `import_state` only. Read `store.py` for the store itself.
"""

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, Literal, final

from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.errors import ConfigurationError, NewerFormatError, StorageError
from pytest_guardrails.reliability.durability import JsonRefusedError, finite_json, write_atomic
from pytest_guardrails.reliability.durability.forking import renew_in_children
from pytest_guardrails.reliability.state.frozen import thaw
from pytest_guardrails.reliability.state.store import StateStore

__all__ = ["ImportMode", "Mirror", "export_state", "import_state"]

ImportMode = Literal["merge", "replace"]

_FORMAT = "pytest-guardrails-export"
_VERSION = 1
_KNOWN = frozenset({"format", "format_version", "version", "entries"})
_KNOWN_OF_ENTRY = frozenset({"version", "schema", "value"})
_SUFFIXES = frozenset({"", "-wal", "-shm", ".lock", ".lock.turn", ".witness", ".good", ".previous"})
_ENVELOPE = 3  # levels around a value: document, entries, entry
_INTERVAL_S = 1.0  # people read no faster


def export_state(store: StateStore, path: str | os.PathLike[str], *, indent: int = 2) -> int:
    """Write all present values of one moment to a file, in one step.

    Returns:
        How many keys there were.

    Raises:
        StorageError: the file was not written and is as before.
        ConfigurationError: `path` is a file of the store itself.
    """
    _check_apart(store, path)
    with store.snapshot() as entries:
        version = store.version()
        unknown = store.unknown_fields()
    of_entries = unknown.get("entries", {})
    document = {
        **unknown.get("top", {}),
        "format": _FORMAT,
        "format_version": _VERSION,
        "version": version,
        "entries": {
            key: {**of_entries.get(key, {}), "version": cell.version, "schema": cell.schema, "value": value}
            for key, (cell, value) in entries.items()
        },
    }
    write_atomic(path, (finite_json.dumps(document, indent=indent, envelope=_ENVELOPE) + "\n").encode())
    return len(entries)


def import_state(store: StateStore, path: str | os.PathLike[str], *, mode: ImportMode = "merge") -> int:
    """Take in an export, in one transaction.

    Args:
        store: into which.
        path: the file.
        mode: "merge" leaves keys (and unknown fields) alone that the file has not; "replace" deletes them.

    Returns:
        How many keys the file had.

    Raises:
        ConfigurationError: it is no export; names what is wrong where. Nothing was changed.
        NewerFormatError: a later version wrote it, or a value has a newer schema than the store's application.
    """
    document = _read(path)
    entries: Mapping[str, Any] = document["entries"]
    with store.transaction() as transaction:
        if mode == "replace":
            for key in set(transaction.keys()) - set(entries):
                transaction.delete(key)
        for key, entry in entries.items():
            transaction.put_stored(key, entry["value"], entry.get("schema", 1))
        kept = store.unknown_fields() if mode == "merge" else {}
        of_kept = {key: extra for key, extra in kept.get("entries", {}).items() if key not in entries}
        transaction.put_unknown_fields(
            {
                "top": {**kept.get("top", {}), **_without(document, _KNOWN)},
                "entries": {
                    **of_kept,
                    **{key: extra for key, entry in entries.items() if (extra := _without(entry, _KNOWN_OF_ENTRY))},
                },
            }
        )
    return len(entries)


def _without(plain: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in plain.items() if name not in names}


def _check_apart(store: StateStore, path: str | os.PathLike[str]) -> None:
    """Refuse to write over the store itself."""
    target, own = os.path.realpath(path), store.backend.path
    if target.startswith(own) and target[len(own) :] in _SUFFIXES:
        raise ConfigurationError(f"{os.fspath(path)} is a file of the store itself: name another one")


def _read(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    try:
        with open(path, "rb") as file:
            document = finite_json.loads(file.read(), envelope=_ENVELOPE)
    except OSError as error:
        raise StorageError(f"{os.fspath(path)} can't be read: {error}") from error
    except JsonRefusedError as error:
        raise ConfigurationError(f"{os.fspath(path)} is no export: {error}") from error
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise ConfigurationError(f"{os.fspath(path)} is no export: $.format is not {_FORMAT!r}")
    if document.get("format_version") != _VERSION:
        raise NewerFormatError(f"{os.fspath(path)} has format {document.get('format_version')}; this is {_VERSION}")
    entries = document.get("entries")
    if not isinstance(entries, dict):
        raise ConfigurationError(f"{os.fspath(path)}: $.entries is no object")
    for key, entry in entries.items():
        if not isinstance(entry, dict) or "value" not in entry or not _is_schema(entry.get("schema", 1)):
            raise ConfigurationError(
                f"{os.fspath(path)}: $.entries[{key!r}] has no value, or a schema that is no number from 1"
            )
    return document


def _is_schema(found: object) -> bool:
    return type(found) is int and found >= 1


@final
class Mirror:
    """Keeps a JSON file for people beside a store: refreshed after commits of this process, at most once in a while.

    Args:
        store: what to show; the mirror hangs itself on its commits.
        path: the file.
        view: makes what is written from all present values; the values themselves when not given.
        interval_s: refreshed at most this often; `flush` and closing the store's owner do the rest.
        clock: monotonic.

    A mirror that can't be made or written harms no commit: `failures` counts, and `flush` raises.
    """

    def __init__(
        self,
        store: StateStore,
        path: str | os.PathLike[str],
        *,
        view: Callable[[Mapping[str, Any]], Any] = dict,
        interval_s: float = _INTERVAL_S,
        clock: Clock | None = None,
    ) -> None:
        _check_apart(store, path)
        self._store = store
        self._path = path
        self._view = view
        self._interval_s = interval_s
        self._clock = clock or SystemClock()
        self._due_s = 0.0
        self._mutex = threading.RLock()
        renew_in_children(self)
        self._begun: object = None  # which time of writing began last
        self.failures = 0
        store.after_commit.append(self._after_commit)

    def flush(self) -> None:
        """Write the present values now.

        Raises:
            StorageError: the file was not written and is as before.
        """
        with self._mutex:
            mine = self._begun = object()
            self._write()
            while mine is not self._begun:  # a signal handler came in between, and what it wrote is newer
                mine = self._begun
                self._write()
            self._due_s = self._clock.monotonic() + self._interval_s

    def _write(self) -> None:
        with self._store.snapshot() as entries:
            values = {key: thaw(value) for key, (_, value) in entries.items()}
        content = finite_json.dumps(self._view(values), indent=2, envelope=_ENVELOPE) + "\n"
        write_atomic(self._path, content.encode(), durability="process")

    def _after_commit(self, _store: StateStore) -> None:
        if self._clock.monotonic() < self._due_s:
            return
        try:
            self.flush()
        except Exception:  # noqa: BLE001 - the commit holds, and whoever made it must not be told otherwise; `flush` tells
            self.failures += 1
