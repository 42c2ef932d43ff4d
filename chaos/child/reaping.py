"""Holds on to everything that a target starts: no process outlives the run that started it.

A worker is made the subreaper of its descendants, so whatever a target forks away, daemonised or not, becomes the
worker's own child when its parent dies, and can be found, named and killed by an id that is not yet free for
others. Standard library, Linux, and few modules, as forks must stay cheap where this is loaded: so it looks again
after a moment where it could wait for a descriptor. Read `forker.py` next.
"""

import os
import signal
from time import monotonic as _monotonic  # kept, both: a target may patch the clock
from time import sleep as _sleep

from chaos.child.leftovers import process_name, still_running

__all__ = ["ReapingError", "children_of", "end_strays"]

_PATIENCE_S = 5.0  # SIGKILL works at once but for a process stuck in the kernel
_MOMENT_S = 0.001


class ReapingError(Exception):
    """A process can't be adopted or ended; the machine, not the target, is in the way."""


def end_strays(grace_s: float = 0.0) -> tuple[str, ...]:
    """Reap all children of this process, kill those that still run after `grace_s`; their command lines, sorted.

    Raises:
        ReapingError: one can't be killed.
    """
    try:
        if os.waitpid(-1, os.WNOHANG) == (0, 0) and grace_s:
            still_running(lambda: children_of(os.getpid()) if _reap_ended() else [], grace_s)
    except ChildProcessError:
        return ()
    names: dict[int, str] = {}
    give_up = _monotonic() + _PATIENCE_S
    while _reap_ended():
        running = children_of(os.getpid())
        for pid in running:
            if pid not in names:  # once it is killed it loses its command line, and is a while in ending
                names[pid] = process_name(pid)
            os.kill(pid, signal.SIGKILL)
        if running:
            _sleep(_MOMENT_S)
        if _monotonic() > give_up:
            raise ReapingError(f"processes that the target started can't be killed: {sorted(names.values())}")
    return tuple(sorted({*names.values()} - {"unknown"}))


def _reap_ended() -> bool:
    """Reap what has ended; False when no child is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def children_of(pid: int) -> list[int]:
    """The children of all threads of a process, the ended ones that are not yet reaped among them."""
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                found += [int(child) for child in file.read().split()]
    except OSError:
        pass  # it is gone
    return found
