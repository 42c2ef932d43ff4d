"""The path of the folder that a trace was recorded in, lent to one worker at a time while it runs recovery.

A file may hold that path in its bytes, as the journals of SQLite's attached databases do. The folder itself is gone by
then; a symbolic link in its place leads to the worker's own, where the state is laid out. Workers take turns, for all
of them share the one path. Only a folder that an exploration made itself is put there, whatever a trace says. Read
`worker.py` for who borrows.
"""

import contextlib
import fcntl
import os
import re
from typing import final

from chaos.explore.places import TURN, base_folder

__all__ = ["Lent", "is_lendable"]

_OWN = re.compile(r"chaos-explore-\d+-\d+-[0-9a-f]{8}")
_LINK = "disk"


def is_lendable(path: str) -> bool:
    """Whether a path is that of a folder recorded in by an exploration of this machine."""
    root, name = os.path.split(path)
    return name == _LINK and os.path.dirname(root) == base_folder() and bool(_OWN.fullmatch(os.path.basename(root)))


@final
class Lent:
    """While this is entered, a path leads to a folder, and nobody else borrows the path; afterwards nothing is there.

    Nothing happens where `path` is "", is not lendable, or is there already. On crash: the link stays until the next
    one borrows the path, or an exploration sweeps what dead ones left. Threads: one.

    Args:
        path: which is lent.
        folder: where it leads.
    """

    def __init__(self, path: str, folder: str) -> None:
        self._path = path if path and is_lendable(path) else ""
        self._root, self._folder = os.path.dirname(path), folder
        self._turn = -1

    def __enter__(self) -> "Lent":
        if not self._path:
            return self
        self._turn = self._taken()
        with contextlib.suppress(OSError):
            self._unlink()  # of a worker that was killed
            os.symlink(self._folder, self._path)
        return self

    def __exit__(self, *_: object) -> None:
        if self._turn < 0:
            return
        with contextlib.suppress(OSError):
            self._unlink()
            os.unlink(self._turn_path)
            os.rmdir(self._root)
        fcntl.flock(self._turn, fcntl.LOCK_UN)  # a fork of the target may hold the file open
        os.close(self._turn)
        self._turn = -1

    @property
    def _turn_path(self) -> str:
        return os.path.join(self._root, TURN)

    def _unlink(self) -> None:
        if os.path.islink(self._path):
            os.unlink(self._path)

    def _taken(self) -> int:
        """The lock, which is that of the file now there: the one before us removes its own."""
        while True:
            with contextlib.suppress(FileExistsError):
                os.mkdir(self._root, 0o700)
            try:
                file = os.open(self._turn_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except FileNotFoundError:  # the folder was removed in between
                continue
            fcntl.flock(file, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), os.stat(self._turn_path)):
                    return file
            os.close(file)
