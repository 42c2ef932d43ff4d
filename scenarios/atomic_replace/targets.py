"""Replace a file in one step: a temporary file beside it, fsync, rename, fsync of the directory.

The variants leave out one or both syncs; under a kill all are sound, since the page cache survives.
"""

import os
from collections.abc import Callable
from pathlib import Path

STATE = "state.txt"


def setup(disk: Path) -> None:
    (disk / STATE).write_text("version 0")


def recover(disk: Path) -> str:
    return (disk / STATE).read_text()


def workload(disk: Path, ack: Callable[[object], None]) -> None:
    _save_three(disk, ack, sync_file=True, sync_directory=True)


def without_file_sync(disk: Path, ack: Callable[[object], None]) -> None:
    _save_three(disk, ack, sync_file=False, sync_directory=True)


def without_directory_sync(disk: Path, ack: Callable[[object], None]) -> None:
    _save_three(disk, ack, sync_file=True, sync_directory=False)


def without_any_sync(disk: Path, ack: Callable[[object], None]) -> None:
    _save_three(disk, ack, sync_file=False, sync_directory=False)


def check_whole(value: str, _acked: list[int]) -> None:
    """Judges atomicity alone: any version may come back, as long as it is whole."""
    version = value.split(" ")[1] if value.startswith("version ") else ""
    assert value in ("version 0", f"version {version} " + "x" * 100), f"never written: {value!r}"


def _save_three(disk: Path, ack: Callable[[object], None], *, sync_file: bool, sync_directory: bool) -> None:
    for number in range(1, 4):
        _replace(disk / STATE, f"version {number} " + "x" * 100, sync_file, sync_directory)
        ack(number)


def _replace(path: Path, text: str, sync_file: bool, sync_directory: bool) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        if sync_file:
            os.fsync(file.fileno())
    temporary.replace(path)
    if sync_directory:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
