"""Where a fleet lives: one folder with its disk, its chronicle, and what its workers print.

It lies in memory where the system allows it, and is removed as well when the harness is killed. Read `crew.py` next.
"""

import os
from contextlib import suppress
from typing import final

from chaos.explore.roots import make_root, remove_root

__all__ = ["Places"]

_KEPT_BYTES = 1 << 20  # of what one worker prints
_TAIL_BYTES = 2000


@final
class Places:
    """The folder of one fleet; use it as a context manager.

    Attributes:
        root: the folder.
        disk: where the workers work.
        chronicle: the file of statements.
        printed: folder of what workers print.
        output: descriptor for what the processes above them print.
    """

    def __init__(self) -> None:
        self.root = make_root()
        self.disk, self.printed = self.path("disk"), self.path("printed")
        for folder in (self.disk, self.printed):
            os.mkdir(folder)
        self.chronicle = self.path("chronicle")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        os.close(os.open(self.chronicle, flags, 0o600))
        self.output = os.open(os.path.join(self.printed, "above"), flags, 0o600)

    def __enter__(self) -> "Places":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.output)
        remove_root(self.root)

    def path(self, name: str) -> str:
        """A file of the fleet's own."""
        return os.path.join(self.root, name)

    def trim(self) -> None:
        """Drop what workers printed where it has become too much; they append."""
        for name in os.listdir(self.printed):
            path = os.path.join(self.printed, name)
            with suppress(OSError):
                if os.stat(path).st_size > _KEPT_BYTES:
                    os.truncate(path, 0)

    def tail(self, name: str) -> str:
        """The end of what a worker printed."""
        try:
            with open(os.path.join(self.printed, name), "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""
