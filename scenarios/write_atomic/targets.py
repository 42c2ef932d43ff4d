"""The stack's `write_atomic`: an existing file replaced three times, and one in directories that are made for it."""

from collections.abc import Callable
from pathlib import Path

from pytest_guardrails.reliability.durability import write_atomic

Ack = Callable[[object], None]


def setup(disk: Path) -> None:
    (disk / "state").write_text("version 0")


def workload(disk: Path, ack: Ack) -> None:
    for number in range(1, 4):
        write_atomic(disk / "state", f"version {number}".encode())
        ack(number)


def recover(disk: Path) -> str:
    write_atomic(disk / "started", b"yes")  # a start writes, too, and sweeps what others left
    return (disk / "state").read_text()


def process_level(disk: Path, ack: Ack) -> None:
    for number in range(1, 4):
        write_atomic(disk / "state", f"version {number}".encode(), durability="process")
        ack(number)


def deep(disk: Path, ack: Ack) -> None:
    write_atomic(disk / "a" / "b" / "state", b"version 1")
    ack(1)
    write_atomic(disk / "a" / "b" / "state", b"version 2")
    ack(2)


def recover_deep(disk: Path) -> str | None:
    path = disk / "a" / "b" / "state"
    return path.read_text() if path.exists() else None
