"""Faults of the disk: the nth matching call, or every one from it on, is refused with an error such as ENOSPC or EIO.

`FailAt` is the setting, plain data; `FailPolicy` counts for one run. Read `chaos/syscalls/calls.py` for what a policy
may decide.
"""

from dataclasses import dataclass
from errno import errorcode
from fnmatch import fnmatchcase
from typing import final

from chaos.errors import UsageError
from chaos.syscalls.calls import PROCEED, Call, Decision, Fail

__all__ = ["FailAt", "FailPolicy"]


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
