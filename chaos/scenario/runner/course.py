"""One scenario from beginning to end: driven as its kind is, and compared with what was expected.

Everything that can go wrong on the way becomes part of the result; only an error that nobody foresaw is raised. Which
course a scenario takes is decided by the type of its `drive`, and only that course is imported. Read `run.py` next.
"""

# ruff: noqa: PLC0415 - see above

from time import monotonic

from chaos.errors import ChaosError, HarnessFault, NotMeasured, UsageError
from chaos.report import ScenarioResult, Status, Stop, compare
from chaos.report.folder import RunFolder
from chaos.scenario.kinds import Agent, Fleet, Race
from chaos.scenario.kinds.inject import Inject
from chaos.scenario.model import Explore, RunOptions, Scenario
from chaos.scenario.runner.account import INTERRUPTED, Account
from chaos.scenario.watching import Listener
from chaos.trace.model import Trace

__all__ = ["run_course"]

_STATUSES: dict[type[ChaosError], Status] = {
    UsageError: Status.USAGE,
    NotMeasured: Status.NOT_MEASURED,
    HarnessFault: Status.FAULT,
}


def run_course(
    scenario: Scenario, options: RunOptions, folder: RunFolder, listener: Listener, trace: Trace | None = None
) -> ScenarioResult:
    """Run a scenario.

    Args:
        scenario: what to run.
        options: what the caller decided.
        folder: where findings are kept.
        listener: told of each step.
        trace: of an exploration: explored instead of recording one.
    """
    began = monotonic()
    account = Account(scenario, options, folder, listener)
    listener.began(scenario)
    folder.begin(scenario.name)
    try:
        _drive(account, trace)
    except KeyboardInterrupt:
        account.learn(stop=INTERRUPTED)
    except ChaosError as error:
        kind = next(kind for kind in _STATUSES if isinstance(error, kind))
        account.learn(stop=Stop(status=_STATUSES[kind], message=error.message, hint=error.hint))
    judged = [verdict.oracle for verdict in account.result.verdicts]
    expectation = compare(scenario.expect, account.result.findings, judged)
    account.learn(duration_s=monotonic() - began, expectation=expectation)
    folder.result(account.result)
    listener.ended(account.result)
    return account.result


def _drive(account: Account, trace: Trace | None) -> None:
    drive = account.scenario.drive
    if isinstance(drive, Explore):
        from chaos.scenario.runner.crashing import run_exploration

        run_exploration(account, drive, trace)
    elif isinstance(drive, Inject):
        from chaos.scenario.runner.injecting import run_injection

        run_injection(account, drive)
    elif isinstance(drive, Race):
        from chaos.scenario.runner.racing import run_race

        run_race(account, drive)
    elif isinstance(drive, Fleet):
        from chaos.scenario.runner.fleeting import run_fleets

        run_fleets(account, drive)
    elif isinstance(drive, Agent):
        from chaos.scenario.runner.agent import run_agent

        run_agent(account, drive)
