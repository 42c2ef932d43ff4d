"""Locks that let two processes in, in some order of their calls, and twins of them that never do.

Each worker goes through its critical section twice.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from chaos.child.witness import Witness
from pytest_guardrails.reliability.durability import FileLock, Lease

_ROUNDS, _TRIES = 2, 200
_PAUSE_S = 0.01
_NOBODY = 2**22 + 1  # above any process id that Linux gives out


def _rounds(witness: Witness, lock: Callable[[], object]) -> None:
    for _ in range(_ROUNDS):
        with lock(), witness.section():  # type: ignore[attr-defined]
            pass


def unlinking(disk: Path, witness: Witness) -> None:
    """The lock file is unlinked on release: whoever had opened it before locks a file that has no name any more."""
    _rounds(witness, lambda: _locked(disk / "lock", unlink=True))


def staying(disk: Path, witness: Witness) -> None:
    """The twin: the lock file stays."""
    _rounds(witness, lambda: _locked(disk / "lock", unlink=False))


@contextmanager
def _locked(path: Path, *, unlink: bool) -> Iterator[None]:
    lock = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
        if unlink:
            path.unlink(missing_ok=True)
    finally:
        os.close(lock)


def leave_stale(disk: Path) -> None:
    """A lock file whose owner is long dead."""
    (disk / "lock").write_text(str(_NOBODY))


def robbing(disk: Path, witness: Witness) -> None:
    """A stale lock is removed by its name: two see it, and the second removes what the first has just made."""
    _rounds(witness, lambda: _made(disk / "lock", _rob))


def robbing_under_lock(disk: Path, witness: Witness) -> None:
    """The twin: one at a time looks whether the lock is stale, and removes it."""

    def rob(path: Path) -> None:
        with _locked(disk / "robbery", unlink=False):
            _rob(path)

    _rounds(witness, lambda: _made(disk / "lock", rob))


@contextmanager
def _made(path: Path, rob: Callable[[Path], None]) -> Iterator[None]:
    """A lock that is held by whoever made the file; its owner's process id stands in it from the first moment."""
    own = path.with_name(f"own{os.getpid()}")
    own.unlink(missing_ok=True)  # it may still be the lock, under its other name
    own.write_text(str(os.getpid()))
    for _ in range(_TRIES):
        try:
            os.link(own, path)
            break
        except FileExistsError:
            rob(path)
            time.sleep(_PAUSE_S)
    else:
        raise TimeoutError(f"{path} is not free")
    yield
    path.unlink()


def _rob(path: Path) -> None:
    try:
        owner = int(path.read_text())
    except FileNotFoundError:
        return
    if not os.path.exists(f"/proc/{owner}"):
        path.unlink(missing_ok=True)


def make_data(disk: Path) -> None:
    (disk / "data").write_text("0")


def locking_what_is_replaced(disk: Path, witness: Witness) -> None:
    """The data file itself is locked, and then replaced: who waited gets the lock of a file that is gone."""
    _rounds(witness, lambda: _replacing(disk / "data", disk / "data"))


def locking_beside(disk: Path, witness: Witness) -> None:
    """The twin: a file that is never replaced is locked."""
    _rounds(witness, lambda: _replacing(disk / "data", disk / "lock"))


@contextmanager
def _replacing(data: Path, guard: Path) -> Iterator[None]:
    with _locked(guard, unlink=False):
        yield
        new = data.with_name(f"new{os.getpid()}")
        new.write_text("1")
        new.replace(data)


def stack_file_lock(disk: Path, witness: Witness) -> None:
    """The stack's own lock."""
    lock = FileLock(disk / "lock", deadline_s=None)

    @contextmanager
    def held() -> Iterator[None]:
        lock.acquire()
        try:
            yield
        finally:
            lock.release()

    _rounds(witness, held)


def stack_lease(disk: Path, witness: Witness) -> None:
    """The stack's own lease, far from its end."""

    @contextmanager
    def held() -> Iterator[None]:
        lease = Lease(disk / "lease", ttl_s=3600)
        lease.acquire(deadline_s=600)
        try:
            yield
        finally:
            lease.release()

    _rounds(witness, held)
