"""Waits with a time limit that a participant is held at: are they over by themselves, and what to answer when not.

Whoever waits for descriptors or for another thread is not put to sleep in the kernel, where it would hold the episode
up for real. It is held, and looked at whenever all others stand still: once what it waits for is there, the kernel has
the call and returns at once; when its turn comes before that, its time is over. How long that would have taken becomes
the number of steps that others go first, a step for a millisecond. Read `episode.py` for who asks.
"""

import os
import select
import struct
from contextlib import suppress
from errno import ETIMEDOUT
from time import clock_gettime_ns

from chaos.syscalls.processes import Process

__all__ = ["SLEEPS", "WAITS", "give_up", "is_met", "limit_s", "rest_steps"]

SLEEPS = frozenset({"nanosleep", "clock_nanosleep"})
WAITS = frozenset(
    {"poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait", "epoll_pwait2", "futex"}
)  # fmt: skip
_FUTEX_WAIT, _FUTEX_WAIT_BITSET, _FUTEX_MASK, _FUTEX_REALTIME = 0, 9, 0x7F, 256
_ABSOLUTE = 1  # TIMER_ABSTIME
_REALTIME, _MONOTONIC = 0, 1
_TIMEOUT_AT = {"ppoll": 2, "select": 4, "pselect6": 4, "epoll_pwait2": 3, "futex": 3, "nanosleep": 0}
_POLLED = struct.Struct("=ihh")
_TIME = struct.Struct("=qq")
_MOST_POLLED = 1024
_RESTS = (1, 3, 10, 30, 100, 300, 1000, 3000)  # steps: coarse, so that a busy machine does not change them


def limit_s(name: str, arguments: list[int], process: Process) -> float | None:
    """How long a call waits at most from now on, in seconds; None when there is no limit, or it is no wait.

    Raises:
        OSError, ProcessGone, Unreadable: its arguments can't be read.
    """
    if name in ("poll", "epoll_wait", "epoll_pwait"):
        milliseconds = _signed(arguments[3 if name.startswith("epoll") else 2])
        return None if milliseconds < 0 else milliseconds / 1000
    is_absolute, clock = False, _MONOTONIC
    if name == "futex":
        operation = arguments[1] & _FUTEX_MASK
        if operation not in (_FUTEX_WAIT, _FUTEX_WAIT_BITSET):
            return None
        is_absolute = operation == _FUTEX_WAIT_BITSET
        clock = _REALTIME if arguments[1] & _FUTEX_REALTIME else _MONOTONIC
    elif name == "clock_nanosleep":
        is_absolute, clock = bool(arguments[1] & _ABSOLUTE), arguments[0] & 0xFFFFFFFF
    address = arguments[_TIMEOUT_AT.get(name, 2)]
    if not address:
        return None
    seconds, part = _TIME.unpack(process.read_exactly(address, 16))
    until_s: float = seconds + part / (1e6 if name == "select" else 1e9)
    return max(0.0, until_s - clock_gettime_ns(clock) / 1e9) if is_absolute else until_s


def rest_steps(wait_s: float) -> int:
    """For how many steps others go before somebody who would wait so long."""
    return next((steps for steps in _RESTS if wait_s * 1000 <= steps), _RESTS[-1])


def is_met(name: str, arguments: list[int], process: Process) -> bool:
    """Whether what a call waits for is there already, so that it will return at once.

    Raises:
        OSError, ProcessGone, Unreadable: its arguments can't be read.
    """
    if name == "futex":
        return process.read_exactly(arguments[0], 4) != (arguments[2] & 0xFFFFFFFF).to_bytes(4, "little")
    if name.startswith("epoll"):
        return _is_ready(process, [(_signed(arguments[0]), select.POLLIN)])
    if name.endswith("poll"):
        return _is_ready(process, [(number, events) for number, events, _ in _polled(arguments, process)])
    wanted: dict[int, int] = {}
    for events, address in zip((select.POLLIN, select.POLLOUT, select.POLLPRI), arguments[1:4], strict=True):
        for number in _set_bits(process, address, arguments[0]):
            wanted[number] = wanted.get(number, 0) | events
    return _is_ready(process, list(wanted.items()))


def give_up(name: str, arguments: list[int], process: Process) -> int:
    """What a call whose time is over is answered with, once its answers in memory are written.

    Raises:
        OSError, ProcessGone, Unreadable: they can't be.
    """
    if name == "futex":
        return -ETIMEDOUT
    if name.endswith("poll"):
        for place, (number, events, _) in enumerate(_polled(arguments, process)):
            process.write(arguments[0] + place * _POLLED.size, _POLLED.pack(number, events, 0))
    elif not name.startswith("epoll"):
        for address in filter(None, arguments[1:4]):
            process.write(address, bytes(_set_bytes(arguments[0])))
    return 0


def _polled(arguments: list[int], process: Process) -> list[tuple[int, int, int]]:
    count = min(arguments[1] & 0xFFFFFFFF, _MOST_POLLED)
    return list(_POLLED.iter_unpack(process.read_exactly(arguments[0], count * _POLLED.size))) if count else []


def _set_bits(process: Process, address: int, limit: int) -> list[int]:
    if not address:
        return []
    bits = int.from_bytes(process.read_exactly(address, _set_bytes(limit)), "little")
    return [number for number in range(limit & 0xFFFFFFFF) if bits >> number & 1]


def _set_bytes(limit: int) -> int:
    return ((limit & 0xFFFFFFFF) + 63) // 64 * 8


def _is_ready(process: Process, wanted: list[tuple[int, int]]) -> bool:
    """Whether one of a process's descriptors can be had; one that it has not is an answer as well."""
    poll, ours = select.poll(), []
    try:
        for number, events in wanted:
            if number < 0:
                continue
            duplicate = process.duplicate(number)
            if duplicate < 0:
                return True
            ours.append(duplicate)
            poll.register(duplicate, events & 0xFFFF)
        return bool(poll.poll(0))
    finally:
        for descriptor in ours:
            with suppress(OSError):
                os.close(descriptor)


def _signed(argument: int) -> int:
    low = argument & 0xFFFFFFFF
    return low - (1 << 32) if low & 0x80000000 else low
