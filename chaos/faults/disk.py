"""Faults of the disk: a call is refused with an error such as EIO, a write is cut short, or there is no space left.

`refuse`, `shorten` and `Space` carry out what a `Fault` says (`policy.py` chooses when). `FailAt` is a setting for one
refusal alone, and `FailPolicy` counts for one run. Read `chaos/syscalls/calls.py` for what a policy may decide.
"""

import errno
from dataclasses import dataclass
from errno import ENOSPC, errorcode
from fnmatch import fnmatchcase
from typing import final

from chaos.errors import UsageError
from chaos.faults.fault import Fault
from chaos.syscalls.calls import PROCEED, Call, Decision, Fail, Partial

__all__ = ["FailAt", "FailPolicy", "Space", "refuse", "shorten"]


def refuse(fault: Fault, _: Call) -> Fail:
    """The call fails as the fault says."""
    return Fail(int(getattr(errno, fault.errno)))


def shorten(fault: Fault, call: Call) -> Partial | None:
    """A write is cut; None for one that is that short already."""
    size = call.size // 2 if fault.size_bytes is None else fault.size_bytes
    return Partial(size) if 0 < size < call.size else None


@final
class Space:
    """What is left on a small disk: every byte written takes some, and nothing gives any back.

    That is harder than a real disk, where an overwrite takes no space and a removed file returns its own, and it is
    the same in every run.
    """

    def __init__(self, size_bytes: int) -> None:
        self._left = size_bytes

    def take(self, call: Call) -> Decision:
        """Let a write in as far as there is room."""
        room, self._left = self._left, max(0, self._left - call.size)
        if call.size <= room:
            return PROCEED
        return Partial(room) if room else Fail(ENOSPC)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FailAt:
    """Which call is refused, and how.

    Attributes:
        nth: which of the matching calls, from 1, counted over all processes.
        errno: with which error.
        for_good: whether all matching calls after it are refused too, as on a full disk, or that one alone.
        calls: names of matching calls; any call that takes effect when empty. Acknowledgements never match.
        path: glob that one of the call's paths must fit; any when empty.
    """

    nth: int
    errno: int
    for_good: bool = False
    calls: frozenset[str] = frozenset()
    path: str = ""

    def __post_init__(self) -> None:
        if self.nth < 1:
            raise UsageError(f"nth counts from 1, so it can't be {self.nth}")
        if self.errno not in errorcode:
            raise UsageError(f"{self.errno} is no error number", "take one from the module errno")

    def matches(self, call: Call) -> bool:
        """Whether a call counts."""
        if call.name == "ack" or (self.calls and call.name not in self.calls):
            return False
        return not self.path or fnmatchcase(call.path, self.path) or fnmatchcase(call.to_path, self.path)


@final
class FailPolicy:
    """Refuses as its setting says.

    Attributes:
        refused: the calls that were refused.
    """

    def __init__(self, at: FailAt) -> None:
        self._at = at
        self._count = 0
        self.refused: list[Call] = []

    def decide(self, call: Call) -> Decision:
        """See `Policy`."""
        if not self._at.matches(call):
            return PROCEED
        self._count += 1
        if self._count < self._at.nth or (self._count > self._at.nth and not self._at.for_good):
            return PROCEED
        self.refused.append(call)
        return Fail(self._at.errno)
