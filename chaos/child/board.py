"""Shared memory through which a forked child tells how far it is and what came out.

A pipe would be lost to a target that closes every descriptor; a mapping is not. Layout, little endian:

======  ====  ===========================================================================
offset  size  what
======  ====  ===========================================================================
0       8     started: when the current piece of work began, seconds, monotonic clock
8       8     used: bytes of complete reports
16      4     done: how many reports are complete
20      1     phase: what the child is doing (`Phase`)
24            the reports, each a length (8 bytes) and that many bytes
======  ====  ===========================================================================

`used` and `done` are written after the report, so a child killed in between leaves no half report. Standard library
only. Read `isolated.py` next.
"""

import mmap
import struct
from time import monotonic as _monotonic  # kept: a target may patch the clock
from typing import final

__all__ = ["Board", "Phase"]

_HEADER_BYTES = 24
_CLEAR = bytes(_HEADER_BYTES)
_STARTED = struct.Struct("<d")
_LENGTH = struct.Struct("<Q")
_TOTALS = struct.Struct("<QI")
_TOTALS_AT, _PHASE_AT = 8, 20
_KEPT_BYTES = 1 << 20  # above this the memory of large reports is given back after reading


@final
class Phase:
    """What the child is doing, so that a hang or a death can be placed."""

    START = 0
    TARGET = 1
    ENCODE = 2
    CHECK = 3
    LEFTOVERS = 4


@final
class Board:
    """One mapping shared by a process and the children that it forks; one writer at a time.

    Guarantees: what `reports` returns was written completely. Does not: tell who wrote it; a hostile target can
    scribble over it, and then gets a nonsensical outcome of its own.
    """

    def __init__(self, size_bytes: int) -> None:
        """Map `size_bytes` of address space; memory is taken as reports grow."""
        self._size = size_bytes
        self._map = mmap.mmap(-1, size_bytes)
        self._used = self._done = 0  # the writer's own copy

    def clear(self) -> None:
        """Forget everything."""
        self._map[:_HEADER_BYTES] = _CLEAR
        self._used = self._done = 0

    def mark(self, phase: int) -> None:
        """Say what is being done now."""
        self._map[_PHASE_AT] = phase

    def begin(self) -> None:
        """Say that the next piece of work begins now."""
        _STARTED.pack_into(self._map, 0, _monotonic())

    def room_bytes(self) -> int:
        """The longest report that still fits."""
        return self._size - _HEADER_BYTES - self._used - _LENGTH.size

    def add(self, report: bytes) -> None:
        """Append a report.

        Raises:
            ValueError: it does not fit.
        """
        if len(report) > self.room_bytes():
            raise ValueError(f"a report of {len(report)} bytes does not fit")
        start = _HEADER_BYTES + self._used
        self._used += _LENGTH.size + len(report)
        self._done += 1
        self._map[start : _HEADER_BYTES + self._used] = _LENGTH.pack(len(report)) + report
        _TOTALS.pack_into(self._map, _TOTALS_AT, self._used, self._done)

    @property
    def phase(self) -> int:
        """What the child was doing last; one of `Phase`, unless the target scribbled here."""
        return self._map[_PHASE_AT]

    @property
    def started(self) -> float:
        """When the current piece of work began."""
        started: float = _STARTED.unpack_from(self._map, 0)[0]
        return started

    def reports(self) -> list[bytes]:
        """All complete reports, oldest first; the memory of large ones is given back."""
        used, done = _TOTALS.unpack_from(self._map, _TOTALS_AT)
        end = min(_HEADER_BYTES + used, self._size)
        found: list[bytes] = []
        position = _HEADER_BYTES
        while len(found) < done and position + _LENGTH.size <= end:
            (length,) = _LENGTH.unpack_from(self._map, position)
            position += _LENGTH.size
            found.append(self._map[position : position + length])
            position += length
        if used > _KEPT_BYTES:
            self._map.madvise(mmap.MADV_REMOVE)
        return found
