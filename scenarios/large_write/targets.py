"""A large file written over the old one with a single `write`: a kill cuts it, and nobody notices."""

import hashlib
from collections.abc import Callable
from pathlib import Path

FILE = "model.bin"
SIZE_BYTES = 300_000


def setup(disk: Path) -> None:
    (disk / FILE).write_bytes(_content(0))


def workload(disk: Path, ack: Callable[[object], None]) -> None:
    for number in (1, 2):
        with (disk / FILE).open("r+b", buffering=0) as file:
            file.write(_content(number))
        ack(number)


def recover(disk: Path) -> str:
    return hashlib.sha256((disk / FILE).read_bytes()).hexdigest()


def _content(number: int) -> bytes:
    return bytes([number + 65]) * SIZE_BYTES
