"""What a clock says, checked: a clock of the caller's may say anything, but NaN is neither stored nor waited for.

Read `pytest_guardrails/clock.py` for clocks.
"""

from pytest_guardrails.clock import Clock
from pytest_guardrails.errors import ConfigurationError

__all__ = ["steady_time", "wall_time"]

_FARTHEST_S = 1e15  # thirty million years: whatever lies beyond is no time


def wall_time(clock: Clock) -> float:
    """The time of day by a clock, for a record: a clock of the caller's may say anything.

    Raises:
        ConfigurationError: it is no finite number; NaN would be stored, or compare false with every time.
    """
    return _checked(clock.wall(), clock, "wall")


def steady_time(clock: Clock) -> float:
    """The monotonic time by a clock, for a duration.

    Raises:
        ConfigurationError: it is no finite number; what waits for NaN would wait for ever.
    """
    return _checked(clock.monotonic(), clock, "monotonic")


def _checked(found: float, clock: Clock, name: str) -> float:
    if not isinstance(found, (int, float)) or not -_FARTHEST_S < found < _FARTHEST_S:
        raise ConfigurationError(
            f"{clock!r}.{name}() must give a finite number of seconds, not {found!r}: mend the clock"
        )
    return found + 0.0
