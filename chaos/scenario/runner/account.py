"""What a scenario under way has come to, shared by the courses of all kinds: its result so far, and where to tell it.

Read `course.py` for who opens it, `crashing.py` and `racing.py` for who fills it.
"""

from dataclasses import replace
from typing import Final, final

from chaos.report import News, ScenarioResult, Status, Stop
from chaos.report.folder import RunFolder
from chaos.scenario.model import Budget, Profile, RunOptions, Scenario
from chaos.scenario.watching import Listener

__all__ = ["INTERRUPTED", "Account", "budget_for"]

INTERRUPTED: Final = Stop(status=Status.INTERRUPTED, message="interrupted; what was found until then is kept")
_PROFILE_BUDGETS_S = {Profile.QUICK: 10.0, Profile.CI: 60.0, Profile.DEEP: None}


@final
class Account:
    """One scenario's. Threads: one.

    Attributes:
        scenario: what is run.
        options: what the caller decided.
        folder: where findings are kept.
        listener: told of progress.
        result: what is known by now.
    """

    def __init__(self, scenario: Scenario, options: RunOptions, folder: RunFolder, listener: Listener) -> None:
        self.scenario, self.options, self.folder, self.listener = scenario, options, folder, listener
        self.result = ScenarioResult(
            scenario=scenario.name,
            kind=scenario.drive.kind,
            description=scenario.description,
            origin=scenario.origin,
            seed=options.seed,
            asked=scenario.drive.oracles or (),
        )
        self.learn(statistics=replace(self.result.statistics, unit=scenario.drive.unit))

    def learn(self, **facts: object) -> None:
        """Put fields of the result in place."""
        self.result = replace(self.result, **facts)  # type: ignore[arg-type]

    def cause(self, news: News) -> None:
        """Keep a cause not seen before, then tell it."""
        self.folder.cause(self.scenario.name, news)
        self.listener.found(news)


def budget_for(options: RunOptions, budget: Budget | None) -> Budget:
    """Where to stop: the caller's word first, then the scenario's, then the profile's."""
    return options.budget or budget or Budget(duration_s=_PROFILE_BUDGETS_S[options.profile])
