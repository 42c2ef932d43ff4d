"""The hooks as one JSON document for people: exactly `{"hooks": {COMMAND: {...}}, "global_stats": {...}}`.

Each hook has the documented fields (`record.DOCUMENTED`), then whatever somebody added; an export that is imported
again exports the same bytes. What it can't say is decided for safety: an open hook without `retry_after` stays closed
to all until somebody enables it.

With the backend sqlite the document is no store: what is changed in it comes in by `import_hooks` alone, and
`hook_store.py` writes such a file beside the store, at most once a second. With the backend json it is the store, see
`hook_document.py`.
"""

import os
from collections.abc import Mapping

from pytest_guardrails.errors import ConfigurationError, StorageError
from pytest_guardrails.hints import Any, Literal
from pytest_guardrails.reliability.breakers.commands import PREFIX, key_of, name_of
from pytest_guardrails.reliability.breakers.hook_state import GlobalStats, HookState, telling
from pytest_guardrails.reliability.breakers.model import Circuit, Control
from pytest_guardrails.reliability.breakers.record import DOCUMENTED, HookRecord, Moment, bounded, instant, shown
from pytest_guardrails.reliability.durability import JsonRefusedError, finite_json, write_atomic
from pytest_guardrails.reliability.state.transaction import Transaction

__all__ = [
    "bytes_of",
    "document_in",
    "document_of",
    "export_hooks",
    "import_hooks",
    "parse_document",
    "take_in",
    "write_mirror",
]

_UNKNOWN = "document-unknown"
_TIMES = ("first_failure", "last_failure", "last_success", "disabled_at", "retry_after")
_COUNTS = ("failure_count", "consecutive_failures", "consecutive_successes")
_DEFAULTS: Mapping[str, Any] = {"state": "closed", **dict.fromkeys(_COUNTS, 0)}


def document_of(state: HookState) -> dict[str, Any]:
    """The document as of now."""
    hooks = {record.command: shown(record) for record in state.get_all_hooks()}
    return {"hooks": hooks, "global_stats": state.totals(), **state.store.get(_UNKNOWN, {})}


def document_in(state: HookState, transaction: Transaction) -> dict[str, Any]:
    """The document as a transaction of the state's store will leave it."""
    hooks = {record.command: shown(record) for record in state.hooks_in(transaction)}
    return {"hooks": hooks, "global_stats": state.totals(transaction), **transaction.get(_UNKNOWN, {})}


def export_hooks(state: HookState, path: str | os.PathLike[str]) -> int:
    """Write the document to a file, in one step, durably.

    Returns:
        How many hooks there are.

    Raises:
        StorageError: the file is as before.
    """
    document = document_of(state)
    write_atomic(path, bytes_of(document))
    return len(document["hooks"])


def import_hooks(
    state: HookState, path: str | os.PathLike[str], *, mode: Literal["merge", "replace"] = "merge"
) -> tuple[str, ...]:
    """Take a document in, in one transaction.

    Args:
        state: into which.
        path: the file.
        mode: "merge" leaves hooks alone that the file has not; "replace" forgets them.

    Returns:
        The commands of the hooks that are now different.

    Raises:
        ConfigurationError: the file is no such document; names the path to what is wrong. Nothing was changed.
    """
    where = os.fspath(path)
    try:
        with open(where, "rb") as file:
            content = file.read()
    except OSError as error:
        raise StorageError(f"{where} can't be read: {error}") from error
    document = parse_document(content, where)
    with state.transaction() as transaction:
        known = {record.command: record for record in state.hooks_in(transaction)}
        return take_in(state, transaction, document, where, known, replace=mode == "replace")


def take_in(
    state: HookState,
    transaction: Transaction,
    document: Mapping[str, Any],
    where: str,
    known: Mapping[str, HookRecord],
    *,
    replace: bool,
) -> tuple[str, ...]:
    """Make the hooks what a document says, where that differs from what is known.

    Args:
        state: whose.
        transaction: of its store.
        document: see `parse_document`.
        where: the document's name, for errors.
        known: the hooks with which it is compared; only what differs is taken in.
        replace: forget hooks that are known and not in the document.

    Returns:
        The commands of the hooks that are now different.
    """
    hooks = {name_of(command): (command, fields) for command, fields in document["hooks"].items()}
    changed = []
    moment = state.moment()
    present = {record.command: record for record in state.hooks_in(transaction)}
    for name, (command, fields) in hooks.items():
        if name not in known or shown(known[name]) != _complete(fields):
            made = old = present.get(name, HookRecord(name))
            if name not in present or shown(old) != _complete(fields):
                made = _record(old, fields, state, moment, f"{where}: $.hooks[{command!r}]")
            state.put_record(transaction, made)
            if made.state != old.state:
                telling().tell_edit(state.store, transaction, old, made, where)
            changed.append(name)
    if replace:
        for name in known.keys() - hooks.keys():
            if known[name].is_disabled:
                telling().tell_edit(state.store, transaction, known[name], HookRecord(name), where)
            state.put_record(transaction, HookRecord(name))  # free again, so that the book lets go of it as well
            transaction.delete(key_of(name), keep_versions=1)
            changed.append(name)
    _put_rest(state, transaction, document)
    return tuple(sorted(changed))


def write_mirror(state: HookState, path: str | os.PathLike[str]) -> None:
    """The document kept beside the store for people; not durable, for it can be made again at any time.

    Raises:
        StorageError: the file is as before.
    """
    write_atomic(path, bytes_of(document_of(state)), durability="process")


def bytes_of(document: Mapping[str, Any]) -> bytes:
    """The file that a document is."""
    return (finite_json.dumps(document, indent=2) + "\n").encode()


def parse_document(content: bytes, path: str) -> dict[str, Any]:
    """The document that a file is, checked to the last field.

    Raises:
        ConfigurationError: it is none; names the path to what is wrong.
    """
    try:
        document = finite_json.loads(content)
    except JsonRefusedError as error:
        raise ConfigurationError(f"{path} is no export of hooks: {error}") from error
    hooks = document.get("hooks") if isinstance(document, dict) else None
    if not isinstance(hooks, dict) or not isinstance(document.get("global_stats", {}), dict):
        raise ConfigurationError(f'{path} is no export of hooks: it must be {{"hooks": ..., "global_stats": ...}}')
    names: dict[str, str] = {}
    for command, fields in hooks.items():
        where = f"{path}: $.hooks[{command!r}]"
        _check(where, fields)
        other = names.setdefault(name_of(command), command)
        if other != command:
            raise ConfigurationError(f"{where} is the same command as {other!r}: keep one of them")
    for name in ("total_executions", "total_failures", "hooks_disabled"):
        _check_count(f"{path}: $.global_stats.{name}", document.get("global_stats", {}).get(name, 0))
    return {**document}


def _check(where: str, fields: object) -> None:
    if not isinstance(fields, dict):
        raise ConfigurationError(f"{where} must be an object, not {fields!r}")
    if fields.get("state", "closed") not in ("closed", "open", "half_open"):
        raise ConfigurationError(f'{where}.state must be "closed", "open" or "half_open", not {fields["state"]!r}')
    for name in _COUNTS:
        _check_count(f"{where}.{name}", fields.get(name, 0))
    for name in _TIMES:
        _instant(f"{where}.{name}", fields.get(name))
    if not isinstance(fields.get("last_error"), (str, type(None))):
        raise ConfigurationError(f"{where}.last_error must be a text or null, not {fields['last_error']!r}")


def _check_count(where: str, value: object) -> None:
    if type(value) is not int or value < 0:
        raise ConfigurationError(f"{where} must be a whole number from 0, not {value!r}")


def _instant(where: str, value: object) -> float | None:
    """Seconds since 1970-01-01 UTC; a time without a zone is UTC."""
    if value is None:
        return None
    try:
        if not isinstance(value, str):
            raise TypeError(value)
        return instant(value)
    except (TypeError, ValueError, OverflowError):
        raise ConfigurationError(f"{where} must be an ISO 8601 time or null, not {value!r}") from None


def _complete(fields: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: fields.get(name, _DEFAULTS.get(name)) for name in DOCUMENTED}
    return {**known, **{name: value for name, value in fields.items() if name not in DOCUMENTED}}


def _record(old: HookRecord, fields: Mapping[str, Any], state: HookState, moment: Moment, where: str) -> HookRecord:
    known = _complete(fields)
    phase = known["state"]
    retry_at = _instant(f"{where}.retry_after", known["retry_after"])
    circuit = Circuit(phase, old.circuit.epoch + 1, failures=known["consecutive_failures"], openings=1)
    if phase == "open" and retry_at is None:
        held = Control("disabled", "import", "the imported file says open, and not until when")
        circuit = circuit._replace(phase="closed", control=held)
    elif phase == "open" and retry_at is not None:
        left_s = min(max(0.0, retry_at - moment.wall_s), state.settings.cooldown_max_s)
        circuit = circuit._replace(retry_at_s=moment.monotonic_s + left_s, cooldown_s=state.settings.cooldown_s)
    error = known["last_error"]
    return HookRecord(
        old.command,
        **{name: known[name] for name in (*_COUNTS, *_TIMES)},
        last_error=None if error is None else bounded(error),
        circuit=circuit,
        boot=moment.boot,
        unknown={
            name: value for name, value in known.items() if name not in (*DOCUMENTED, "command", "boot", "circuit")
        },
    )


def _put_rest(state: HookState, transaction: Transaction, document: Mapping[str, Any]) -> None:
    disabled = sum(transaction.get(key)["state"] != "closed" for key in transaction.keys(PREFIX))
    totals = {**GlobalStats()._asdict(), **document.get("global_stats", {}), "hooks_disabled": disabled}
    if totals != state.totals(transaction):
        state.put_totals(transaction, totals)
    rest = {name: value for name, value in document.items() if name not in ("hooks", "global_stats")}
    if rest or transaction.get(_UNKNOWN):
        transaction.put(_UNKNOWN, rest, keep_versions=1)
