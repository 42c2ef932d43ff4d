"""What the state space asks of a way to walk a trace: one way for dying processes, one for dying machines.

Read `prefixes.py` (the kernel lives on) or `outages.py` (it does not).
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, final

from chaos.disk.recipes import Choice, StepId
from chaos.disk.states import OperationFate
from chaos.disk.tree import Tree

__all__ = ["Candidate", "Survey", "Walk"]


class Candidate(NamedTuple):
    """One way in which the disk may look at a crash point.

    Attributes:
        choice: what of the issued operations is there.
        tree: the file tree that makes.
        inside: whether the crash fell inside the last operation, before its caller could go on.
        lost: operations of which nothing is there, the latest at most.
        torn: operations that are partly there, likewise.
    """

    choice: Choice
    tree: Tree
    inside: bool = False
    lost: tuple[int, ...] = ()
    torn: tuple[int, ...] = ()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """How well a crash point's candidates cover what is legal there.

    Attributes:
        pending: how many micro-operations were free to be there or not.
        exhaustive: whether the candidates are all that is legal.
        left_out: what they leave out, by description, with how many.
    """

    pending: int
    exhaustive: bool
    left_out: Mapping[str, int]


class Walk(Protocol):
    """A trace under one model. Points that rise cost least; any other order is legal."""

    def candidates(self, point: int) -> Iterator[Candidate]:
        """Legal disks at a crash point, the most interesting first; the first is everything issued."""

    def survey(self, point: int) -> Survey:
        """How complete `candidates(point)` is."""

    def tree(self, point: int, choice: Choice) -> Tree:
        """Rebuild one candidate's tree; raises `UsageError` for a choice that does not fit the trace."""

    def fates(self, point: int, choice: Choice) -> tuple[OperationFate, ...]:
        """What became of each issued operation."""

    def lost(self, point: int, choice: Choice) -> tuple[StepId, ...]:
        """The micro-operations that a choice lacks; raises `UsageError` as `tree` does."""

    def may_lose(self, point: int, steps: Collection[StepId]) -> bool:
        """Whether all of these micro-operations may be missing."""

    def milder(self, point: int, lost: tuple[StepId, ...]) -> Iterator[tuple[int, tuple[StepId, ...]]]:
        """(crash point, lost micro-operations) with less damage than these, the least first."""

    def choice_without(self, point: int, lost: tuple[StepId, ...]) -> Choice:
        """The canonical choice that lacks these."""

    def contains(self, point: int, tree: Tree, *, inside: bool) -> bool:
        """Whether a tree is legal at a crash point, whatever the candidates leave out.

        Args:
            point: the crash point.
            tree: the tree.
            inside: whether the crash may have fallen inside the last operation, before its caller could go on.
        """
