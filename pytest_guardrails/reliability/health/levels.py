"""How healthy a thing is: thresholds for each signal, the worst of all of them, and hysteresis. Pure.

Signals are numbers from 0 to 1 and a flag. What is missing or not finite is *unknown*, which is never healthy: from
best to worst the order is healthy, degraded, unknown, critical. Getting worse counts at once; getting better only when
the signals clear their thresholds by a margin, several times in a row. Read `alerts.py` for who is told.
"""

import math
from collections.abc import Sequence
from enum import IntEnum
from typing import final

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.records import Record

__all__ = ["Assessment", "HealthThresholds", "Hysteresis", "Level", "assess", "settled", "worst"]


@final
class Level(IntEnum):
    """How it is; a larger number is worse."""

    HEALTHY = 0
    DEGRADED = 1
    UNKNOWN = 2
    CRITICAL = 3

    @property
    def word(self) -> str:
        """As it is written."""
        return self.name.lower()


@final
class HealthThresholds(Record):
    """Where the levels change; `check` them once.

    Attributes:
        risk_healthy_below: risk is healthy below this.
        risk_degraded_below: and degraded below this, critical from it on.
        coherence_healthy_from: coherence is healthy from this on.
        coherence_degraded_from: and degraded from this on, critical below.
        margin: by how much a signal must clear its threshold before it counts as better again.
        better_after: that many times in a row, at least 1.
    """

    risk_healthy_below: float = 0.15
    risk_degraded_below: float = 0.30
    coherence_healthy_from: float = 0.85
    coherence_degraded_from: float = 0.60
    margin: float = 0.02
    better_after: int = 3

    def check(self) -> "HealthThresholds":
        """The thresholds, if they make sense.

        Raises:
            ConfigurationError: names the one that does not.
        """
        for name, value in self._asdict().items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ConfigurationError(f"{name} must be a finite number, not {value!r}")
        if not 0.0 < self.risk_healthy_below < self.risk_degraded_below <= 1.0:
            raise ConfigurationError("the risks must be 0 < risk_healthy_below < risk_degraded_below <= 1")
        if not 0.0 <= self.coherence_degraded_from < self.coherence_healthy_from <= 1.0:
            raise ConfigurationError(
                "the coherences must be 0 <= coherence_degraded_from < coherence_healthy_from <= 1"
            )
        if not 0.0 <= self.margin < 0.5:
            raise ConfigurationError(f"margin must be from 0 to below 0.5, not {self.margin}")
        if type(self.better_after) is not int or self.better_after < 1:
            raise ConfigurationError(f"better_after must be a whole number from 1, not {self.better_after!r}")
        return self


@final
class Assessment(Record):
    """What the signals say.

    Attributes:
        level: the worst of all of them.
        reasons: for each signal that is not healthy, which and why.
    """

    level: Level
    reasons: tuple[str, ...]


@final
class Hysteresis(Record):
    """What is remembered from one assessment to the next.

    Attributes:
        level: that counts now.
        better: how often in a row the signals have been better than that.
    """

    level: Level = Level.HEALTHY
    better: int = 0


def worst(levels: Sequence[Level]) -> Level:
    """The worst of all; unknown if there is none."""
    return max(levels, default=Level.UNKNOWN)


def assess(
    thresholds: HealthThresholds, *, risk: object, coherence: object, void: object, margin: float = 0.0
) -> Assessment:
    """The level of each signal, and the worst.

    Args:
        thresholds: checked ones.
        risk: from 0 (none) to 1.
        coherence: from 0 (none) to 1.
        void: whether the thing is in the void: always critical.
        margin: by how much each threshold must be cleared.
    """
    found = [
        ("risk", risk, _risk_level(thresholds, risk, margin)),
        ("coherence", coherence, _coherence_level(thresholds, coherence, margin)),
        ("void", void, _void_level(void)),
    ]
    reasons = tuple(f"{name} is {value!r}: {level.word}" for name, value, level in found if level is not Level.HEALTHY)
    return Assessment(worst([level for _, _, level in found]), reasons)


def settled(before: Hysteresis, now: Level, cleared: Level, better_after: int) -> Hysteresis:
    """The level that counts from now on.

    Args:
        before: what is remembered.
        now: what the signals say.
        cleared: what they say with a margin, hence the same or worse.
        better_after: see `HealthThresholds`.
    """
    if now >= before.level:
        return Hysteresis(now)
    if cleared >= before.level:
        return Hysteresis(before.level)
    better = before.better + 1
    return Hysteresis(cleared) if better >= better_after else Hysteresis(before.level, better)


def _risk_level(thresholds: HealthThresholds, value: object, margin: float) -> Level:
    risk = _number(value)
    if risk is None:
        return Level.UNKNOWN
    if risk < thresholds.risk_healthy_below - margin:
        return Level.HEALTHY
    return Level.DEGRADED if risk < thresholds.risk_degraded_below - margin else Level.CRITICAL


def _coherence_level(thresholds: HealthThresholds, value: object, margin: float) -> Level:
    coherence = _number(value)
    if coherence is None:
        return Level.UNKNOWN
    if coherence >= min(thresholds.coherence_healthy_from + margin, 1.0):
        return Level.HEALTHY
    return Level.DEGRADED if coherence >= thresholds.coherence_degraded_from + margin else Level.CRITICAL


def _void_level(value: object) -> Level:
    if not isinstance(value, bool):
        return Level.UNKNOWN
    return Level.CRITICAL if value else Level.HEALTHY


def _number(value: object) -> float | None:
    """A signal as a number from 0 to 1; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0.0 <= value <= 1.0 else None  # NaN compares false
