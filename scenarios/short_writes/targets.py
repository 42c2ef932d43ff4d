"""Writes that do less than they were asked to: whoever does not look at the count loses bytes."""

import os
from collections.abc import Callable
from pathlib import Path

LOG = "log"
Ack = Callable[[object], None]
Write = Callable[[int, bytes], None]


def setup(disk: Path) -> None:
    (disk / LOG).write_bytes(b"")


def recover(disk: Path) -> list[str]:
    return (disk / LOG).read_text().splitlines()


def naive(disk: Path, ack: Ack) -> None:
    _append(disk, ack, os.write)


def looping(disk: Path, ack: Ack) -> None:
    _append(disk, ack, _write_all)


def _append(disk: Path, ack: Ack, write: Callable[[int, bytes], object]) -> None:
    log = os.open(disk / LOG, os.O_WRONLY | os.O_APPEND)
    for number in range(1, 5):
        write(log, f"entry {number}\n".encode())
        ack(f"entry {number}")
    os.close(log)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
