"""`open_store`: a store by the path of its main file and the kind of its backend. Read `store.py` for what it is."""

import os
from collections.abc import Callable, Mapping
from typing import Literal

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.state.backend import Backend, BackendSettings
from pytest_guardrails.reliability.state.json_file import JsonBackend
from pytest_guardrails.reliability.state.sqlite import SqliteBackend
from pytest_guardrails.reliability.state.store import StateStore
from pytest_guardrails.reliability.state.values import Migration

__all__ = ["BackendKind", "open_store"]

BackendKind = Literal["sqlite", "json"]


def open_store(
    path: str | os.PathLike[str],
    *,
    backend: BackendKind = "sqlite",
    settings: BackendSettings | None = None,
    schema: int = 1,
    migrations: Mapping[int, Migration] | None = None,
    cache: bool = True,
) -> StateStore:
    """Open the store at `path`, making it when there is none.

    Args:
        path: the main file; others lie beside it under names that begin with its.
        backend: what kind of file.
        settings: durability, deadlines, how much is remembered.
        schema: see `StateStore`.
        migrations: see `StateStore`.
        cache: see `StateStore`.

    Raises:
        StoreCorruptedError: it was damaged, and there was no good generation to restore.
        NewerFormatError: a later version of this package made it.
    """
    kinds: dict[str, Callable[..., Backend]] = {"sqlite": SqliteBackend, "json": JsonBackend}
    if backend not in kinds:
        raise ConfigurationError(f"backend must be one of {', '.join(kinds)}, not {backend!r}")
    settings = settings or BackendSettings()
    made = kinds[backend](path, settings)
    return StateStore(made, schema=schema, migrations=migrations, cache=cache, deadline_s=settings.deadline_s)
