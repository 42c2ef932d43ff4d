"""What is done about a class of errors: a plan of rungs, tried from the first on, each so often. Pure.

A rung whose strategy nobody can carry out is passed over; below the last rung waits ESCALATE, and below that TERMINATE.
Read `recovery.py` for who carries them out.
"""

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import final

from pytest_guardrails.errors import ConfigurationError, check_whole
from pytest_guardrails.reliability.loops.error_classes import ErrorClass

__all__ = ["DEFAULT_PLANS", "Backoff", "Plan", "RecoveryPolicy", "Rung", "Strategy", "choose"]


@final
class Strategy(str, Enum):
    """A way to recover."""

    RETRY = "retry"  # do it again, after a pause
    RESUME = "resume"  # go on from where it was
    RESTORE = "restore"  # go back to a checkpoint
    RESTART = "restart"  # begin anew
    SKIP = "skip"  # leave it out
    ALTERNATE = "alternate"  # do it another way
    COMPENSATE = "compensate"  # undo what was done
    ESCALATE = "escalate"  # tell somebody, and stop trying
    TERMINATE = "terminate"  # nothing helped


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One rung of a plan.

    Attributes:
        strategy: what to do.
        attempts: how often, in one recovery.
    """

    strategy: Strategy
    attempts: int = 1

    def __post_init__(self) -> None:
        check_whole(f"{self.strategy.value}: attempts", self.attempts, 1)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is done about a class.

    Attributes:
        rungs: in order.
        limit: of attempts of any kind for one item and this class, over all its recoveries.
    """

    rungs: tuple[Rung, ...]
    limit: int = 20

    def __post_init__(self) -> None:
        check_whole("limit", self.limit, 0)


def _plan(*rungs: tuple[Strategy, int]) -> Plan:
    return Plan(rungs=tuple(Rung(strategy=strategy, attempts=attempts) for strategy, attempts in rungs))


DEFAULT_PLANS: Mapping[ErrorClass, Plan] = {
    ErrorClass.TRANSIENT: _plan((Strategy.RETRY, 5), (Strategy.ALTERNATE, 1)),
    ErrorClass.RATE_LIMITED: _plan((Strategy.RETRY, 8), (Strategy.ALTERNATE, 1)),
    ErrorClass.RESOURCE: _plan((Strategy.RETRY, 2), (Strategy.RESTART, 1)),
    ErrorClass.CORRUPTION: _plan((Strategy.RESTORE, 1), (Strategy.RESTART, 1)),
    ErrorClass.DEPENDENCY: _plan((Strategy.ALTERNATE, 1)),
    ErrorClass.PERMANENT: _plan((Strategy.COMPENSATE, 1)),
    ErrorClass.UNKNOWN: _plan((Strategy.RETRY, 1), (Strategy.RESUME, 1), (Strategy.RESTORE, 1)),
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to pause before a retry: anything up to a bound that doubles (full jitter).

    AWS Architecture Blog, Exponential Backoff And Jitter, 2015.

    Attributes:
        base_s: the first bound, in seconds.
        cap_s: the largest bound, in seconds.
    """

    base_s: float = 0.5
    cap_s: float = 60.0

    def __post_init__(self) -> None:
        if not 0 <= self.base_s <= self.cap_s < 1e6:
            raise ConfigurationError(f"0 <= base_s ({self.base_s}) <= cap_s ({self.cap_s}), both finite")

    def pause_s(self, attempt: int, chance: random.Random, asked_s: float = 0.0) -> float:
        """The pause before an attempt.

        Args:
            attempt: from 1.
            chance: for the jitter.
            asked_s: how long the other side wants us to wait, which is never undercut.
        """
        bound = min(self.cap_s, self.base_s * 2.0 ** min(attempt - 1, 60))
        return asked_s + chance.uniform(0.0, bound)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPolicy:
    """What is done about everything.

    Attributes:
        plans: by class; a class that is left out has the plan of `DEFAULT_PLANS`.
        backoff: before retries.
        handler_deadline_s: a handler is interrupted after so long, in seconds.
        deadline_s: a recovery tries nothing more after so long, pauses included, in seconds.
        keep_audit: of each item, how many entries of the audit stay in the store, the newest.
    """

    plans: Mapping[ErrorClass, Plan] = field(default_factory=dict)
    backoff: Backoff = field(default_factory=Backoff)
    handler_deadline_s: float = 60.0
    deadline_s: float = 600.0
    keep_audit: int = 1000

    def __post_init__(self) -> None:
        check_whole("keep_audit", self.keep_audit, 1)
        for name in ("handler_deadline_s", "deadline_s"):
            if not 0 < getattr(self, name) < 1e9:
                raise ConfigurationError(f"{name} is above 0 and finite, not {getattr(self, name)}")

    def plan(self, error_class: ErrorClass) -> Plan:
        """The plan for a class."""
        return self.plans.get(error_class) or DEFAULT_PLANS[error_class]


def choose(plan: Plan, used: Mapping[str, int], total: int, able: Collection[Strategy]) -> Strategy:
    """What to try next.

    Args:
        plan: for the class of the error.
        used: by strategy, how often it was tried in this recovery.
        total: how often anything was tried for this item and class, ever.
        able: strategies that somebody can carry out.
    """
    if total < plan.limit:
        for rung in plan.rungs:
            if rung.strategy in able and used.get(rung.strategy.value, 0) < rung.attempts:
                return rung.strategy
    return Strategy.ESCALATE if not used.get(Strategy.ESCALATE.value) else Strategy.TERMINATE
