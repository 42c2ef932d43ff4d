"""The faults of one run, with the seed of what is drawn: a text that makes the run happen again, and smaller ones.

    {"faults":[{"call":"write","errno":"ENOSPC","nth":3}],"seed":"0 1"}

Pure data, as `fault.py`. Read `policy.py` for what carries a plan out.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import final

from chaos.errors import UsageError
from chaos.faults.fault import Deed, Fault, parse_fault

__all__ = ["Plan", "explicit", "parse_plan", "smaller"]

_FIRST = 4  # an earlier call is tried at so many places: the first ones, and half of the way


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is done to one run.

    Attributes:
        faults: none of them for each call in turn.
        seed: of the faults drawn by chance.
    """

    faults: tuple[Fault, ...]
    seed: str = "0"

    def text(self) -> str:
        """The canonical text."""
        return json.dumps(
            {"faults": [fault.table() for fault in self.faults], "seed": self.seed},
            sort_keys=True,
            separators=(",", ":"),
        )

    @property
    def is_drawn(self) -> bool:
        """Whether anything in it is left to chance."""
        return any(fault.probability is not None for fault in self.faults)

    @property
    def size(self) -> tuple[int, int]:
        """How much there is to understand: the number of faults, then how late they come."""
        return len(self.faults), sum(fault.nth or 0 for fault in self.faults)


def parse_plan(text: str) -> Plan:
    """Read a plan's text.

    Raises:
        UsageError: it is none.
    """
    try:
        data = json.loads(text)
        faults, seed = [dict(table) for table in data["faults"]], str(data["seed"])
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"not a plan of faults: {text[:80]!r} ({error})", "take it from a finding") from None
    return Plan(faults=tuple(map(parse_fault, faults)), seed=seed)


def explicit(plan: Plan, struck: Iterable[tuple[int, int]]) -> Plan:
    """The same run with nothing left to chance: each strike a fault of its own.

    Args:
        plan: the run's.
        struck: (fault, which of its calls) of each strike, in order.
    """
    faults: list[Fault] = []
    for number, nth in struck:
        fault = plan.faults[number]
        if fault.onwards or fault.deed is Deed.FULL or fault.nth is not None:
            if fault not in faults:
                faults.append(fault)
        else:
            faults.append(fault.at(nth))
    return replace(plan, faults=tuple(faults))


def smaller(plan: Plan) -> Iterator[Plan]:
    """Plans with less in them, the smallest first: fewer faults, then earlier ones, then ones that strike once."""
    count = len(plan.faults)
    if count > 1:
        yield from (replace(plan, faults=(fault,)) for fault in plan.faults)
    if count > 3:
        yield from (replace(plan, faults=half) for half in (plan.faults[: count // 2], plan.faults[count // 2 :]))
    if count > 2:
        yield from (replace(plan, faults=(*plan.faults[:at], *plan.faults[at + 1 :])) for at in range(count))
    for at, fault in enumerate(plan.faults):
        for other in _earlier(fault):
            yield replace(plan, faults=(*plan.faults[:at], other, *plan.faults[at + 1 :]))


def _earlier(fault: Fault) -> Iterator[Fault]:
    if fault.nth is None:
        return
    for nth in sorted({*range(1, min(_FIRST, fault.nth)), fault.nth // 2, fault.nth - 1} - {0}):
        if nth < fault.nth:
            yield fault.at(nth)
    if fault.onwards:
        yield replace(fault, onwards=False)
