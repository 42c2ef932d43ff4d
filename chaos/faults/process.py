"""Faults on processes: SIGKILL before, after, or in the middle of a matching call.

`kill` carries out what a `Fault` says (`policy.py` chooses when). `KillAt` is a setting for one kill alone, and
`KillPolicy` counts for one run. Read `chaos/syscalls/calls.py` for what a policy
may decide.
"""

from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import final

from chaos.errors import UsageError
from chaos.faults.fault import Fault
from chaos.syscalls.calls import PROCEED, Call, Decision, KillAfter, KillBefore, KillInside, Reach

__all__ = ["KillAt", "KillPolicy", "Moment", "kill"]


def kill(fault: Fault, call: Call) -> KillBefore | KillInside | KillAfter | None:
    """SIGKILL at the fault's moment; None for a call that has no inside."""
    reach = Reach(fault.reach)
    if fault.moment == "before":
        return KillBefore(reach)
    if fault.moment == "after":
        return KillAfter(reach)
    size = call.size // 2 if fault.size_bytes is None else fault.size_bytes
    return KillInside(size, reach) if size < call.size else None


@final
class Moment(str, Enum):
    """Where in the call the kill comes."""

    BEFORE = "before"
    AFTER = "after"
    INSIDE = "inside"  # of a write; other calls are whole or not at all, and are killed after


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class KillAt:
    """Which call is killed, and how.

    Attributes:
        nth: which of the matching calls, from 1, counted over all processes.
        moment: before it, after it, or inside it.
        calls: names of matching calls; any call that takes effect when empty. Acknowledgements ("ack") only by name.
        path: glob that one of the call's paths must fit; any when empty.
        process: number of the process that must make it; any when None.
        size_bytes: of a write that is killed inside: how much is written; half of it when None.
        reach: whether the whole process tree dies, or the one process.
    """

    nth: int
    moment: Moment = Moment.BEFORE
    calls: frozenset[str] = frozenset()
    path: str = ""
    process: int | None = None
    size_bytes: int | None = None
    reach: Reach = Reach.TREE

    def __post_init__(self) -> None:
        if self.nth < 1:
            raise UsageError(f"nth counts from 1, so it can't be {self.nth}")
        if self.size_bytes is not None and self.size_bytes < 0:
            raise UsageError(f"size_bytes must be 0 or more, not {self.size_bytes}")

    def matches(self, call: Call) -> bool:
        """Whether a call counts."""
        if call.name not in self.calls if self.calls else call.name == "ack":
            return False
        if self.process is not None and call.process != self.process:
            return False
        return not self.path or fnmatchcase(call.path, self.path) or fnmatchcase(call.to_path, self.path)


@final
class KillPolicy:
    """Kills once, at its setting's call.

    Attributes:
        fired: the call that was killed; None while there was none.
    """

    def __init__(self, at: KillAt) -> None:
        self._at = at
        self._count = 0
        self.fired: Call | None = None

    def decide(self, call: Call) -> Decision:
        """See `Policy`."""
        if self.fired is not None or not self._at.matches(call):
            return PROCEED
        self._count += 1
        if self._count < self._at.nth:
            return PROCEED
        self.fired = call
        if self._at.moment is Moment.BEFORE:
            return KillBefore(self._at.reach)
        if self._at.moment is Moment.AFTER:
            return KillAfter(self._at.reach)
        size = call.size // 2 if self._at.size_bytes is None else min(self._at.size_bytes, call.size)
        return KillInside(size, self._at.reach)
