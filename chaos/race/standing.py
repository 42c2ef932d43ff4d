"""Who stands still, and whose child somebody is, as /proc tells. Read `episode.py` for why it matters."""

import os
from collections.abc import Iterator, Mapping
from signal import SIGALRM

__all__ = ["is_locked", "is_over", "racer_above", "rests"]

_RESTING = "STtZX"


def is_over(thread: int) -> bool:
    """Whether a thread is gone, or only waits to be collected."""
    return _state(thread) in "ZX"


def rests(thread: int) -> bool:
    """Whether a thread is asleep in the kernel or stopped, and so are its process's others and all their children."""
    if _state(thread) not in _RESTING:
        return False
    others = _threads(thread)
    return all(_state(other) in _RESTING for other in others) and all(
        rests(child) for other in others for child in _children(other)
    )


def is_locked(thread: int, futex: int) -> bool:
    """Whether a thread waits, without a time limit, for another thread, as do its process's others and all children.

    Nobody else can wake any of them, unless a process asked for a signal at some time (SIGALRM): then it is not said.

    Args:
        thread: its id.
        futex: the number of that system call.
    """
    if is_over(thread):
        return True
    others = _threads(thread)
    return (
        not _hears_alarms(thread)
        and all(is_over(other) or _waits_for_thread(other, futex) for other in others)
        and all(is_locked(child, futex) for other in others for child in _children(other))
    )


def _waits_for_thread(thread: int, futex: int) -> bool:
    """Whether a thread is in a wait for a futex that has no time limit; False also where nobody may know."""
    try:
        with open(f"/proc/{thread}/syscall", encoding="ascii") as file:
            number, *arguments = file.read().split()
    except (OSError, ValueError):
        return False
    return number == str(futex) and arguments[3:4] == ["0x0"]


def _hears_alarms(thread: int) -> bool:
    caught = next((line for line in _status(thread) if line.startswith("SigCgt:")), "SigCgt: 0")
    return bool(int(caught.split()[1], 16) >> (SIGALRM - 1) & 1)


def racer_above(thread: int, racers: Mapping[int, int]) -> int | None:
    """Which racer a thread belongs to or descends from, if any.

    Args:
        thread: its id.
        racers: process id -> racer; each is also its process group's id.
    """
    seen = thread
    while seen > 1:
        fields = _fields(seen)
        if not fields:
            return None
        for id_ in (seen, _group_leader(seen), int(fields[2])):
            if id_ in racers:
                return racers[id_]
        seen = int(fields[1])
    return None


def _group_leader(thread: int) -> int:
    return next((int(line[5:]) for line in _status(thread) if line.startswith("Tgid:")), 0)


def _status(thread: int) -> list[str]:
    try:
        with open(f"/proc/{thread}/status", encoding="ascii", errors="replace") as file:
            return file.readlines()
    except OSError:
        return []  # it is gone


def _threads(thread: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{thread}/task")]
    except OSError:
        return []  # it is gone


def _children(thread: int) -> Iterator[int]:
    try:
        with open(f"/proc/{thread}/task/{thread}/children", encoding="ascii") as file:
            yield from map(int, file.read().split())
    except OSError:
        return  # it is gone, or the kernel keeps no such list


def _state(thread: int) -> str:
    fields = _fields(thread)
    return fields[0] if fields else "X"


def _fields(thread: int) -> list[str]:
    """State, parent, process group, and what comes after; empty when the thread is gone."""
    try:
        with open(f"/proc/{thread}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2].decode("ascii").split()
    except OSError:
        return []
