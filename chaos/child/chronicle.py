"""The channel of live processes: one file that all of them append statements to, readable after any kill.

A statement is one `write` to a file opened with O_APPEND. The kernel makes such writes one after the other, so the
file's order is an order in which everything happened, common to all processes, and no clock is needed for it. What was
written survives SIGKILL of the writer at any instant, for it is the kernel's by then. Only a write that a kill cut in
the middle leaves part of a statement behind, and such a write never returned: nobody relied on it. Each statement
stands on a line of its own that begins with a line feed too, so a part spoils nothing after it, and carries a checksum,
so a part is never taken for the whole:

    <worker> <life> <text> <crc32 of what is before, eight hex digits>

`worker` is a number from 0, or -1 for the harness; `life` counts a worker's starts from 0; `text` is a letter for its
kind and canonical text (see `witness.py`), which holds no line feed. Standard library only: it runs inside targets.
Read `witness.py` next; `chaos/fleet/telling.py` reads the file.
"""

import os
from os import fstat as _fstat
from os import write as _write  # kept: a target may patch them
from zlib import crc32 as _crc32

try:
    import fcntl
except ImportError:  # Windows, where there are no fleets
    fcntl = None  # type: ignore[assignment]

from chaos.child.lean import final

__all__ = ["CHRONICLE_VARIABLE", "HARNESS", "Chronicle", "line_of", "parse_line"]

CHRONICLE_VARIABLE = "CHAOS_CHRONICLE"  # for programs that a worker starts: "worker life path"
HARNESS = -1
_DESCRIPTOR = 900  # out of the way of the numbers that the target sees
_DIGITS = 8


def line_of(worker: int, life: int, text: str) -> bytes:
    """One statement as it stands in the file."""
    body = b"%d %d %s" % (worker, life, text.encode("utf-8", "surrogatepass"))
    return b"\n%s %08x\n" % (body, _crc32(body))


def parse_line(line: bytes) -> tuple[int, int, str] | None:
    """Worker, life and text of a line without its line feeds; None when it is not whole."""
    body, space, digits = line.rpartition(b" ")
    if not space or len(digits) != _DIGITS or digits != b"%08x" % _crc32(body):
        return None
    worker, life, text = body.split(b" ", 2)
    return int(worker), int(life), text.decode("utf-8", "surrogatepass")


@final
class Chronicle:
    """One worker's pen.

    Guarantees: when `append` returns, the statement survives any kill and stands after all that were made before it.
    Threads and processes: any number, also forks of this one. On a full disk `append` raises and nothing is stated.
    A worker keeps its pen until it ends; who outlives the fleet opens its pen with `with`, and so lets go of it.
    """

    def __init__(self, path: str, worker: int, life: int) -> None:
        self.path, self.worker, self.life = path, worker, life
        self._descriptor, self._key = -1, (-1, -1)

    def __enter__(self) -> "Chronicle":
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_open():
            os.close(self._descriptor)
        self._descriptor = -1

    def append(self, text: str) -> None:
        """State something.

        Raises:
            OSError: it could not be written; whatever is told in it must not be relied on.
        """
        if not self._is_open():
            self._open()
        line = line_of(self.worker, self.life, text)
        if _write(self._descriptor, line) != len(line):
            raise OSError(28, "the chronicle's disk is full", self.path)

    def to_environment(self) -> str:
        """What `CHRONICLE_VARIABLE` is set to for programs that this worker starts."""
        return f"{self.worker} {self.life} {self.path}"

    @staticmethod
    def from_environment(text: str) -> "Chronicle":
        """The pen that the variable describes."""
        worker, life, path = text.split(" ", 2)
        return Chronicle(path, int(worker), int(life))

    def _is_open(self) -> bool:
        """Whether our descriptor is still the file: the target may have closed it, and opened something else."""
        try:
            found = _fstat(self._descriptor)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._key

    def _open(self) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _DESCRIPTOR)
        except OSError:
            self._descriptor = descriptor  # the limit on open files is lower: any number will do
        else:
            os.close(descriptor)
            self._descriptor = moved
        found = _fstat(self._descriptor)
        self._key = found.st_dev, found.st_ino
