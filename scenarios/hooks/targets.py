"""A thousand hooks of which four processes record failures, each killed again and again."""

import os
import time
from pathlib import Path

from chaos.child.witness import Witness
from pytest_guardrails.reliability.breakers import BreakerSettings, DisabledBook, HookState
from pytest_guardrails.reliability.breakers.hook_document import HookDocument
from pytest_guardrails.reliability.breakers.record import HookRecord
from pytest_guardrails.reliability.state import BackendKind, Incident, open_store

HOOKS = 1000
SETTINGS = BreakerSettings(failure_threshold=100)  # what is counted here are failures, not openings
_PAUSE_S = 0.001


def _hooks(disk: Path, kind: BackendKind, incidents: list[Incident]) -> HookState:
    store = open_store(disk / ("hooks.rest" if kind == "json" else "hooks.db"), backend=kind, cache=False)
    document = HookDocument(disk / "hooks.json", listener=incidents.append) if kind == "json" else None
    return HookState(store, SETTINGS, book=DisabledBook(disk / "hooks.disabled.json"), document=document)


def _setup(disk: Path, kind: BackendKind) -> None:
    state = _hooks(disk, kind, [])
    with state.transaction() as transaction:
        for number in range(HOOKS):
            state.put_record(transaction, HookRecord(f"hook {number}"))
    state.disable("hook 0", author="alice", reason="to see that nobody frees it")
    state.store.close()


def setup_sqlite(disk: Path) -> None:
    _setup(disk, "sqlite")


def setup_json(disk: Path) -> None:
    _setup(disk, "json")


def _record(disk: Path, witness: Witness, kind: BackendKind) -> None:
    state = _hooks(disk, kind, [])
    number = os.getpid()
    while True:
        number = number * 7 % 997
        with witness.call("add", 1):
            state.record_failure(f"hook {number + 1}", "boom")
        time.sleep(_PAUSE_S)


def record_sqlite(disk: Path, witness: Witness) -> None:
    _record(disk, witness, "sqlite")


def record_json(disk: Path, witness: Witness) -> None:
    _record(disk, witness, "json")


def _recover(disk: Path, kind: BackendKind) -> int:
    """How many failures were recorded, if all places agree on that, and no hook was lost or freed."""
    incidents: list[Incident] = []
    state = _hooks(disk, kind, incidents)
    hooks = state.get_all_hooks()
    counted, total = sum(record.failure_count for record in hooks), state.get_global_stats().total_failures
    if (len(hooks), counted) != (HOOKS, total):
        raise ValueError(f"{len(hooks)} hooks with {counted} failures, and {total} in all")
    if state.admit("hook 0").allowed or state.incidents():
        raise ValueError(f"hook 0 came free, or there was damage: {state.incidents()}")
    return total


def recover_sqlite(disk: Path) -> int:
    return _recover(disk, "sqlite")


def recover_json(disk: Path) -> int:
    return _recover(disk, "json")
