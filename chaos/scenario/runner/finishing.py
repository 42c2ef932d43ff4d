"""What becomes of findings once all states are judged: shrunk, advised on, stamped; each costs recoveries of its own.

An interruption ends that work and loses nothing: the findings come as they are then. Read `shrinking.py` and
`advising.py` for the work, `exploring.py` for who asks.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, final

from chaos.child.target import Roles
from chaos.disk.realmode import confirmation, is_real
from chaos.explore.exploration import Exploration
from chaos.explore.settings import Settings
from chaos.observations import Finding
from chaos.report import Findings
from chaos.scenario.runner.advising import Advisor
from chaos.scenario.runner.shrinking import Shrinker
from chaos.trace.model import Trace

__all__ = ["Closable", "Finisher"]


class Closable(Protocol):
    """Something that costs time; once closed it does nothing more."""

    closed: bool


@final
class Finisher:
    """Makes the findings of one exploration.

    Attributes:
        shrinker: makes witnesses smaller.
        advisor: tells what would mend them.
        interrupted: somebody stopped the exploration, or this.
    """

    def __init__(
        self,
        exploration: Exploration,
        trace: Trace,
        roles: Roles,
        settings: Settings,
        oracles: Sequence[str],
        also: Closable,
    ) -> None:
        """Take what it needs; `also` is closed with the rest when there is no time left."""
        self.shrinker = Shrinker(exploration, trace, settings, oracles)
        self.advisor = Advisor(trace, roles, settings, oracles)
        self.interrupted = False
        self._settings, self._also = settings, also

    def close(self) -> None:
        """There is no time left: findings come as they are."""
        self.interrupted = self.shrinker.closed = self.advisor.closed = self._also.closed = True

    def finish(self, findings: Findings) -> tuple[Finding, ...]:
        """The findings."""
        try:
            found = findings.finish()
        except KeyboardInterrupt:
            self.close()
            found = findings.finish()
        return tuple(self._stamped(finding) for finding in found)

    def _stamped(self, finding: Finding) -> Finding:
        """A finding, with what a real image says to it."""
        name = finding.extra.get("witness_model", "")
        model = next((model for model in self._settings.models if model.name == name and is_real(model)), None)
        if model is None or not finding.state:
            return finding
        words = confirmation(model)
        return replace(finding, explanation=(*finding.explanation, words), extra={**finding.extra, "confirmed": words})
