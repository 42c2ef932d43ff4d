"""Holds on to everything that a target starts: no process outlives the run that started it.

A worker is made the subreaper of its descendants, so whatever a target forks away, daemonised or not, becomes the
worker's own child when its parent dies, and can be found, named and killed by an id that is not yet free for
others. Standard library, Linux. Read `cell.py` next.
"""

import contextlib
import ctypes
import os
import select
import signal
from time import monotonic

from chaos.child.leftovers import process_name

__all__ = [
    "ReapingError",
    "adopt_descendants",
    "die_with_parent",
    "end_strays",
    "give_back_memory",
    "memory_below_bytes",
]

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_PATIENCE_S = 5.0  # SIGKILL works at once but for a process stuck in the kernel
_libc = ctypes.CDLL(None, use_errno=True)


class ReapingError(Exception):
    """A process can't be adopted or ended; the machine, not the target, is in the way."""


def adopt_descendants() -> None:
    """Become the parent of every descendant whose own parent dies.

    Raises:
        ReapingError: the kernel refuses.
    """
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise ReapingError(f"the kernel does not let this process adopt its descendants: {_reason()}")


def die_with_parent(parent: int) -> None:
    """Be killed when the parent dies; leave at once if it is dead already."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library can: what importing took need not be forked."""
    trim = getattr(_libc, "malloc_trim", None)
    if trim is not None:
        trim(0)


def end_strays(grace_s: float = 0.0) -> tuple[str, ...]:
    """Reap all children of this process, kill those that still run after `grace_s`; their command lines, sorted.

    Raises:
        ReapingError: one can't be killed.
    """
    try:
        if os.waitpid(-1, os.WNOHANG) == (0, 0) and grace_s:
            _let_end(grace_s)
    except ChildProcessError:
        return ()
    names: set[str] = set()
    give_up = monotonic() + _PATIENCE_S
    while _reap_ended():
        running = _children_of(os.getpid())
        names.update(process_name(pid) for pid in running)
        for pid in running:
            os.kill(pid, signal.SIGKILL)
        if running:
            _wait_for_one(running[0], 0.1)
        if monotonic() > give_up:
            raise ReapingError(f"processes that the target started can't be killed: {sorted(names)}")
    return tuple(sorted(names - {"unknown"}))


def memory_below_bytes() -> int:
    """Memory held by all descendants: private and shared pages, each counted once; 0 where it can't be told."""
    return sum(_memory_of(pid) for pid in _descendants_of(os.getpid()))


def _reap_ended() -> bool:
    """Reap what has ended; False when no child is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _let_end(grace_s: float) -> None:
    give_up = monotonic() + grace_s
    while _reap_ended() and (left := give_up - monotonic()) > 0:
        for pid in _children_of(os.getpid())[:1]:
            _wait_for_one(pid, left)


def _wait_for_one(pid: int, timeout_s: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            select.select([handle], [], [], timeout_s)
        finally:
            os.close(handle)


def _children_of(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                found += [int(child) for child in file.read().split()]
    return found


def _descendants_of(pid: int) -> list[int]:
    found = _children_of(pid)
    for child in found:
        found += _children_of(child)  # grows while it is walked: a breadth-first walk
    return found


def _memory_of(pid: int) -> int:
    total_kib = 0
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        for line in file:
            if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                total_kib += int(line.split()[1])
    return total_kib * 1024


def _reason() -> str:
    return os.strerror(ctypes.get_errno())
