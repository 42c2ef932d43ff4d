"""Who is told how a run goes: a small protocol, and the one who does not care.

Read `runner/run.py` for who tells.
"""

from typing import Protocol, final

from chaos.report import News, ScenarioResult
from chaos.scenario.model import Scenario
from chaos.trace.model import Trace

__all__ = ["Advance", "Listener", "Silent"]


class Advance(Protocol):
    """How far an exploration is."""

    @property
    def done(self) -> int:
        """Crash states, or whatever the kind tries, checked so far."""

    @property
    def total(self) -> int | None:
        """How many there are; None until that can be told."""

    @property
    def states_per_s(self) -> float:
        """How many of them in a second."""

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the end, or until the budget is spent; None until that can be told."""


class Listener(Protocol):
    """Told of each step of a run, in order, by the thread that runs it. What it raises ends the run."""

    def began(self, scenario: Scenario) -> None:
        """A scenario begins."""

    def recorded(self, trace: Trace) -> None:
        """Its workload was recorded; not every kind records one."""

    def advanced(self, progress: Advance) -> None:
        """More crash states, episodes or runs were checked."""

    def found(self, news: News) -> None:
        """A cause of damage that was not seen before."""

    def ended(self, result: ScenarioResult) -> None:
        """It is done."""


@final
class Silent:
    """Listens to nothing."""

    def began(self, scenario: Scenario) -> None:
        """See `Listener.began`."""

    def recorded(self, trace: Trace) -> None:
        """See `Listener.recorded`."""

    def advanced(self, progress: Advance) -> None:
        """See `Listener.advanced`."""

    def found(self, news: News) -> None:
        """See `Listener.found`."""

    def ended(self, result: ScenarioResult) -> None:
        """See `Listener.ended`."""
