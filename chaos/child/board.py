"""Shared memory through which a forked child tells how far it is and what came out.

A pipe would be lost to a target that closes every descriptor; a mapping is not. Layout, little endian:

======  ====  ===========================================================================
offset  size  what
======  ====  ===========================================================================
0       4     phase: what the child is doing (`Phase`)
4       4     done: how many reports are complete
8       8     started: when the current piece of work began, seconds, monotonic clock
16      8     used: bytes of complete reports
24            the reports, each a length (8 bytes) and that many bytes
======  ====  ===========================================================================

`used` and `done` are written after the report, so a child killed in between leaves no half report. Standard library
only. Read `isolated.py` next.
"""

import mmap
import struct
from enum import IntEnum
from time import monotonic as _monotonic  # kept: a target may patch the clock
from typing import final

__all__ = ["Board", "Phase"]

_HEADER = struct.Struct("<IIdQ")
_CLEAR = _HEADER.pack(0, 0, 0.0, 0)
_PHASE = struct.Struct("<I")
_STARTED = struct.Struct("<d")
_LENGTH = struct.Struct("<Q")
_TOTALS = struct.Struct("<IdQ")
_KEPT_BYTES = 1 << 20  # above this the memory of large reports is given back after reading


@final
class Phase(IntEnum):
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

    def clear(self) -> None:
        """Forget everything."""
        self._map[: _HEADER.size] = _CLEAR

    def mark(self, phase: Phase) -> None:
        """Say what is being done now."""
        _PHASE.pack_into(self._map, 0, phase)

    def begin(self) -> None:
        """Say that the next piece of work begins now."""
        _STARTED.pack_into(self._map, 8, _monotonic())

    def room_bytes(self) -> int:
        """The longest report that still fits."""
        used: int = _HEADER.unpack_from(self._map, 0)[3]
        return self._size - _HEADER.size - used - _LENGTH.size

    def add(self, report: bytes) -> None:
        """Append a report.

        Raises:
            ValueError: it does not fit.
        """
        _, done, started, used = _HEADER.unpack_from(self._map, 0)
        if len(report) > self.room_bytes():
            raise ValueError(f"a report of {len(report)} bytes does not fit")
        start = _HEADER.size + used
        end = start + _LENGTH.size + len(report)
        self._map[start + _LENGTH.size : end] = report
        _LENGTH.pack_into(self._map, start, len(report))
        _TOTALS.pack_into(self._map, 4, done + 1, started, used + _LENGTH.size + len(report))

    @property
    def phase(self) -> int:
        """What the child was doing last; a `Phase`, unless the target scribbled here."""
        phase: int = _PHASE.unpack_from(self._map, 0)[0]
        return phase

    @property
    def started(self) -> float:
        """When the current piece of work began."""
        started: float = _STARTED.unpack_from(self._map, 8)[0]
        return started

    def reports(self) -> list[bytes]:
        """All complete reports, oldest first; the memory of large ones is given back."""
        _, done, _, used = _HEADER.unpack_from(self._map, 0)
        found: list[bytes] = []
        position = _HEADER.size
        while len(found) < done and position + _LENGTH.size <= min(_HEADER.size + used, self._size):
            (length,) = _LENGTH.unpack_from(self._map, position)
            position += _LENGTH.size
            found.append(self._map[position : position + length])
            position += length
        if used > _KEPT_BYTES:
            self._map.madvise(mmap.MADV_REMOVE)
        return found
