"""`dbm.dumb`, and `shelve` on top of it: the standard library's last resort rewrites its index in place."""

import dbm.dumb
import shelve
from collections.abc import Callable
from pathlib import Path


def setup(disk: Path) -> None:
    with dbm.dumb.open(str(disk / "data"), "c") as database:
        database[b"key 0"] = b"value 0"


def workload(disk: Path, ack: Callable[[object], None]) -> None:
    for number in range(1, 4):
        with dbm.dumb.open(str(disk / "data"), "w") as database:
            database[f"key {number}".encode()] = f"value {number}".encode()
        ack(f"key {number}")


def recover(disk: Path) -> dict[str, str]:
    with dbm.dumb.open(str(disk / "data"), "r") as database:
        return {key.decode(): database[key].decode() for key in database}


def shelve_setup(disk: Path) -> None:
    with shelve.Shelf(dbm.dumb.open(str(disk / "shelf"), "c")) as shelf:
        shelf["number 0"] = {"value": 0}


def shelve_workload(disk: Path, ack: Callable[[object], None]) -> None:
    for number in range(1, 4):
        with shelve.Shelf(dbm.dumb.open(str(disk / "shelf"), "w")) as shelf:
            shelf[f"number {number}"] = {"value": number}
        ack(f"number {number}")


def shelve_recover(disk: Path) -> dict[str, object]:
    with shelve.Shelf(dbm.dumb.open(str(disk / "shelf"), "r")) as shelf:
        return {key: shelf[key] for key in shelf}
