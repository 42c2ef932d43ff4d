"""How an exploration is carried out, and what is asked of it, as data. Read `exploration.py` next."""

from dataclasses import dataclass, field
from enum import Enum
from typing import final

from chaos.child.target import CallableTarget, CommandTarget, Roles, Target
from chaos.disk import PersistenceModel
from chaos.errors import UsageError
from chaos.observations import Bounds, Reference

__all__ = ["Ask", "Isolation", "Settings", "check_settings", "needs_this_process", "work_target"]


@final
class Isolation(str, Enum):
    """How recoveries are kept from each other and from us."""

    FORK = "fork"  # each state in a fresh fork of a warmed server
    BATCH = "batch"  # many states a process: faster; state in the target's memory may leak from one to the next
    COMMAND = "command"  # recovery is a command line; what it does to itself can't reach anything


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Questions beyond the recovered value; each costs time on every state.

    Attributes:
        names: the paths present after recovery.
        leftovers: descriptors, locks and processes that recovery leaves behind.
        resume: run the workload on from the recovered state, and recover once more.
        usage: memory that recovery takes, and the longest file that it leaves.
        second: record recovery and the workload going on, for a second crash (`second.py`).
    """

    names: bool = False
    leftovers: bool = False
    resume: bool = False
    usage: bool = False
    second: bool = False


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to explore.

    Attributes:
        models: persistence models, weakest promise broken first; a state that an earlier one had is not run again.
        isolation: how recoveries are kept apart. `BATCH` can't answer `leftovers`, `usage` and `resume`: with one
            asked, states run in forks all the same. A recovery that is a command line always runs as `COMMAND`.
        jobs: worker processes.
        deadline_s: a recovery still running after this is hung; so is a resumed workload.
        memory_bytes: what one recovery may take beyond what the warmed server holds already.
        file_bytes: the longest file that a recovery may write.
        budget_s: stop handing out states after this many seconds; None = no limit.
        budget_states: stop after this many states; None = no limit.
        bound: how many free micro-operations are still enumerated exhaustively.
        seed: of the sampled part of the enumeration.
        ask: extra questions.
        against: what is right, where that is not what recovery returns on the trace's own undamaged trees alone.
        allowed: what recovery and the workload may take; for the oracles, nothing is cut here.
    """

    models: tuple[PersistenceModel, ...]
    isolation: Isolation = Isolation.FORK
    jobs: int = 1
    deadline_s: float = 5.0
    memory_bytes: int = 1 << 30
    file_bytes: int = 4 << 30
    budget_s: float | None = None
    budget_states: int | None = None
    bound: int = 12
    seed: int = 0
    ask: Ask = field(default_factory=Ask)
    against: Reference | None = None
    allowed: Bounds = field(default_factory=Bounds)


def check_settings(settings: Settings, roles: Roles) -> None:
    """Refuse settings that can't be carried out.

    Raises:
        UsageError: which one, and why.
    """
    if not settings.models:
        raise UsageError("no persistence model is given", "name at least one, e.g. kill")
    for name in ("jobs", "deadline_s", "memory_bytes", "file_bytes", "budget_s", "budget_states"):
        value = getattr(settings, name)
        if value is not None and value <= 0:
            raise UsageError(f"{name} is {value}; it must be above 0")
    if settings.isolation is Isolation.COMMAND and not isinstance(roles.recover, CommandTarget):
        raise UsageError("isolation 'command' needs a recovery that is a command line", "use isolation 'fork'")


def work_target(roles: Roles) -> Target:
    """What goes on after a crash."""
    return roles.resume if roles.resume is not None else roles.workload


def needs_this_process(roles: Roles, ask: Ask) -> bool:
    """Whether a target is a closure, which no other interpreter can import."""
    used = [roles.recover, roles.check, work_target(roles) if ask.resume or ask.second else None]
    return any(isinstance(target, CallableTarget) for target in used)
