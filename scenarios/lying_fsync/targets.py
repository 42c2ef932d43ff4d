"""A disk that says it synced and did not: what write_atomic promises then holds for kills, and not for a power cut."""

from collections.abc import Callable
from pathlib import Path

from pytest_guardrails.reliability.durability import write_atomic

STATE = "state"
Ack = Callable[[object], None]


def setup(disk: Path) -> None:
    (disk / STATE).write_text("0")


def recover(disk: Path) -> str:
    return (disk / STATE).read_text()


def workload(disk: Path, ack: Ack) -> None:
    for number in range(1, 4):
        write_atomic(disk / STATE, str(number).encode())
        ack(str(number))
