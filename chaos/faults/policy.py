"""Carries faults out in one run: counts the calls that match each, decides, and remembers what struck where.

All faults see all calls, so what one does never changes another's count; where two strike one call, the one that was
named first does. Every draw comes from the seed and the fault's place in the list, so a run is reproduced by both.
Read `fault.py` for what a fault may say.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from random import Random
from typing import final

from chaos.errors import UsageError
from chaos.faults.disk import Space, refuse, shorten
from chaos.faults.fault import FAMILIES, Deed, Fault
from chaos.faults.process import kill
from chaos.faults.syncs import lie
from chaos.faults.waiting import wait
from chaos.syscalls.calls import PROCEED, Call, Decision, Proceed
from chaos.trace.model import Frame

__all__ = ["FaultPolicy", "Struck", "check_single"]

_KEPT = 1000  # strikes remembered of one run: a fault on every call of a long run must not eat the memory

_BY_NAME = frozenset({*FAMILIES["read"], "ack"})  # these never match a fault that names no call

_DEEDS: dict[Deed, Callable[[Fault, Call], Decision | None]] = {
    Deed.ERRNO: refuse,
    Deed.SHORT: shorten,
    Deed.DELAY: wait,
    Deed.HANG: wait,
    Deed.PAUSE: wait,
    Deed.LIE: lie,
    Deed.KILL: kill,
}


def check_single(faults: Sequence[Fault]) -> None:
    """Refuse faults that say no single run.

    Raises:
        UsageError: one is to be tried at each call in turn.
    """
    for fault in faults:
        if fault.is_each:
            raise UsageError(
                f"fault: {fault.words()} takes many runs, and this is one", "give nth, every or probability"
            )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """One call that a fault struck.

    Attributes:
        fault: which of the faults, from 0.
        nth: which of the calls that match it.
        call: the call.
        acked: how many acknowledgements had been made.
        after: how many operations had taken effect.
        source: the Python frames that made it, innermost first.
    """

    fault: int
    nth: int
    call: Call
    acked: int = 0
    after: int = 0
    source: tuple[Frame, ...] = ()


@final
class FaultPolicy:
    """The faults of one run; a policy and a witness for the supervisor, used once.

    Attributes:
        struck: what was struck, in order; the first thousand.
        count: how often in all.
        matched: for each fault, how many calls matched.
    """

    def __init__(self, faults: Sequence[Fault], *, seed: int | str = 0) -> None:
        """Take the faults of one run.

        Raises:
            UsageError: one says no single run: it is to be tried at each call in turn.
        """
        check_single(faults)
        self._parts = [_Part(fault, f"{seed} {number}") for number, fault in enumerate(faults)]
        self._acks = 0
        self.struck: list[Struck] = []
        self.count = 0

    @property
    def matched(self) -> tuple[int, ...]:
        """For each fault, how many calls matched so far."""
        return tuple(part.count for part in self._parts)

    def decide(self, call: Call) -> Decision:
        """See `Policy`."""
        found: Decision = PROCEED
        for number, part in enumerate(self._parts):
            decision = part.decide(call, self._acks)
            if not isinstance(decision, Proceed) and isinstance(found, Proceed):
                found = decision
                self.count += 1
                if len(self.struck) < _KEPT:
                    self.struck.append(Struck(fault=number, nth=part.count, call=call, acked=self._acks))
        if call.name == "ack":
            self._acks += 1
        return found

    def intervened(self, call: Call, *, after: int, source: tuple[Frame, ...]) -> None:
        """See `Witness`."""
        if self.struck and self.struck[-1].call is call:
            self.struck[-1] = replace(self.struck[-1], after=after, source=source)


@final
class _Part:
    """One fault, and how many calls matched it."""

    def __init__(self, fault: Fault, seed: str) -> None:
        self._fault, self._names = fault, fault.names()
        self._random = Random(seed)  # noqa: S311 - a reproducible draw, no secret
        self._space = Space(fault.size_bytes or 0) if fault.deed is Deed.FULL else None
        self.count = 0

    def decide(self, call: Call, acks: int) -> Decision:
        if acks < self._fault.after_ack or not self._matches(call):
            return PROCEED
        if self._space is not None:
            self.count += 1
            return self._space.take(call)
        decision = _DEEDS[self._fault.deed](self._fault, call)
        if decision is None:
            return PROCEED
        self.count += 1
        return decision if self._strikes() else PROCEED

    def _matches(self, call: Call) -> bool:
        fault = self._fault
        if call.name not in self._names if self._names else call.name in _BY_NAME:
            return False
        if fault.process is not None and call.process != fault.process:
            return False
        return not fault.path or fnmatchcase(call.path, fault.path) or fnmatchcase(call.to_path, fault.path)

    def _strikes(self) -> bool:
        fault = self._fault
        if fault.probability is not None:
            return self._random.random() < fault.probability
        if fault.every is not None:
            return self.count % fault.every == 0
        return self.count == fault.nth or (fault.onwards and fault.nth is not None and self.count > fault.nth)
