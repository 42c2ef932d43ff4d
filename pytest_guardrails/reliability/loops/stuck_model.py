"""What the stuck detector is told, what it answers, and how patient it is: plain data.

Each pattern has a `Ladder` of four counts. They are small where a repeat costs money and teaches nothing (the same
failure again), larger where honest work repeats too (reading a file again), and largest for waiting, which has a
budget of its own. Read `stuck.py` for the rules.
"""

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any, NamedTuple, final

from pytest_guardrails.errors import ConfigurationError, check_whole

__all__ = ["Ladder", "Level", "Pattern", "Step", "StepKind", "StuckSettings", "Verdict"]


@final
class Level(IntEnum):
    """What is to be done about a pattern, in rising order."""

    NONE = 0
    NOTE = 1  # write it down
    WARN = 2  # tell the one who works
    BLOCK = 3  # do not do this again, do something else
    STOP = 4  # end the loop


_LEVELS = tuple(Level)


@final
class Pattern(str, Enum):
    """How a loop is stuck."""

    NONE = "none"
    SAME = "the same again"
    CYCLE = "a cycle"
    RECURRING = "the same again, with other work between"
    ERRORS = "nothing but errors"
    MONOLOGUE = "words without deeds"
    WAITING = "waiting for an answer that does not change"
    NO_PROGRESS = "no progress"
    RETRIES = "identical feedback"  # of the original contract


@final
class StepKind(str, Enum):
    """What came of a step."""

    OK = "ok"
    RETRY = "retry"  # it is to be done again, better
    ERROR = "error"
    WAITING = "waiting"  # it asked for something that is not there yet
    TALK = "talk"  # it only spoke

    @property
    def failing(self) -> bool:
        """It did not do what it should."""
        return self is StepKind.RETRY or self is StepKind.ERROR


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step as the detector sees it.

    Attributes:
        kind: what came of it.
        feedback: what came back: a text, or anything of JSON.
        action: what was done, such as a tool's name and arguments; None when that is not known.
        progress: a mark that is new whenever the work advanced, such as a digest of the files; None when there is
            none. A mark that was there before is no progress.
    """

    kind: StepKind = StepKind.OK
    feedback: Any = ""
    action: Any = None
    progress: Any = None


@final
class Ladder(NamedTuple):
    """From which count on each level is reached."""

    note: int
    warn: int
    block: int
    stop: int

    def level(self, count: int) -> Level:
        """The highest level that a count reaches."""
        return _LEVELS[(count >= self.note) + (count >= self.warn) + (count >= self.block) + (count >= self.stop)]


@final
class Verdict(NamedTuple):
    """The detector's answer to a step.

    Attributes:
        level: what is to be done.
        pattern: what was seen.
        times: how often, in the pattern's own terms.
        period: of a cycle, in steps; 0 otherwise.
        evidence: what was seen, for a person.
    """

    level: Level = Level.NONE
    pattern: Pattern = Pattern.NONE
    times: int = 0
    period: int = 0
    evidence: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StuckSettings:
    """How patient the detector is.

    Attributes:
        window: steps that are remembered; also the longest cycle.
        groups: messages that are told apart at a time.
        same_failure: the same failure in a row.
        same_result: the same action with the same result in a row.
        alike: failures that are nearly equal, or equal but for different actions, in a row.
        cycle_of_failures: rounds of a cycle that holds failures.
        cycle: rounds of any other cycle.
        recurring_failure: one action with the same failure, with other work between, without progress.
        recurring_result: the same action with the same result, or one error of several or unknown actions, with other
            work between.
        errors: errors of any kind in a row.
        monologue: steps in a row that only speak.
        waiting: answers in a row that did not change.
        no_progress: steps without a new progress mark.
        least_share: of the steps from the first to the last time; what recurs less often is never blocked.
    """

    window: int = 64
    groups: int = 32
    same_failure: Ladder = field(default=Ladder(2, 3, 4, 5))
    same_result: Ladder = field(default=Ladder(3, 4, 5, 6))
    alike: Ladder = field(default=Ladder(3, 5, 6, 8))
    cycle_of_failures: Ladder = field(default=Ladder(2, 3, 3, 4))
    cycle: Ladder = field(default=Ladder(2, 3, 4, 5))
    recurring_failure: Ladder = field(default=Ladder(3, 4, 5, 6))
    recurring_result: Ladder = field(default=Ladder(4, 6, 8, 10))
    errors: Ladder = field(default=Ladder(6, 9, 12, 15))
    monologue: Ladder = field(default=Ladder(3, 4, 5, 6))
    waiting: Ladder = field(default=Ladder(30, 45, 54, 60))
    no_progress: Ladder = field(default=Ladder(8, 12, 16, 20))
    least_share: float = 0.3

    def __post_init__(self) -> None:
        check_whole("window", self.window, 4)
        check_whole("groups", self.groups, 4)
        if not 0 < self.least_share <= 1:
            raise ConfigurationError(f"least_share is a share above 0 up to 1, not {self.least_share}")
        for name in self.__slots__:
            ladder = getattr(self, name)
            if name not in ("window", "groups", "least_share") and not _is_ladder(ladder):
                raise ConfigurationError(f"{name} must be four counts from 1 that do not fall, not {ladder!r}")


def _is_ladder(value: object) -> bool:
    if not isinstance(value, Ladder) or not all(type(count) is int for count in value):
        return False
    return value.note >= 1 and list(value) == sorted(value)
