"""The hooks as one JSON document for people: exactly `{"hooks": {COMMAND: {...}}, "global_stats": {...}}`.

Each hook has the documented fields (`record.DOCUMENTED`), then whatever somebody added; an export that is imported
again exports the same bytes. The document is no store: what is changed in it comes in by `import_hooks` alone. What it
can't say is decided for safety: an open hook without `retry_after` stays closed to all until somebody enables it.

`hook_store.py` keeps such a file beside the store, at most one write a second. Read `hook_state.py` for the store.
"""

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pytest_guardrails.errors import ConfigurationError, StorageError
from pytest_guardrails.reliability.breakers.commands import PREFIX, key_of, name_of
from pytest_guardrails.reliability.breakers.hook_state import GlobalStats, HookState
from pytest_guardrails.reliability.breakers.model import Circuit, Control
from pytest_guardrails.reliability.breakers.record import DOCUMENTED, HookRecord, Moment, bounded, shown
from pytest_guardrails.reliability.durability import JsonRefusedError, finite_json, write_atomic
from pytest_guardrails.reliability.state.transaction import Transaction

__all__ = ["document_of", "export_hooks", "import_hooks", "write_mirror"]

_UNKNOWN = "document-unknown"
_TIMES = ("first_failure", "last_failure", "last_success", "disabled_at", "retry_after")
_COUNTS = ("failure_count", "consecutive_failures", "consecutive_successes")
_DEFAULTS: Mapping[str, Any] = {"state": "closed", **dict.fromkeys(_COUNTS, 0)}


def document_of(state: HookState) -> dict[str, Any]:
    """The document as of now."""
    hooks = {record.command: shown(record) for record in state.get_all_hooks()}
    return {"hooks": hooks, "global_stats": state.totals(), **state.store.get(_UNKNOWN, {})}


def export_hooks(state: HookState, path: str | os.PathLike[str]) -> int:
    """Write the document to a file, in one step, durably.

    Returns:
        How many hooks there are.

    Raises:
        StorageError: the file is as before.
    """
    document = document_of(state)
    write_atomic(path, _bytes_of(document))
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
    document = _read(os.fspath(path))
    hooks = {name_of(command): (command, fields) for command, fields in document["hooks"].items()}
    changed = []
    with state.store.transaction() as transaction:
        moment = state.moment()
        known = {record.command: record for record in state.get_all_hooks()}
        for name, (command, fields) in hooks.items():
            old = known.get(name, HookRecord(name))
            if name not in known or shown(old) != _complete(fields):
                where = f"{os.fspath(path)}: $.hooks[{command!r}]"
                state.put_record(transaction, _record(old, fields, state, moment, where))
                changed.append(name)
        if mode == "replace":
            for name in known.keys() - hooks.keys():
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
    write_atomic(path, _bytes_of(document_of(state)), durability="process")


def _bytes_of(document: Mapping[str, Any]) -> bytes:
    return (finite_json.dumps(document, indent=2) + "\n").encode()


def _read(path: str) -> Mapping[str, Any]:
    try:
        with open(path, "rb") as file:
            document = finite_json.loads(file.read())
    except OSError as error:
        raise StorageError(f"{path} can't be read: {error}") from error
    except JsonRefusedError as error:
        raise ConfigurationError(f"{path} is no export of hooks: {error}") from error
    hooks = document.get("hooks") if isinstance(document, dict) else None
    if not isinstance(hooks, dict) or not isinstance(document.get("global_stats", {}), dict):
        raise ConfigurationError(f'{path} is no export of hooks: it must be {{"hooks": ..., "global_stats": ...}}')
    for command, fields in hooks.items():
        _check(f"{path}: $.hooks[{command!r}]", fields)
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
        # Python 3.10 does not know the "Z" that people and other programs write.
        text = value[:-1] + "+00:00" if isinstance(value, str) and value.endswith("Z") else value
        moment = datetime.fromisoformat(text)  # type: ignore[arg-type]  # a TypeError is told like a bad text
        return (moment if moment.tzinfo else datetime.fromisoformat(f"{text}+00:00")).timestamp()
    except (TypeError, ValueError):
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
        unknown={name: value for name, value in known.items() if name not in DOCUMENTED},
    )


def _put_rest(state: HookState, transaction: Transaction, document: Mapping[str, Any]) -> None:
    totals = {**GlobalStats()._asdict(), **document.get("global_stats", {})}
    disabled = sum(transaction.get(key)["state"] != "closed" for key in transaction.keys(PREFIX))
    state.put_totals(transaction, {**totals, "hooks_disabled": disabled})
    rest = {name: value for name, value in document.items() if name not in ("hooks", "global_stats")}
    if rest or transaction.get(_UNKNOWN):
        transaction.put(_UNKNOWN, rest, keep_versions=1)
