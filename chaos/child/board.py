"""Shared memory through which a forked child tells how far it is and what came out.

A pipe would be lost to a target that closes every descriptor; a mapping is not. Layout, little endian:

======  ====  ===========================================================================
offset  size  what
======  ====  ===========================================================================
0       8     started: when the current piece of work began, nanoseconds, monotonic clock
8       8     used: bytes of complete reports
16      4     done: how many reports are complete
20      1     phase: what the child is doing (`Phase`)
24            the reports, each a length (8 bytes) and that many bytes
======  ====  ===========================================================================

`used` and `done` are written after the report, so a child killed in between leaves no half report. Standard library
only, and little of it, as forks of its holder must stay cheap. Read `isolated.py` next.
"""

import mmap
from time import monotonic_ns as _monotonic_ns  # kept: a target may patch the clock

from chaos.child.lean import final

__all__ = ["BOARD_BYTES", "Board", "Phase"]

BOARD_BYTES = 48 << 20  # a value of 16 MiB and everything about it, with room for a batch; taken as it is used
_HEADER_BYTES = 24
_CLEAR = bytes(_HEADER_BYTES)
_LENGTH_BYTES = 8
_KEPT_BYTES = 1 << 20  # above this the memory of large reports is given back after reading


@final
class Phase:
    """What the child is doing, so that a hang or a death can be placed."""

    TARGET = 0
    ENCODE = 1
    CHECK = 2
    LEFTOVERS = 3


@final
class Board:
    """One mapping shared by a process and the children that it forks, or their parent; one writer at a time.

    Guarantees: what `reports` returns was written completely. Does not: tell who wrote it; a hostile target can
    scribble over it, and then gets a nonsensical outcome of its own.
    """

    def __init__(self, file: int = -1) -> None:
        """Map `BOARD_BYTES` of address space: of an open file that long, whose descriptor may then be closed."""
        self._map = mmap.mmap(file, BOARD_BYTES)
        self._used = self._done = 0  # the writer's own copy

    def clear(self) -> None:
        """Forget everything."""
        self._map[:_HEADER_BYTES] = _CLEAR
        self._used = self._done = 0

    def mark(self, phase: int) -> None:
        """Say what is being done now."""
        self._map[20] = phase

    def begin(self) -> None:
        """Say that the next piece of work begins now."""
        self._map[:8] = _monotonic_ns().to_bytes(8, "little")
        self._map[20] = Phase.TARGET

    def room_bytes(self) -> int:
        """The longest report that still fits."""
        return BOARD_BYTES - _HEADER_BYTES - self._used - _LENGTH_BYTES

    def add(self, report: bytes) -> None:
        """Append a report.

        Raises:
            ValueError: it does not fit.
        """
        size = len(report)
        if size > self.room_bytes():
            raise ValueError(f"a report of {size} bytes does not fit")
        start = _HEADER_BYTES + self._used
        self._used += _LENGTH_BYTES + size
        self._done += 1
        self._map[start : _HEADER_BYTES + self._used] = size.to_bytes(_LENGTH_BYTES, "little") + report
        self._map[8:20] = (self._done << 64 | self._used).to_bytes(12, "little")

    @property
    def phase(self) -> int:
        """What the child was doing last; one of `Phase`, unless the target scribbled here."""
        return self._map[20]

    @property
    def running_s(self) -> float:
        """Seconds since the current piece of work began."""
        return (_monotonic_ns() - int.from_bytes(self._map[:8], "little")) / 1e9

    def reports(self) -> list[bytes]:
        """All complete reports, oldest first; the memory of large ones is given back."""
        used, done = int.from_bytes(self._map[8:16], "little"), int.from_bytes(self._map[16:20], "little")
        end = min(_HEADER_BYTES + used, BOARD_BYTES)
        found: list[bytes] = []
        position = _HEADER_BYTES
        while len(found) < done and position + _LENGTH_BYTES <= end:
            length = int.from_bytes(self._map[position : position + _LENGTH_BYTES], "little")
            position += _LENGTH_BYTES
            found.append(self._map[position : position + length])
            position += length
        if used > _KEPT_BYTES:
            self._map.madvise(mmap.MADV_REMOVE)
        return found
