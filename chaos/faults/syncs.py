"""Faults on syncs: one that fails once with EIO, after which the next one succeeds, and one that lies.

What that does to the disk is the persistence model's to say (rule `failed_sync_drops_pages`): here only the program is
told. Read `chaos/syscalls/calls.py` for what a policy may decide.
"""

from errno import EIO
from typing import final

from chaos.errors import UsageError
from chaos.faults.fault import Fault
from chaos.syscalls.calls import PROCEED, Call, Decision, Fail, Pretend

__all__ = ["FailingSync", "lie"]

_SYNCS = frozenset({"fsync", "fdatasync"})


def lie(_: Fault, __: Call) -> Pretend:
    """The sync returns 0 and is no operation of the trace: a power cut then finds everything still unsynced."""
    return Pretend(0)


@final
class FailingSync:
    """A policy under which one sync fails.

    Attributes:
        fired: the call that failed; None while there was none.
    """

    def __init__(self, nth: int) -> None:
        """Let the sync number `nth` fail, counted from 1 over all processes.

        Raises:
            UsageError: it counts from 1.
        """
        if nth < 1:
            raise UsageError(f"syncs are counted from 1, so it can't be {nth}")
        self._left = nth
        self.fired: Call | None = None

    def decide(self, call: Call) -> Decision:
        """See `Policy`."""
        if call.name not in _SYNCS:
            return PROCEED
        self._left -= 1
        if self._left:
            return PROCEED
        self.fired = call
        return Fail(EIO)
