"""One backup, taken before each save in place. One crash is survived; the save after it destroys the only good copy.

`workload` copies the state over the backup without looking at it: after a crash in the middle of a save, the state is
torn and the backup is good, and the next save replaces the good one by the torn one. `checked_workload` looks first.
"""

import os
import zlib
from collections.abc import Callable
from pathlib import Path

STATE, BACKUP = "state", "state.bak"
Ack = Callable[[object], None]


def setup(disk: Path) -> None:
    _write(disk / STATE, _seal(0))
    _write(disk / BACKUP, _seal(0))


def recover(disk: Path) -> int:
    for name in (STATE, BACKUP):
        number = _unseal((disk / name).read_bytes())
        if number is not None:
            return number
    raise ValueError("both the state and its backup are damaged")


def workload(disk: Path, ack: Ack) -> None:
    _save_until(disk, ack, look_first=False)


def checked_workload(disk: Path, ack: Ack) -> None:
    _save_until(disk, ack, look_first=True)


def _save_until(disk: Path, ack: Ack, *, look_first: bool) -> None:
    for number in range(recover(disk) + 1, 4):
        state = (disk / STATE).read_bytes()
        if not look_first or _unseal(state) is not None:
            _write(disk / BACKUP, state)
        _write(disk / STATE, _seal(number))
        ack(number)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(folder)
    os.close(folder)


def _seal(number: int) -> bytes:
    text = f"number {number}".encode()
    return b"%08x %s" % (zlib.crc32(text), text)


def _unseal(content: bytes) -> int | None:
    checksum, _, text = content.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        return None
    return int(text.split()[1])
