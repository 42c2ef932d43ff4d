"""A disk that is full in the middle of a save: one program overwrites its only copy, the other writes a new one."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pytest_guardrails.errors import StorageError
from pytest_guardrails.reliability.durability import write_atomic

STATE = "state.json"
Ack = Callable[[object], None]


def setup(disk: Path) -> None:
    (disk / STATE).write_text(_text(0))


def recover(disk: Path) -> int:
    return int(json.loads((disk / STATE).read_text())["version"])


def overwrite(disk: Path, ack: Ack) -> None:
    for version in range(1, 4):
        (disk / STATE).write_text(_text(version))
        ack(version)


def careless(disk: Path, ack: Ack) -> None:
    """Goes on as if nothing had happened."""
    for version in range(1, 4):
        with suppress(OSError):
            temporary = disk / "state.tmp"
            temporary.write_text(_text(version))
            temporary.replace(disk / STATE)
        ack(version)


def atomic(disk: Path, ack: Ack) -> None:
    for version in range(1, 4):
        try:
            write_atomic(disk / STATE, _text(version).encode())
        except StorageError:
            return  # the old state stands, and nobody was told otherwise
        ack(version)


def _text(version: int) -> str:
    return json.dumps({"version": version, "log": ["entry"] * 50})
