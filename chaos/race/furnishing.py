"""What a set-up leaves beside files, folders and links, and what each episode therefore begins with as well.

Named pipes, and how old a file is made to look (`os.utime`, as a lock that is to be stale): a tree holds neither. A
file's age is kept, not its time: an episode begins as if the set-up had just ended. Files that the set-up leaves with
the time at which it wrote them are as new in each episode as they were then. Read `stage.py` for who uses it.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from time import time_ns
from typing import final

__all__ = ["Furnishing"]

_SLACK_NS = 1_000_000_000  # the kernel's times of files lag behind the clock by a tick


@final
@dataclass(frozen=True, slots=True)
class Furnishing:
    """What is to be laid out again; paths are relative to the folder.

    Attributes:
        pipes: path and mode of each named pipe.
        ages: path, and for how many nanoseconds it had not been read and not been changed when the set-up ended.
    """

    pipes: tuple[tuple[str, int], ...]
    ages: tuple[tuple[str, int, int], ...]

    @staticmethod
    def left_in(folder: str, *, since_ns: int) -> "Furnishing":
        """What a set-up left, that began at `since_ns` of the wall clock and has just ended."""
        now_ns, pipes, ages = time_ns(), [], []
        for path in _below(folder):
            status = os.lstat(os.path.join(folder, path))
            if stat.S_ISFIFO(status.st_mode):
                pipes.append((path, stat.S_IMODE(status.st_mode)))
            elif not since_ns - _SLACK_NS <= status.st_mtime_ns <= now_ns and not stat.S_ISLNK(status.st_mode):
                ages.append((path, now_ns - status.st_atime_ns, now_ns - status.st_mtime_ns))
        return Furnishing(tuple(pipes), tuple(ages))

    def lay(self, folder: str) -> None:
        """Lay it out where the tree has been laid out."""
        for path, mode in self.pipes:
            where = os.path.join(folder, path)
            os.mkfifo(where)
            os.chmod(where, mode)
        now_ns = time_ns() if self.ages else 0
        for path, read_ns, changed_ns in self.ages:
            os.utime(os.path.join(folder, path), ns=(now_ns - read_ns, now_ns - changed_ns))


def _below(folder: str) -> Iterator[str]:
    for above, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield os.path.relpath(os.path.join(above, name), folder)
