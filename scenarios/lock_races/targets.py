"""Locks that are not: each lets two processes in, in some order of their calls."""

import fcntl
import os
import time
from pathlib import Path

from chaos.child.witness import Witness

_ROUNDS, _TRIES = 2, 50


def unlinking(disk: Path, witness: Witness) -> None:
    """A lock file that is unlinked on release: whoever had opened it before locks a file that has no name any more."""
    path = disk / "lock"
    for _ in range(_ROUNDS):
        for _ in range(_TRIES):
            lock = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                time.sleep(0.01)
                continue
            with witness.section():
                pass
            path.unlink(missing_ok=True)
            os.close(lock)
            break
