"""The stack's store on both backends: transactions over two keys, deletions, a rollback, a reopening in the middle.

What recovery returns counts incidents as well: an undamaged disk must never look damaged, whenever the crash came.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytest_guardrails.errors import StorageError
from pytest_guardrails.reliability.durability import DurabilityUnknownError
from pytest_guardrails.reliability.state import BackendKind, BackendSettings, StateStore, open_store

Ack = Callable[[object], None]


def _open(disk: Path, kind: BackendKind) -> StateStore:
    return open_store(disk / "state", backend=kind)


def _setup(disk: Path, kind: BackendKind) -> None:
    with _open(disk, kind) as store, store.transaction() as transaction:
        transaction.put("from", 30)
        transaction.put("to", 0)


def _move(store: StateStore, ack: Ack) -> None:
    with store.transaction() as transaction:
        moved = transaction.get("to") + 10
        transaction.put("from", 30 - moved)
        transaction.put("to", moved)
    ack(moved)


def _workload(disk: Path, ack: Ack, kind: BackendKind) -> None:
    with _open(disk, kind) as store:
        if store.get("to") < 10:
            _move(store, ack)
        try:
            with store.transaction() as transaction:
                transaction.put("to", -1)
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
    with _open(disk, kind) as store:
        if store.get("to") < 20:
            _move(store, ack)


def _recover(disk: Path, kind: BackendKind) -> dict[str, object]:
    with _open(disk, kind) as store:
        return {"from": store.get("from"), "to": store.get("to"), "incidents": len(store.incidents())}


def _create(disk: Path, ack: Ack, kind: BackendKind) -> None:
    with _open(disk, kind) as store:
        ack("open")
        store.put("key", "x" * 5000)
        ack("put")


def _recover_new(disk: Path, kind: BackendKind) -> dict[str, object]:
    with _open(disk, kind) as store:
        return {"key": store.get("key"), "incidents": len(store.incidents())}


def setup_sqlite(disk: Path) -> None:
    _setup(disk, "sqlite")


def workload_sqlite(disk: Path, ack: Ack) -> None:
    _workload(disk, ack, "sqlite")


def recover_sqlite(disk: Path) -> dict[str, object]:
    return _recover(disk, "sqlite")


def create_sqlite(disk: Path, ack: Ack) -> None:
    _create(disk, ack, "sqlite")


def recover_new_sqlite(disk: Path) -> dict[str, object]:
    return _recover_new(disk, "sqlite")


def setup_json(disk: Path) -> None:
    _setup(disk, "json")


def workload_json(disk: Path, ack: Ack) -> None:
    _workload(disk, ack, "json")


def recover_json(disk: Path) -> dict[str, object]:
    return _recover(disk, "json")


def create_json(disk: Path, ack: Ack) -> None:
    _create(disk, ack, "json")


def recover_new_json(disk: Path) -> dict[str, object]:
    return _recover_new(disk, "json")


# A damaged store: quarantine and restore are cut off anywhere, and the next start must finish them.


def _setup_damaged(disk: Path, kind: BackendKind) -> None:
    with _open(disk, kind) as store:
        store.put("key", 1)
        store.put("key", 2)
    content = (disk / "state").read_bytes()
    (disk / "state").write_bytes(b"foreign " + content[8:])


def _mend(disk: Path, ack: Ack, kind: BackendKind) -> None:
    with _open(disk, kind) as store:
        ack(store.get("key"))


def _recover_mended(disk: Path, kind: BackendKind) -> object:
    with _open(disk, kind) as store:
        if not store.incidents():
            raise ValueError("the damage was mended without a word")
        return store.get("key")


def setup_damaged_sqlite(disk: Path) -> None:
    _setup_damaged(disk, "sqlite")


def mend_sqlite(disk: Path, ack: Ack) -> None:
    _mend(disk, ack, "sqlite")


def recover_mended_sqlite(disk: Path) -> object:
    return _recover_mended(disk, "sqlite")


def setup_damaged_json(disk: Path) -> None:
    _setup_damaged(disk, "json")


def mend_json(disk: Path, ack: Ack) -> None:
    _mend(disk, ack, "json")


def recover_mended_json(disk: Path) -> object:
    return _recover_mended(disk, "json")


THREADS, ROUNDS = 3, 2


def _write_together(disk: Path, ack: Ack, kind: BackendKind) -> None:
    """Threads that come at the same time and so share commits."""
    with _open(disk, kind) as store:
        for number in range(1, ROUNDS + 1):
            gate = threading.Barrier(THREADS)

            def write(name: str, number: int = number, gate: threading.Barrier = gate) -> None:
                gate.wait()
                store.put(name, number)
                ack([name, number])

            threads = [threading.Thread(target=write, args=(f"t{thread}",)) for thread in range(THREADS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()


def _recover_together(disk: Path, kind: BackendKind) -> dict[str, object]:
    with _open(disk, kind) as store:
        return {"values": {key: store.get(key) for key in store.keys("t")}, "incidents": len(store.incidents())}


def write_together_json(disk: Path, ack: Ack) -> None:
    _write_together(disk, ack, "json")


def write_together_sqlite(disk: Path, ack: Ack) -> None:
    _write_together(disk, ack, "sqlite")


def recover_together_json(disk: Path) -> dict[str, object]:
    return _recover_together(disk, "json")


def recover_together_sqlite(disk: Path) -> dict[str, object]:
    return _recover_together(disk, "sqlite")


def check_together(value: dict[str, Any], acked: list[list[Any]]) -> None:
    """Whatever was acknowledged is there, and nothing is there that was not written."""
    for name, number in acked:
        assert value["values"].get(name, 0) >= number, f"{name} is {value['values'].get(name)} after {number}"
    assert set(value["values"].values()) <= set(range(1, ROUNDS + 1))
    assert value["incidents"] == 0


KEYS, TURNS = 10, 250
_OLD_VALUES_GO = BackendSettings(keep_versions=1)


def setup_refusals(disk: Path) -> None:
    with open_store(disk / "state", settings=_OLD_VALUES_GO) as store, store.transaction() as transaction:
        for key in range(KEYS):
            transaction.put(f"key {key}", 0)


def workload_refusals(disk: Path, ack: Ack) -> None:
    """Goes on when the disk refuses, as a program that runs for weeks does."""
    store = open_store(disk / "state", settings=_OLD_VALUES_GO)
    for turn in range(1, TURNS + 1):
        with suppress(StorageError):
            store.put(f"key {turn % KEYS}", turn)
            ack([turn % KEYS, turn])
    with suppress(StorageError):
        store.close()


def recover_refusals(disk: Path) -> dict[str, Any]:
    with open_store(disk / "state", settings=_OLD_VALUES_GO) as store:
        return {"values": [store.get(f"key {key}") for key in range(KEYS)], "incidents": len(store.incidents())}


def check_refusals(value: dict[str, Any], acked: list[list[int]]) -> None:
    assert not value["incidents"], "a disk that refused was taken for damage"
    last = dict(acked)
    for key, found in enumerate(value["values"]):
        assert found is not None, f"key {key} is gone"
        assert found >= last.get(key, 0), f"key {key} is {found}, and {last[key]} was acknowledged"


PUTS = 2


def setup_told_sqlite(disk: Path) -> None:
    with open_store(disk / "state", backend="sqlite") as store:
        store.put("key", 0)


def setup_told_json(disk: Path) -> None:
    with open_store(disk / "state", backend="json") as store:
        store.put("key", 0)


def _tell(disk: Path, ack: Ack, kind: BackendKind) -> None:
    """Says before each commit what it will write, and after it what the store said of it."""
    with suppress(StorageError), open_store(disk / "state", backend=kind) as store:
        for number in range(1, PUTS + 1):
            ack(["tried", number])
            try:
                store.put("key", number)
            except DurabilityUnknownError:
                ack(["unknown", number])
            except StorageError:
                ack(["refused", number])
            else:
                ack(["holds", number])


def tell_sqlite(disk: Path, ack: Ack) -> None:
    _tell(disk, ack, "sqlite")


def tell_json(disk: Path, ack: Ack) -> None:
    _tell(disk, ack, "json")


def recover_told_sqlite(disk: Path) -> int:
    with open_store(disk / "state", backend="sqlite") as store:
        return int(store.get("key"))


def recover_told_json(disk: Path) -> int:
    with open_store(disk / "state", backend="json") as store:
        return int(store.get("key"))


def check_told(value: int, acked: list[list[Any]]) -> None:
    """What holds is there, unless a later one may be; what was refused is not, now or after the power failed."""
    said = {0: "holds", **{number: words for words, number in acked}}
    held = max(number for number, words in said.items() if words == "holds")
    assert value in said, f"{value} was never written"
    assert said[value] != "refused", f"{value} was refused, and is there"
    assert value >= held, f"{held} was said to hold, and {value} is there"
