"""Shared memory through which a forked child tells how far it is and what came out.

A pipe would be lost to a target that closes every descriptor; a mapping is not. Layout, little endian:

======  ====  ===========================================================================
offset  size  what
======  ====  ===========================================================================
0       8     started: when the current piece of work began, nanoseconds, monotonic clock
8       8     used: bytes of complete reports, with what stands around them
16      8     done: how many reports are complete
24      8     phase: what the child is doing (`Phase`)
32      8     held: 1 while a child that is done has to stay
40            the reports, each a length (8 bytes), that many bytes, and up to 7 until the next multiple of 8
======  ====  ===========================================================================

`used` and `done` are written after the report, so a child killed in between leaves no half report. Numbers are written
as words of a view: a child that makes bytes of them first touches more memory. Standard library only, and little of
it, as forks of its holder must stay cheap. Read `isolated.py` next.
"""

import mmap
from time import monotonic_ns as _monotonic_ns  # kept, both: a target may patch the clock
from time import sleep as _sleep

from chaos.child.lean import final

__all__ = ["BOARD_BYTES", "Board", "Phase"]

BOARD_BYTES = 48 << 20  # a value of 16 MiB and everything about it, with room for a batch; taken as it is used
_HEADER_BYTES = 40
_WORD_BYTES = 8
_STARTED, _USED, _DONE, _PHASE, _HELD = range(_HEADER_BYTES // _WORD_BYTES)
_MOMENT_S = 0.001
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

    __slots__ = ("_done", "_map", "_used", "_words")

    def __init__(self, file: int = -1) -> None:
        """Map `BOARD_BYTES` of address space: of an open file that long, whose descriptor may then be closed."""
        self._map = mmap.mmap(file, BOARD_BYTES)
        self._words = memoryview(self._map).cast("Q")
        self._used = self._done = 0  # the writer's own copy

    def clear(self) -> None:
        """Forget everything."""
        words = self._words
        words[_USED] = words[_DONE] = words[_PHASE] = 0
        self._used = self._done = 0

    def mark(self, phase: int) -> None:
        """Say what is being done now."""
        self._words[_PHASE] = phase

    def begin(self) -> None:
        """Say that the next piece of work begins now."""
        self._words[_STARTED] = _monotonic_ns()
        self._words[_PHASE] = Phase.TARGET

    def room_bytes(self) -> int:
        """The longest report that still fits."""
        return BOARD_BYTES - _HEADER_BYTES - self._used - _WORD_BYTES

    def add(self, report: bytes) -> None:
        """Append a report.

        Raises:
            ValueError: it does not fit.
        """
        size, start = len(report), _HEADER_BYTES + self._used
        end = start + _WORD_BYTES + size
        if end > BOARD_BYTES:
            raise ValueError(f"a report of {size} bytes does not fit")
        words = self._words
        words[start // _WORD_BYTES] = size
        self._map[start + _WORD_BYTES : end] = report
        self._used = used = (end + _WORD_BYTES - 1) // _WORD_BYTES * _WORD_BYTES - _HEADER_BYTES  # as `_aligned`
        self._done += 1
        words[_USED] = used
        words[_DONE] = self._done

    def hold(self, held: bool) -> None:
        """Have the child stay when it is done, to be looked at; or let it go."""
        self._words[_HELD] = held

    def stay(self) -> None:
        """Stay as long as the child is to."""
        words = self._words
        while words[_HELD]:
            _sleep(_MOMENT_S)

    @property
    def done(self) -> int:
        """How many reports are complete."""
        return self._words[_DONE]

    @property
    def phase(self) -> int:
        """What the child was doing last; one of `Phase`, unless the target scribbled here."""
        return self._words[_PHASE]

    @property
    def running_s(self) -> float:
        """Seconds since the current piece of work began."""
        return (_monotonic_ns() - self._words[_STARTED]) / 1e9

    def reports(self) -> list[bytes]:
        """All complete reports, oldest first; the memory of large ones is given back."""
        used, done = self._words[_USED], self._words[_DONE]
        limit = min(_HEADER_BYTES + used, BOARD_BYTES)
        found: list[bytes] = []
        position = _HEADER_BYTES
        while len(found) < done and position + _WORD_BYTES <= limit:
            begin = position + _WORD_BYTES
            end = begin + self._words[position // _WORD_BYTES]
            found.append(self._map[begin:end])
            position = _aligned(end)
        if used > _KEPT_BYTES:
            self._map.madvise(mmap.MADV_REMOVE)
        return found


def _aligned(offset: int) -> int:
    return (offset + _WORD_BYTES - 1) // _WORD_BYTES * _WORD_BYTES
