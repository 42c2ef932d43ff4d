"""Time as something that is passed in: monotonic for durations, wall clock for records only.

The stack never calls `time` directly. A step of the wall clock therefore changes no verdict, and a test moves
time by handing over another `Clock`. Read `errors.py` beside it.
"""

import time as _time

from pytest_guardrails.hints import Protocol, final

__all__ = ["Clock", "SystemClock"]

# Taken at import, so that a program that patches `time` can break its own clock but not ours.
_monotonic = _time.monotonic
_time_of_day = _time.time
_sleep = _time.sleep


class Clock(Protocol):
    """What the stack needs of time; all values in seconds."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never goes back; the only source of durations."""
        ...

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC; may jump; for records that people read, never for a decision."""
        ...

    def sleep(self, duration_s: float) -> None:
        """Block this thread for `duration_s` seconds (0 or more)."""
        ...


@final
class SystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return _monotonic()

    def wall(self) -> float:
        """See `Clock.wall`."""
        return _time_of_day()

    def sleep(self, duration_s: float) -> None:
        """See `Clock.sleep`."""
        _sleep(duration_s)
