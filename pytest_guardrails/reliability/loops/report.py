"""How a loop is run, and how it stands: plain data, for callers of the controller. Read `controller.py` next."""

from dataclasses import dataclass
from typing import final

from pytest_guardrails.errors import ConfigurationError, check_whole
from pytest_guardrails.reliability.loops.facts import Facts, LoopState, Reason
from pytest_guardrails.reliability.loops.ledger import LoopRecord

__all__ = ["LoopReport", "LoopSettings", "report_of"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """How a loop is run; none of it is kept with the run.

    Attributes:
        step_deadline_s: a step is interrupted after so long, in seconds; None for never. A `Timeout` of the run
            interrupts it as well.
        interruptible: each step runs in a thread of its own. Otherwise in the thread that called `run`, for steps that
            are bound to it; a deadline is then noticed after the step, and `step_deadline_s` must be None.
        grace_s: how long an interrupted step may take to end; after that the loop ends aborted.
        failure_limit: the loop ends failed after so many bad iterations in a row; None for no limit.
        attempts: how often a step is begun that its process does not survive.
        history: iterations that are kept in memory.
        keep_iterations: of a run, how many iterations stay in the store, the newest.
        keep_runs: how many runs stay there, the newest, with their iterations and their side effects; a side effect
            whose outcome is unknown stays in any case.
        lease_ttl_s: how long the lease lasts when its holder can't renew it.
        watch_s: how often requests from other processes are looked for.
        lease_path: file of the lease; beside the store's file when empty.
    """

    step_deadline_s: float | None = None
    interruptible: bool = True
    grace_s: float = 5.0
    failure_limit: int | None = 3
    attempts: int = 3
    history: int = 100
    keep_iterations: int = 10_000
    keep_runs: int = 100
    lease_ttl_s: float = 30.0
    watch_s: float = 0.25
    lease_path: str = ""

    def __post_init__(self) -> None:
        for name in ("failure_limit", "attempts", "history", "keep_iterations", "keep_runs"):
            if name != "failure_limit" or self.failure_limit is not None:
                check_whole(name, getattr(self, name), 1)
        if self.step_deadline_s is not None and not self.interruptible:
            raise ConfigurationError("without interruptible no step can have a deadline: leave step_deadline_s None")
        for name in ("step_deadline_s", "grace_s", "lease_ttl_s", "watch_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1e9:
                raise ConfigurationError(f"{name} is above 0 and finite, not {value}")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LoopReport:
    """A loop as it stands.

    Attributes:
        loop_id: which.
        run: number of the run, from 1; 0 when the loop was never started.
        state: where it is.
        reason: why it ended; None while it has not.
        detail: the same for a person.
        facts: what is known of the run.
        advice: the stuck detector's last words; "" when it had nothing to say.
    """

    loop_id: str
    run: int
    state: LoopState
    reason: Reason | None
    detail: str
    facts: Facts
    advice: str = ""


def report_of(record: LoopRecord) -> LoopReport:
    """What a caller may know of a record."""
    return LoopReport(
        loop_id=record.loop_id,
        run=record.run,
        state=record.state,
        reason=record.reason,
        detail=record.detail,
        facts=record.facts,
        advice=record.advice,
    )
