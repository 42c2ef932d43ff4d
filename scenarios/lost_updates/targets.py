"""A counter in a JSON file that several processes count up: lost updates, and the twins that lose none.

The file is replaced in one piece, so that nobody ever reads half of it: it is the update that is not one step.
"""

import fcntl
import json
import os
from pathlib import Path

from chaos.child.witness import Witness
from pytest_guardrails.reliability.state import BackendKind, open_store

_ROUNDS = 2


def setup(disk: Path) -> None:
    (disk / "counter.json").write_text('{"count": 0}')


def naive(disk: Path, witness: Witness) -> None:
    for _ in range(_ROUNDS):
        with witness.call("add", 1) as call:
            call.result = _count_up(disk / "counter.json")


def locked(disk: Path, witness: Witness) -> None:
    for _ in range(_ROUNDS):
        with witness.call("add", 1) as call, open(disk / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            call.result = _count_up(disk / "counter.json")


def _count_up(path: Path) -> int:
    count: int = json.loads(path.read_text())["count"] + 1
    new = path.with_name(f"new{os.getpid()}")
    new.write_text(json.dumps({"count": count}))
    new.replace(path)
    return count


def total(disk: Path, _: list[object]) -> int:
    count: int = json.loads((disk / "counter.json").read_text())["count"]
    return count


def _set_up_store(disk: Path, kind: BackendKind) -> None:
    with open_store(disk / "state", backend=kind) as store:
        store.put("count", 0)


def _store(disk: Path, witness: Witness, kind: BackendKind) -> None:
    with open_store(disk / "state", backend=kind) as store:
        for _ in range(_ROUNDS):
            with witness.call("add", 1) as call:
                with store.transaction() as transaction:
                    count = transaction.get("count") + 1
                    transaction.put("count", count)
                call.result = count


def _store_total(disk: Path, kind: BackendKind) -> int:
    with open_store(disk / "state", backend=kind) as store:
        count: int = store.get("count")
        return count


def setup_json(disk: Path) -> None:
    _set_up_store(disk, "json")


def json_store(disk: Path, witness: Witness) -> None:
    _store(disk, witness, "json")


def json_total(disk: Path, _: list[object]) -> int:
    return _store_total(disk, "json")


def setup_sqlite(disk: Path) -> None:
    _set_up_store(disk, "sqlite")


def sqlite_store(disk: Path, witness: Witness) -> None:
    _store(disk, witness, "sqlite")


def sqlite_total(disk: Path, _: list[object]) -> int:
    return _store_total(disk, "sqlite")
