"""The oracles by name, as a plain table, and which of them judge when the user names none.

Adding one takes a module, a line here, and a canary with its sound twin in `canaries.py`; a test refuses an oracle
without. Read `panel.py` next.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from chaos.errors import UsageError
from chaos.observations import Observation, Reference
from chaos.oracles.answer import Answer, Objection
from chaos.oracles.atomic import atomic
from chaos.oracles.bounded import bounded, undamaged_excess
from chaos.oracles.check import check, undamaged_objections
from chaos.oracles.clean import clean, undamaged_leftovers
from chaos.oracles.durable import durable, undamaged_losses
from chaos.oracles.finite import finite, undamaged_non_finite
from chaos.oracles.in_time import in_time, undamaged_rounds
from chaos.oracles.recovers import recovers, undamaged_failures
from chaos.oracles.resumable import resumable

__all__ = ["DEFAULT_ORACLES", "ORACLES", "Oracle", "choose"]


def _nothing(_: Reference) -> tuple[Objection, ...]:
    return ()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle:
    """One predicate over what a crash left behind.

    Attributes:
        asserts: what must hold, one line.
        judge: its answer to one crash state.
        undamaged: what it has against trees that nothing damaged.
        needs_usage: it needs to know what recovery took.
        needs_resumed: it needs the workload to be run on from each recovered state.
        needs_names: it needs the names in the folder after recovery.
    """

    asserts: str
    judge: Callable[[Observation, Reference], Answer]
    undamaged: Callable[[Reference], tuple[Objection, ...]] = _nothing
    needs_resumed: bool = False
    needs_names: bool = False
    needs_usage: bool = False


# In the order of how much each tells: of several objections to one state with equal damage the first is reported.
ORACLES: dict[str, Oracle] = {
    "durable": Oracle(
        asserts="everything acknowledged before the crash is there", judge=durable, undamaged=undamaged_losses
    ),
    "recovers": Oracle(
        asserts="recovery returns: no exception, no hang, no exit", judge=recovers, undamaged=undamaged_failures
    ),
    "finite": Oracle(
        asserts="no NaN or infinity in values, acknowledgements and files", judge=finite, undamaged=undamaged_non_finite
    ),
    "check": Oracle(asserts="the user's own check accepts the value", judge=check, undamaged=undamaged_objections),
    "atomic": Oracle(asserts="recovery yields the value before or after each step, nothing between", judge=atomic),
    "resumable": Oracle(
        asserts="run on, the workload ends as without a crash and repeats no acknowledged step",
        judge=resumable,
        needs_resumed=True,
    ),
    "terminates": Oracle(
        asserts="workload and recovery end in time, within the rounds allowed",
        judge=in_time,
        undamaged=undamaged_rounds,
    ),
    "bounded": Oracle(
        asserts="memory, files and recovery time stay within bounds",
        judge=bounded,
        undamaged=undamaged_excess,
        needs_usage=True,
    ),
    "clean": Oracle(
        asserts="no file, process, descriptor or lock is left behind",
        judge=clean,
        undamaged=undamaged_leftovers,
        needs_names=True,
    ),
}

# `clean` and `resumable` are on request: a leftover temporary file and a workload that starts afresh are the rule
# among sound programs, and running on doubles the cost of a state.
DEFAULT_ORACLES: tuple[str, ...] = ("recovers", "atomic", "durable", "finite")


def choose(names: Sequence[str] | None, *, checked: bool, resumes: bool = False) -> tuple[str, ...]:
    """The oracles to use, in the table's order.

    Args:
        names: those that the user named; None for the default ones.
        checked: the user gave a check; by default it takes the place of `atomic`.
        resumes: the user said how the workload goes on; `resumable` is then on by default.

    Raises:
        UsageError: a name is unknown, or `check` is named and there is none.
    """
    if names is None:
        default = {*DEFAULT_ORACLES} - ({"atomic"} if checked else set())
        wanted = default | ({"check"} if checked else set()) | ({"resumable"} if resumes else set())
        return tuple(name for name in ORACLES if name in wanted)
    for name in names:
        if name not in ORACLES:
            raise UsageError(f"unknown oracle {name!r}", f"choose among: {', '.join(ORACLES)}")
    if "check" in names and not checked:
        raise UsageError("oracle 'check' is named, but no check is given", "give a check, or leave the oracle out")
    # A check that was given is never passed over, whatever else is named.
    return tuple(name for name in ORACLES if name in names or (checked and name == "check"))
