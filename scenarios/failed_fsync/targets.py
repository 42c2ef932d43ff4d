"""An fsync that fails once. After that the kernel calls the pages clean: the next fsync succeeds and syncs nothing.

`retrying` tries the same descriptor again and believes the answer; `rewriting` starts over with a new file.
"""

import os
from collections.abc import Callable
from pathlib import Path

STATE = "state"
Ack = Callable[[object], None]


def setup(disk: Path) -> None:
    (disk / STATE).write_text("version 0")


def recover(disk: Path) -> str:
    return (disk / STATE).read_text()


def retrying(disk: Path, ack: Ack) -> None:
    for number in range(1, 4):
        with (disk / "state.tmp").open("w") as file:
            file.write(f"version {number}")
            file.flush()
            try:
                os.fsync(file.fileno())
            except OSError:
                os.fsync(file.fileno())
        _publish(disk)
        ack(number)


def rewriting(disk: Path, ack: Ack) -> None:
    for number in range(1, 4):
        while not _write_new(disk / "state.tmp", f"version {number}"):
            (disk / "state.tmp").unlink()
        _publish(disk)
        ack(number)


def _write_new(path: Path, text: str) -> bool:
    with path.open("x") as file:
        file.write(text)
        file.flush()
        try:
            os.fsync(file.fileno())
        except OSError:
            return False
    return True


def _publish(disk: Path) -> None:
    (disk / "state.tmp").replace(disk / STATE)
    folder = os.open(disk, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(folder)
    os.close(folder)
