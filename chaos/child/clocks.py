"""Clocks that somebody else sets: time as a worker sees it, with jumps and freezes told through shared memory.

`interpose` replaces the functions of `time` that read a clock, in that module and in all that have taken one from it
(but for the harness's own), and what `datetime` tells of the present, before the target is imported. What is not
reached: C code that asks the kernel itself, as it does without a system call (SQLite, NumPy, other programs:
`namespaces.py` shifts their steady clocks; nothing shifts their wall clock), a function that somebody keeps in an
object or as a default argument, `from datetime import datetime` of modules imported before, and how long `sleep` and
time-outs really take.

Shared memory, for each worker 4 signed numbers of 8 bytes, little endian, nanoseconds: shift and standstill of the
wall clock, shift and standstill of the steady clocks. A standstill other than 0 is what the clock shows. Standard
library only; it runs inside targets.
"""

import datetime
import mmap
import struct
import sys
import time
from collections.abc import Callable
from types import ModuleType

from chaos.child.lean import Any, final

__all__ = ["SLOT_BYTES", "Clock", "Clocks", "interpose"]

SLOT_BYTES = 32
_WALL, _STEADY = 0, 16
_WALL_ID = time.CLOCK_REALTIME if hasattr(time, "CLOCK_REALTIME") else -1
_real_time_ns, _real_monotonic_ns, _real_perf_ns = time.time_ns, time.monotonic_ns, time.perf_counter_ns
_real_datetime = datetime.datetime
_real_date = datetime.date


@final
class Clock:
    """Which one is set."""

    WALL = "wall"  # time.time, datetime.now
    STEADY = "steady"  # time.monotonic, time.perf_counter


@final
class Clocks:
    """The shared memory, as a worker reads it and the harness writes it.

    Args:
        file: an open file of `SLOT_BYTES` for each worker; its descriptor may then be closed.
        workers: how many.
    """

    def __init__(self, file: int, workers: int) -> None:
        self._map = mmap.mmap(file, SLOT_BYTES * workers)
        self.worker = -1  # whose clock this process sees; nobody's, so the real one, for the time being

    def set(self, worker: int, clock: str, *, shift_ns: int = 0, frozen_ns: int = 0) -> None:
        """Set a clock of a worker; it shows the truth again with no argument."""
        start = SLOT_BYTES * worker + (_WALL if clock == Clock.WALL else _STEADY)
        self._map[start + 8 : start + 16] = struct.pack("<q", frozen_ns)
        self._map[start : start + 8] = struct.pack("<q", shift_ns)

    def close(self) -> None:
        """Let go of the memory; others go on seeing it."""
        self._map.close()

    def seen(self, clock: int, real_ns: int) -> int:
        """What this process's clock shows when it really is `real_ns`."""
        if self.worker < 0:
            return real_ns
        start = SLOT_BYTES * self.worker + clock
        shift, frozen = struct.unpack_from("<qq", self._map, start)
        return int(frozen or real_ns + shift)


def interpose(clocks: Clocks, *, wall: bool = True) -> None:
    """Let this process and its forks read their time from `clocks`.

    Args:
        clocks: what is shown.
        wall: whether the wall clock is, too; else the steady clocks alone.
    """
    seen = clocks.seen

    def wall_ns() -> int:
        return seen(_WALL, _real_time_ns())

    def steady_ns() -> int:
        return seen(_STEADY, _real_monotonic_ns())

    def perf_ns() -> int:
        return seen(_STEADY, _real_perf_ns())

    replaced: dict[str, Callable[..., Any]] = {"monotonic_ns": steady_ns, "monotonic": _seconds(steady_ns)}
    replaced.update({"perf_counter_ns": perf_ns, "perf_counter": _seconds(perf_ns)})
    replaced.update(_by_number(clocks))
    if wall:
        replaced.update({"time_ns": wall_ns, "time": _seconds(wall_ns), **_with_default(wall_ns)})
    _replace({id(getattr(time, name)): function for name, function in replaced.items()})
    if wall:
        _interpose_datetime(_seconds(wall_ns))


def _replace(functions: dict[int, Callable[..., Any]]) -> None:
    """Put functions in place of others, of those numbers, in every module that has them by now, `time` among them."""
    own = __name__.partition(".")[0] + "."
    for name, module in list(sys.modules.items()):
        if name.startswith(own) or not isinstance(module, ModuleType):
            continue
        for attribute, value in list(vars(module).items()):
            if id(value) in functions:
                setattr(module, attribute, functions[id(value)])


def _seconds(clock_ns: Callable[[], int]) -> Callable[[], float]:
    return lambda: clock_ns() / 1e9


def _with_default(wall_ns: Callable[[], int]) -> dict[str, Callable[..., Any]]:
    """The functions that take the present when they are given no time."""
    gmtime, localtime, ctime, strftime = time.gmtime, time.localtime, time.ctime, time.strftime

    def now() -> float:
        return wall_ns() / 1e9

    return {
        "gmtime": lambda seconds=None: gmtime(now() if seconds is None else seconds),
        "localtime": lambda seconds=None: localtime(now() if seconds is None else seconds),
        "ctime": lambda seconds=None: ctime(now() if seconds is None else seconds),
        "strftime": lambda form, when=None: strftime(form, localtime(now()) if when is None else when),
    }


def _by_number(clocks: Clocks) -> dict[str, Callable[..., Any]]:
    real = time.clock_gettime_ns
    steady = {getattr(time, name, None) for name in ("CLOCK_MONOTONIC", "CLOCK_MONOTONIC_RAW", "CLOCK_BOOTTIME")}

    def gettime_ns(number: int) -> int:
        if number == _WALL_ID:
            return clocks.seen(_WALL, real(number))
        return clocks.seen(_STEADY, real(number)) if number in steady else real(number)

    return {"clock_gettime_ns": gettime_ns, "clock_gettime": lambda number: gettime_ns(number) / 1e9}


def _interpose_datetime(now: Callable[[], float]) -> None:
    """Put classes in place of `datetime` and `date` that differ in what they call the present, and in nothing else."""

    class Alike(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, cls.__mro__[1])

        def __subclasscheck__(cls, other: type) -> bool:
            return issubclass(other, cls.__mro__[1])

    class Moment(_real_datetime, metaclass=Alike):
        def __new__(cls, *arguments: Any, **named: Any) -> Any:
            return _real_datetime(*arguments, **named)

        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return _real_datetime.fromtimestamp(now(), tz)

        @classmethod
        def utcnow(cls) -> Any:
            return _real_datetime.fromtimestamp(now(), datetime.timezone.utc).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Any:
            return _real_datetime.fromtimestamp(now())

    class Day(_real_date, metaclass=Alike):
        def __new__(cls, *arguments: Any, **named: Any) -> Any:
            return _real_date(*arguments, **named)

        @classmethod
        def today(cls) -> Any:
            return _real_date.fromtimestamp(now())

    datetime.datetime, datetime.date = Moment, Day  # type: ignore[misc]
