"""What a loop knows of itself, as data: states, reasons, outcomes, what was used, and the facts that conditions judge.

Everything here is frozen. Totals are run-wide: they count every iteration of the run, whichever process executed it.
Read `conditions.py` for what is judged from them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import Any, final

__all__ = ["Ending", "Facts", "LoopState", "Outcome", "Reason", "Usage"]

_RECENT = 100  # outcomes that an error rate can look back on


@final
class LoopState(str, Enum):
    """Where a loop is."""

    INITIALIZED = "initialized"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"  # it did what it should
    FAILED = "failed"  # its steps failed
    ABORTED = "aborted"  # it was stopped: a limit, a person, or because it went round
    RECOVERED = "recovered"  # taken over from an owner that died; running again from the next commit on

    @property
    def final(self) -> bool:
        """Nothing will be executed any more."""
        return self in (LoopState.COMPLETED, LoopState.FAILED, LoopState.ABORTED)


@final
class Reason(str, Enum):
    """Why a loop ended."""

    COMPLETED = "completed"
    MAX_ITERATIONS = "max_iterations"
    TIMEOUT = "timeout"
    RESOURCE_LIMIT = "resource_limit"
    CONDITION_MET = "condition_met"
    ERROR = "error"
    DEPENDENCY_FAILURE = "dependency_failure"
    STUCK = "stuck"
    MANUAL = "manual"


@final
class Outcome(str, Enum):
    """How an iteration ended."""

    OK = "ok"
    FAILED = "failed"  # the step raised, or said so
    TIMEOUT = "timeout"  # the step was interrupted at its deadline
    CRASHED = "crashed"  # the process died in the step, again and again

    @property
    def good(self) -> bool:
        """It did what it should."""
        return self is Outcome.OK


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a loop ends.

    Attributes:
        state: one that is final.
        reason: why.
        detail: the same for a person.
    """

    state: LoopState
    reason: Reason
    detail: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What an iteration used.

    Attributes:
        cpu_s: processor time of this process, and of the step's child process if it had one, in seconds.
        rss_bytes: resident memory at its end; of the child process, at its highest.
        open_files: open descriptors of this process at its end.
        cost_nano_usd: money, in billionths of a US dollar: whole numbers, so that sums are exact.
        tokens: of language models.
    """

    cpu_s: float = 0.0
    rss_bytes: int = 0
    open_files: int = 0
    cost_nano_usd: int = 0
    tokens: int = 0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a run.

    Attributes:
        iterations: executed and recorded.
        failures: of these, not good.
        consecutive_failures: the last ones, without a good one between.
        elapsed_s: time in which it ran, over all its owners, without pauses, in seconds.
        cpu_s: see `Usage`; the sum.
        cpu_percent: of the last iteration: processor time per time, 100 is one processor.
        rss_bytes: see `Usage`; of the last iteration.
        open_files: see `Usage`; of the last iteration.
        cost_nano_usd: see `Usage`; the sum.
        tokens: see `Usage`; the sum.
        since_progress: iterations since the progress mark was new; 0 while no step gives one.
        recent: the last outcomes, oldest first: whether each was good.
        last: how the last iteration ended; None before the first.
        unfinished: the last step said that it is to be done again.
        signals: names that were raised from outside.
        value: what the last step returned.
        unknown: fields that a newer program wrote.
    """

    iterations: int = 0
    failures: int = 0
    consecutive_failures: int = 0
    elapsed_s: float = 0.0
    cpu_s: float = 0.0
    cpu_percent: float = 0.0
    rss_bytes: int = 0
    open_files: int = 0
    cost_nano_usd: int = 0
    tokens: int = 0
    since_progress: int = 0
    recent: tuple[bool, ...] = ()
    last: Outcome | None = None
    unfinished: bool = False
    signals: frozenset[str] = field(default_factory=frozenset)
    value: Any = None
    unknown: Mapping[str, Any] = field(default_factory=dict)

    def after(self, outcome: Outcome, duration_s: float, usage: Usage, value: Any) -> "Facts":
        """The facts after one more iteration."""
        good = outcome.good
        return replace(
            self,
            iterations=self.iterations + 1,
            failures=self.failures + (not good),
            consecutive_failures=0 if good else self.consecutive_failures + 1,
            cpu_s=self.cpu_s + usage.cpu_s,
            cpu_percent=100.0 * usage.cpu_s / duration_s if duration_s > 0 else 0.0,
            rss_bytes=usage.rss_bytes,
            open_files=usage.open_files,
            cost_nano_usd=self.cost_nano_usd + usage.cost_nano_usd,
            tokens=self.tokens + usage.tokens,
            recent=(*self.recent, good)[-_RECENT:],
            last=outcome,
            value=value,
        )

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        found = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "unknown"}
        last = self.last.value if self.last else None
        return {**self.unknown, **found, "recent": list(self.recent), "last": last, "signals": sorted(self.signals)}

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> "Facts":
        """The inverse of `plain`."""
        known = {entry.name: plain[entry.name] for entry in fields(cls) if entry.name in plain}
        known["unknown"] = {name: value for name, value in plain.items() if name not in known}
        known["recent"] = tuple(plain.get("recent", ()))
        known["last"] = Outcome(plain["last"]) if plain.get("last") else None
        known["signals"] = frozenset(plain.get("signals", ()))
        return cls(**known)
