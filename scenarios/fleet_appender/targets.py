"""Several processes append records to one log, each in two writes under a lock, and are killed in between."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chaos.child.witness import Witness

_PADDING = "." * 4000
_END = " end"
_PAUSE_S = 0.001


def setup(disk: Path) -> None:
    (disk / "log").write_bytes(b"")


def naive(disk: Path, witness: Witness) -> None:
    """Takes for granted that the log ends where a record ends: whoever comes after a cut record spoils its own."""
    for number in range(1_000_000):
        with _locked(disk) as log:
            _append(log, f"{witness.number}.{witness.life}.{number}")
        witness(f"{witness.number}.{witness.life}.{number}")
        time.sleep(_PAUSE_S)


def sound(disk: Path, witness: Witness) -> None:
    """Removes what a killed process left of a record, before it appends its own."""
    for number in range(1_000_000):
        with _locked(disk) as log:
            size = os.fstat(log).st_size
            if size and os.pread(log, 1, size - 1) != b"\n":
                os.ftruncate(log, _end_of_last_record(log, size))
            _append(log, f"{witness.number}.{witness.life}.{number}")
        witness(f"{witness.number}.{witness.life}.{number}")
        time.sleep(_PAUSE_S)


def in_one_write(disk: Path, witness: Witness) -> None:
    """Each record in one write: no lock is needed, but a kill cuts a write, and the next record is spoiled by it."""
    _append_lines(disk, witness, "{}\n")


def on_lines_of_their_own(disk: Path, witness: Witness) -> None:
    """Each record begins with a line feed as well: what a kill left of another one spoils nothing after it."""
    _append_lines(disk, witness, "\n{}\n")


def recover_lines(disk: Path) -> list[str]:
    """The names of all records that are whole."""
    lines = (disk / "log").read_text().split("\n")
    return [line.removesuffix(_END) for line in lines if line.endswith(_END)]


def recover(disk: Path) -> list[str]:
    """The names of all records that are whole."""
    content = (disk / "log").read_text()
    whole = content[: content.rfind("\n") + 1].splitlines()
    return [line.partition(" ")[0] for line in whole if line.endswith(" " + _PADDING)]


def _append_lines(disk: Path, witness: Witness, form: str) -> None:
    log = os.open(disk / "log", os.O_WRONLY | os.O_APPEND)
    for number in range(1_000_000):
        name = f"{witness.number}.{witness.life}.{number}"
        os.write(log, form.format(name + _END).encode())
        witness(name)
        time.sleep(_PAUSE_S)


@contextmanager
def _locked(disk: Path) -> Iterator[int]:
    log = os.open(disk / "log", os.O_RDWR | os.O_APPEND)
    try:
        fcntl.flock(log, fcntl.LOCK_EX)
        yield log
    finally:
        os.close(log)


def _append(log: int, name: str) -> None:
    os.write(log, name.encode())
    time.sleep(_PAUSE_S)  # making the rest of the record takes its time
    os.write(log, f" {_PADDING}\n".encode())
    os.fsync(log)


def _end_of_last_record(log: int, size: int) -> int:
    tail = os.pread(log, len(_PADDING) + 100, max(0, size - len(_PADDING) - 100))
    return size - len(tail) + tail.rfind(b"\n") + 1
