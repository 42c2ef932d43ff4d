"""What is left of several live processes that were hurt, as data: what the oracles of this folder judge.

Statements are read as often as an oracle asks for them, so that none has to hold a long run in memory. Pure.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import final

from chaos.history import Said
from chaos.observations import Bounds, Outcome

__all__ = ["Aftermath", "some"]

_SHOWN = 3


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """What was stated, what is there in the end, and who did not go on.

    Attributes:
        said: gives all statements, in order, each life of a worker as a process of its own.
        recovery: the value in the end; None when nobody asked for it.
        initial: the same before the workers began.
        interrupted: how many lives ended otherwise than by returning: each may have done one thing more than it said.
        stuck: of each worker that made no progress once the faults were over, why, as far as known.
        unfinished: likewise of those that should have returned.
        strays: names of processes left behind.
        left: files in the end that an undisturbed run does not leave; None when that is not known.
        peaks: most memory held, by worker, in bytes.
        sizes: of each file in the end, in bytes.
        bounds: what may not be exceeded.
    """

    said: Callable[[], Iterable[Said]]
    recovery: Outcome | None = None
    initial: Outcome | None = None
    interrupted: int = 0
    stuck: Mapping[int, str] = field(default_factory=dict)
    unfinished: Mapping[int, str] = field(default_factory=dict)
    strays: tuple[str, ...] = ()
    left: tuple[str, ...] | None = None
    peaks: tuple[int, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    bounds: Bounds = field(default_factory=Bounds)


def some(things: Iterable[object], total: int) -> str:
    """The first few of `total` things, for people."""
    shown = [str(thing) for _, thing in zip(range(_SHOWN), things, strict=False)]
    return ", ".join(shown) + (f" and {total - _SHOWN} more" if total > _SHOWN else "")
