"""Says to the kernel what is to become of processes when their parents die. Linux, standard library.

Apart from `reaping.py`, because calling the C library takes modules that make every fork dearer where they are
loaded; both settings survive exec, so a worker makes them for the forker that it starts.
"""

import ctypes
import os
import signal

from chaos.child.reaping import ReapingError

__all__ = ["adopt_descendants", "die_with_parent", "give_back_memory", "signal_at_parent_death"]

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True)


def adopt_descendants() -> None:
    """Become the parent of every descendant whose own parent dies.

    Raises:
        ReapingError: the kernel refuses.
    """
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        reason = os.strerror(ctypes.get_errno())
        raise ReapingError(f"the kernel does not let this process adopt its descendants: {reason}")


def signal_at_parent_death(number: int) -> None:
    """Have a signal sent to this process when its parent dies."""
    _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def die_with_parent(parent: int) -> None:
    """Be killed when the parent dies; leave at once if it is dead already."""
    signal_at_parent_death(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library can: what importing took need not be forked."""
    trim = getattr(_libc, "malloc_trim", None)
    if trim is not None:
        trim(0)
