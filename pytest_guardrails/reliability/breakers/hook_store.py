"""Opens the hooks' store where the configuration says.

With the backend sqlite and `state_file` at `~/.claude/hook_state.json`: the store is `hook_state.db` beside it, and the
file itself a document for people; a new store begins with what it says. With the backend json the file is the store,
and `hook_state.rest.json` beside it holds what its shape can't (see `hook_document.py`). The book of disabled hooks is
`hook_state.disabled.json` in both cases. Read `hook_state.py` for what is in it.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module

from pytest_guardrails.clock import Clock
from pytest_guardrails.errors import StorageError
from pytest_guardrails.reliability import state as stores
from pytest_guardrails.reliability.breakers.book import DisabledBook
from pytest_guardrails.reliability.breakers.config import Config
from pytest_guardrails.reliability.breakers.hook_state import Document, HookState, telling

__all__ = ["MIRROR_INTERVAL_S", "book_of", "open_hooks", "refresh_mirror", "store_path"]

MIRROR_INTERVAL_S = 1.0  # people read no faster


def store_path(config: Config) -> str:
    """The state store's main file."""
    return os.path.splitext(config.state_file)[0] + (".rest.json" if config.state_backend == "json" else ".db")


def book_of(config: Config) -> DisabledBook:
    """The book of disabled hooks."""
    return DisabledBook(os.path.splitext(config.state_file)[0] + ".disabled.json")


def open_hooks(
    config: Config,
    *,
    longest_run_s: float = 300.0,
    clock: Clock | None = None,
    listener: Callable[[stores.Incident], None] | None = None,
) -> HookState:
    """The hooks.

    Args:
        config: where they are, and how their breakers decide.
        longest_run_s: see `Config.breaker`.
        clock: see `Clock`.
        listener: told when the store was damaged, and what stands now.

    Raises:
        GuardrailsError: the store can't be used.
        StoreCorruptedError: it was damaged. If a generation was restored, the call may be repeated.
    """
    path = store_path(config)
    is_new = not os.path.exists(path)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    except OSError as error:
        raise StorageError(f"the folder of {path} can't be made: {error}") from error
    incidents: list[stores.Incident] = []

    def note(incident: stores.Incident) -> None:
        incidents.append(incident)
        if listener is not None:
            listener(incident)

    settings = stores.BackendSettings(keep_versions=2, clock=clock, listener=note)
    is_json = config.state_backend == "json"
    file: Document | None = None
    if is_json or (is_new and os.path.exists(config.state_file)):
        # Loaded only where it is wanted: `hook run` pays for each module it loads.
        room = import_module("pytest_guardrails.reliability.breakers.hook_document")
        file = room.HookDocument(config.state_file, listener=note, clock=clock)
    backend = _json_backend(path, settings, config.state_file) if is_json else stores.SqliteBackend(path, settings)
    store = stores.StateStore(backend, cache=False)
    document = file if is_json else None
    state = HookState(store, config.breaker(longest_run_s), book=book_of(config), document=document, clock=clock)
    if file is not None and not is_json:
        with file.transaction(
            state
        ):  # what the file says, from another backend or program, is where the new store begins
            pass
    if incidents:
        telling().tell_store_damage(store)
    return state


def _json_backend(path: str, settings: stores.BackendSettings, document: str) -> stores.Backend:
    try:
        return stores.JsonBackend(path, settings)
    except stores.StoreCorruptedError as error:
        if error.incident.restored_version is not None or not os.path.exists(document):
            raise
        # Both of its generations are in quarantine. The document is the store, and still says how the hooks stand.
        with suppress(FileNotFoundError):
            os.unlink(path + ".witness")
        return stores.JsonBackend(path, settings)


def refresh_mirror(state: HookState, config: Config, clock: Clock) -> bool:
    """Write the document for people, where that is not the store itself, unless anybody did so a second ago.

    Returns:
        Whether it was written.

    Raises:
        StorageError: the file is as before.
    """
    if config.state_backend == "json":
        return False
    try:
        # A time from the future says nothing: then it is written.
        if abs(clock.wall() - os.stat(config.state_file).st_mtime) < MIRROR_INTERVAL_S:
            return False
    except FileNotFoundError:
        pass
    # Loaded only when there is something to write: `hook run` rarely has, and pays for each module it loads.
    document = import_module("pytest_guardrails.reliability.breakers.document")
    document.write_mirror(state, config.state_file)
    return True
