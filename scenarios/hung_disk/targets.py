"""A disk that hangs in fsync: no signal ends such a call, so whoever must go on needs a thread or a process for it."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

STATE = "state"
Ack = Callable[[object], None]
_PATIENCE_S = 0.5


def setup(disk: Path) -> None:
    (disk / STATE).write_text("0")


def recover(disk: Path) -> str:
    return (disk / STATE).read_text()


def waiting(disk: Path, ack: Ack) -> None:
    _save(disk, ack, os.fsync)


def giving_up(disk: Path, ack: Ack) -> None:
    _save(disk, ack, _sync_in_time)


def _save(disk: Path, ack: Ack, sync: Callable[[int], None]) -> None:
    for number in range(1, 3):
        temporary = disk / "state.tmp"
        with temporary.open("w") as file:
            file.write(str(number))
            file.flush()
            sync(file.fileno())
        temporary.replace(disk / STATE)
        ack(number)


def _sync_in_time(descriptor: int) -> None:
    """Sync in a thread that dies with the process."""
    errors: list[OSError] = []

    def sync() -> None:
        try:
            os.fsync(descriptor)
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=sync, daemon=True)
    thread.start()
    thread.join(_PATIENCE_S)
    if thread.is_alive():
        raise TimeoutError(f"the disk did not answer within {_PATIENCE_S} s")
    if errors:
        raise errors[0]
