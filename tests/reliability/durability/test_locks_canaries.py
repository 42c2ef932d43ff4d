"""Three broken locks that are often seen, and `FileLock` in the same schedule: the broken ones let two in.

The schedule is fixed: a holder, a waiter that has opened the file already, and a third one that comes after the
release. So these tests show that the schedule would catch each mistake, were it made in `FileLock`.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from pytest_guardrails.reliability.durability import FileLock, LockDeadlineError, write_atomic
from tests.reliability.processes import Child


class Lock(Protocol):
    """A lock as the schedule needs it; `open` may already open the file."""

    def open(self) -> None: ...
    def take(self) -> bool: ...
    def write(self) -> None: ...
    def release(self) -> None: ...


class Flock:
    """The bare call on a lock file that stays."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lock"
        self.descriptor = -1

    def open(self) -> None:
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT)

    def take(self) -> bool:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def write(self) -> None:
        return

    def release(self) -> None:
        os.close(self.descriptor)


class Unlinking(Flock):
    """Removes its lock file when it is done, to leave nothing behind."""

    def release(self) -> None:
        self.path.unlink()
        super().release()


class OnReplacedFile(Flock):
    """Locks the data file itself, which each write replaces."""

    def write(self) -> None:
        write_atomic(self.path, b"new")


class Ours:
    """The real one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self) -> None:
        self.lock = FileLock.beside(self.folder / "data")

    def take(self) -> bool:
        try:
            self.lock.acquire(deadline_s=0)
        except LockDeadlineError:
            return False
        return True

    def write(self) -> None:
        write_atomic(self.folder / "data", b"new")

    def release(self) -> None:
        self.lock.release()


def together(folder: Path, make: Callable[[Path], Lock]) -> bool:
    """Whether a waiter that had opened the lock before the release and one that comes later are both inside."""
    go_reader, go_writer = os.pipe()

    def wait_then_take(say: Callable[[str], None]) -> None:
        os.read(go_reader, 1)
        waiter = make(folder)
        waiter.open()
        say("opened")
        os.read(go_reader, 1)
        say(str(waiter.take()))
        os.read(os.pipe()[0], 1)

    child = Child(wait_then_take)  # forked first, so that it inherits no descriptor of the holder's
    holder = make(folder)
    holder.open()
    assert holder.take()
    os.write(go_writer, b"x")
    assert child.line() == "opened"
    holder.write()
    holder.release()
    os.write(go_writer, b"x")
    assert child.line() == "True"
    later = make(folder)
    later.open()
    return later.take()


@pytest.mark.parametrize("make", [Unlinking, OnReplacedFile])
def test_a_broken_lock_lets_two_in(tmp_path: Path, make: Callable[[Path], Lock]) -> None:
    assert together(tmp_path, make)


@pytest.mark.parametrize("make", [Flock, Ours])
def test_a_sound_lock_lets_one_in(tmp_path: Path, make: Callable[[Path], Lock]) -> None:
    assert not together(tmp_path, make)
