"""Health checks: small questions with a deadline, asked together, and what may be concluded from the answers.

*Liveness* asks whether the process should be restarted, *readiness* whether it should be given work; a check belongs to
one of them, and a slow disk, say, must not restart what would only lose its warm state. A check that raised, or did not
answer in time, is an *error* and never a pass. What hangs is not asked again until it came back.
"""

import os
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, final

from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.durability.forking import renew_in_children
from pytest_guardrails.reliability.state import StateStore

__all__ = [
    "Answer",
    "Check",
    "CheckResult",
    "CheckStatus",
    "HealthChecks",
    "HealthReport",
    "Purpose",
    "disk_room",
    "store_answers",
]

Purpose = Literal["liveness", "readiness"]


@final
class CheckStatus(IntEnum):
    """What a check found, from good to bad."""

    PASSED = 0
    SKIPPED = 1  # it does not apply here
    WARNING = 2
    FAILED = 3
    ERROR = 4  # it could not be asked


Answer = tuple[CheckStatus, str]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question.

    Attributes:
        name: unique.
        purpose: what a bad answer is for.
        ask: returns a status and words for a person; may raise.
        deadline_s: for an answer, in seconds.
    """

    name: str
    purpose: Purpose
    ask: Callable[[], Answer]
    deadline_s: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.deadline_s < 1e6:
            raise ConfigurationError(f"check {self.name!r}: deadline_s is above 0 and finite, not {self.deadline_s}")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One answer.

    Attributes:
        name: of the check.
        purpose: of the check.
        status: what it found.
        message: for a person.
        duration_s: how long it took.
    """

    name: str
    purpose: Purpose
    status: CheckStatus
    message: str
    duration_s: float


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """All answers.

    Attributes:
        results: in the order of the checks.
    """

    results: tuple[CheckResult, ...]

    def holds(self, purpose: Purpose) -> bool:
        """Whether nothing failed that is asked for this purpose; warnings do not count."""
        return all(found.status < CheckStatus.FAILED for found in self.results if found.purpose == purpose)


@final
class HealthChecks:
    """A set of checks.

    Args:
        checks: with unique names.
        clock: for how long an answer took.
    """

    def __init__(self, checks: Sequence[Check], *, clock: Clock | None = None) -> None:
        names = [check.name for check in checks]
        if len(set(names)) < len(names):
            raise ConfigurationError(f"two checks have one name: {sorted(names)}")
        self._checks = tuple(checks)
        self._clock = clock or SystemClock()
        self._mutex = threading.RLock()
        renew_in_children(self)
        self._asked: dict[str, _Question] = {}

    def run(self, purpose: Purpose | None = None) -> HealthReport:
        """Ask all, at once, or those of one purpose.

        Returns:
            After the longest deadline at the latest.
        """
        wanted = [check for check in self._checks if purpose in (None, check.purpose)]
        began_s = self._clock.monotonic()
        with self._mutex:
            for check in wanted:
                if check.name not in self._asked:
                    self._asked[check.name] = _Question(check, self._clock)
            questions = [(check, self._asked[check.name]) for check in wanted]
        results = []
        for check, question in questions:
            left_s = began_s + check.deadline_s - self._clock.monotonic()
            question.join(max(0.0, left_s))
            if question.found is not None:
                with self._mutex:
                    if self._asked.get(check.name) is question:
                        del self._asked[check.name]
            results.append(question.result(self._clock.monotonic() - began_s))
        return HealthReport(results=tuple(results))


@final
class _Question(threading.Thread):
    def __init__(self, check: Check, clock: Clock) -> None:
        super().__init__(daemon=True)
        self._check = check
        self._clock = clock
        self._began_s = clock.monotonic()
        self._ended_s = 0.0
        self.found: Answer | None = None
        self.start()

    def run(self) -> None:
        try:
            status, message = self._check.ask()
            found = CheckStatus(status), str(message)
        except Exception as error:  # noqa: BLE001 - the edge to code of others: it is told
            found = CheckStatus.ERROR, f"{type(error).__name__}: {error}"
        self._ended_s = self._clock.monotonic()
        self.found = found

    def result(self, waited_s: float) -> CheckResult:
        found, check = self.found, self._check
        if found is None:
            status, message, took_s = CheckStatus.ERROR, f"no answer within {check.deadline_s:g} s", waited_s
        else:
            status, message, took_s = *found, self._ended_s - self._began_s
        return CheckResult(name=check.name, purpose=check.purpose, status=status, message=message, duration_s=took_s)


def store_answers(store: StateStore) -> Check:
    """Whether the store can be read, and was never found damaged."""

    def ask() -> Answer:
        version, damaged = store.version(), len(store.incidents())
        if damaged:
            return CheckStatus.WARNING, f"version {version}; it was found damaged and restored {damaged} times"
        return CheckStatus.PASSED, f"version {version}"

    return Check(name="store", purpose="readiness", ask=ask)


def disk_room(path: str | os.PathLike[str], *, least_bytes: int = 100_000_000) -> Check:
    """Whether there is room where the state lies; twice the least is a warning."""

    def ask() -> Answer:
        free = shutil.disk_usage(path).free
        status = CheckStatus.FAILED if free < least_bytes else CheckStatus.PASSED
        if least_bytes <= free < 2 * least_bytes:
            status = CheckStatus.WARNING
        return status, f"{free / 1e6:.0f} MB are free"

    return Check(name="disk room", purpose="readiness", ask=ask)
