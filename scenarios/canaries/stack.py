"""The stack's own code with one thing taken away, and the same workload with nothing taken away.

`without_*` must be caught; `whole_*` must pass all oracles on the same models.
"""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

from pytest_guardrails.reliability.durability import atomic, write_atomic
from pytest_guardrails.reliability.state import BackendKind, BackendSettings, open_store

Ack = Callable[[object], None]


def _directories_only(descriptor: int) -> None:
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.fsync(descriptor)


def _files_only(descriptor: int) -> None:
    if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.fsync(descriptor)


# write_atomic without one of its two syncs


def setup_file(disk: Path) -> None:
    write_atomic(disk / "state", b"version 0")


def whole_file(disk: Path, ack: Ack) -> None:
    for number in range(1, 4):
        write_atomic(disk / "state", f"version {number} {'x' * 100}".encode())
        ack(number)


def without_file_sync(disk: Path, ack: Ack) -> None:
    atomic.sync_file = _directories_only
    whole_file(disk, ack)


def without_directory_sync(disk: Path, ack: Ack) -> None:
    atomic.sync_file = _files_only
    whole_file(disk, ack)


def recover_file(disk: Path) -> str:
    return (disk / "state").read_text()


# the store at a level that does not promise to survive a power cut


def _count(disk: Path, ack: Ack, kind: BackendKind, settings: BackendSettings) -> None:
    with open_store(disk / "store", backend=kind, settings=settings) as store:
        for number in range(store.get("count", 0) + 1, 4):
            store.put("count", number)
            ack(number)


def _recover_count(disk: Path, kind: BackendKind) -> int:
    with open_store(disk / "store", backend=kind) as store:
        return int(store.get("count", 0))


def whole_sqlite(disk: Path, ack: Ack) -> None:
    _count(disk, ack, "sqlite", BackendSettings())


def without_sqlite_sync(disk: Path, ack: Ack) -> None:
    _count(disk, ack, "sqlite", BackendSettings(durability="process"))


def recover_sqlite(disk: Path) -> int:
    return _recover_count(disk, "sqlite")


def setup_sqlite(disk: Path) -> None:
    with open_store(disk / "store") as store:
        store.put("count", 0)


def whole_json(disk: Path, ack: Ack) -> None:
    _count(disk, ack, "json", BackendSettings())


def without_json_sync(disk: Path, ack: Ack) -> None:
    _count(disk, ack, "json", BackendSettings(durability="process"))


def recover_json(disk: Path) -> int:
    return _recover_count(disk, "json")


def setup_json(disk: Path) -> None:
    with open_store(disk / "store", backend="json") as store:
        store.put("count", 0)


# a transaction log that is written after the state


def setup_log(disk: Path) -> None:
    write_atomic(disk / "balance", b"100")
    write_atomic(disk / "log", b"[]")
    with open_store(disk / "store") as store:
        store.put("balance", 100)


def without_common_commit(disk: Path, ack: Ack) -> None:
    for amount in (10, 20):
        write_atomic(disk / "balance", str(int((disk / "balance").read_text()) - amount).encode())
        log = [*json.loads((disk / "log").read_text()), amount]
        write_atomic(disk / "log", json.dumps(log).encode())
        ack(amount)


def recover_two_files(disk: Path) -> dict[str, int]:
    return {"balance": int((disk / "balance").read_text()), "logged": sum(json.loads((disk / "log").read_text()))}


def whole_commit(disk: Path, ack: Ack) -> None:
    with open_store(disk / "store") as store:
        for amount in (10, 20):
            store.update("balance", lambda balance, amount=amount: balance - amount)
            ack(amount)


def recover_one_store(disk: Path) -> dict[str, int]:
    with open_store(disk / "store") as store:
        changes = [line for line in store.transactions() if "balance" in line.keys]
        return {"balance": int(store.get("balance")), "logged": len(changes)}
