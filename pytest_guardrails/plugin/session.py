"""What the tests of one session share: one run folder, and how a test fails.

It knows scenarios, their runner and their results, nothing of engines; what only a replay or a refusal takes is
imported then. Read `door.py` for what becomes of a call.
"""

# ruff: noqa: PLC0415 - see above

import os
import re
import shlex
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, final

import pytest

from chaos.observations import Finding
from chaos.report import ScenarioResult, Status, status, why
from chaos.report.text import counted, finding_lines, printable, tried, verdict_lines
from chaos.scenario import Scenario
from chaos.scenario.quantities import budget
from chaos.scenario.runner import Run
from pytest_guardrails.plugin.settings import ini_budget, run_options, skips_unmeasured
from pytest_guardrails.plugin.stash import ENDINGS

__all__ = [
    "Session",
    "complaints",
    "fail",
    "owner_of_finding",
    "quiet_forks",
    "refuse",
    "session_of",
]

_SESSION = pytest.StashKey["Session"]()
_CALL_NUMBER = re.compile(r"#[0-9]+$")  # of a test's second call and later ones, behind the test's own id
_SHOWN = 3  # findings told in full; the others are in the report


@final
class Session:
    """What the explorations of one pytest session share; the run folder is made by the first."""

    def __init__(self, config: pytest.Config) -> None:
        self.options = run_options(config)
        self.skips_unmeasured = skips_unmeasured(config)
        self._budget = ini_budget(config)
        self._config = config
        self._run: Run | None = None

    def explore(self, scenario: Scenario, given: Mapping[str, Any]) -> ScenarioResult:
        """Run a scenario with the jobs and the budget that its test gives, if any."""
        if self._run is None:
            self._run = Run(self.options, command="pytest", replay=self.replay_command)
            self._config.stash.setdefault(ENDINGS, []).append(self._end)
        own = replace(self.options, jobs=given.get("jobs", self.options.jobs))
        if own.budget is None:
            own = replace(own, budget=budget(given["budget"]) if "budget" in given else self._budget)
        return self._run.scenario(scenario, options=own)

    def replay_command(self, finding: Finding) -> str:
        """The command line that checks a finding's crash state again, from where pytest was called."""
        path, *names = _CALL_NUMBER.sub("", finding.scenario).split("::")
        path = os.path.relpath(self._config.rootpath / path, self._config.invocation_params.dir)
        kept = self._config.getoption("--chaos-report") or os.environ.get("CHAOS_REPORT")
        where = f" --chaos-report {shlex.quote(kept)}" if kept else ""
        return f"pytest {shlex.quote('::'.join([path, *names]))} --chaos-replay {finding.id}{where}"

    @property
    def path(self) -> Path:
        """The run folder."""
        assert self._run is not None
        return self._run.path

    def _end(self) -> None:
        assert self._run is not None
        with self._run:
            self._run.finish()


def session_of(config: pytest.Config) -> Session:
    """This session's; made when first asked for.

    Raises:
        UsageError: which setting is wrong.
    """
    if _SESSION not in config.stash:
        config.stash[_SESSION] = Session(config)
    return config.stash[_SESSION]


def owner_of_finding(config: pytest.Config, wanted: str) -> str:
    """The node id of the test that a finding was found in.

    Raises:
        UsageError: there is no such finding, or a setting is wrong.
    """
    from chaos.scenario.runner import find_finding

    _, replay = find_finding(wanted, run_options(config).report_dir)
    return _CALL_NUMBER.sub("", replay.scenario)


def refuse(config: pytest.Config, lines: Sequence[str]) -> NoReturn:
    """End a test that could not be measured: it fails, or is skipped where the machine can't and that was asked for."""
    __tracebackhide__ = True
    from chaos.scenario.runner import supervisor_missing

    if (missing := supervisor_missing()) and session_of(config).skips_unmeasured:
        pytest.skip(f"not measured on this machine: {missing}")
    hint = ["  or: --chaos-no-engine skip skips the tests that this machine can't measure"] if missing else []
    fail([*lines, *hint])


def complaints(fixture: str, result: ScenarioResult, session: Session) -> list[str]:
    """What the test fails with; nothing when it passes.

    Raises:
        KeyboardInterrupt: somebody stopped it.
    """
    came = status(result)
    if came is Status.INTERRUPTED:
        raise KeyboardInterrupt
    if came is Status.PASSED:
        return []
    if came is Status.VIOLATED:
        return list(_violation_lines(result, session))
    hint = [f"  next: {result.stop.hint}"] if result.stop is not None and result.stop.hint else []
    return [f"{fixture}: {came.value}: {why(result)}", *hint]


def _violation_lines(result: ScenarioResult, session: Session) -> Iterator[str]:
    wrong = [finding for finding in result.findings if finding.id in result.expectation.surprises]
    for finding in wrong[:_SHOWN]:
        yield from finding_lines(finding)
        yield ""
    if len(wrong) > _SHOWN:
        yield f"and {counted(len(wrong) - _SHOWN, 'more finding')}: chaos report {shlex.quote(str(session.path))}"
        yield ""
    numbers = result.statistics
    points = f" at {counted(numbers.crash_points, 'crash point')}" if result.kind == "explore" else ""
    yield tried([result]) + points
    yield from verdict_lines(result)
    yield from (f"replay: {session.replay_command(finding)}" for finding in wrong[:_SHOWN])


def fail(lines: Sequence[str]) -> NoReturn:
    """Fail the test, with these lines and nothing else: no traceback, and no chain of exceptions."""
    __tracebackhide__ = True
    text = "\n".join(printable(line) for line in "\n".join(lines).split("\n"))
    raise pytest.fail.Exception(text, pytrace=False) from None


@contextmanager
def quiet_forks() -> Iterator[None]:
    """Forking beside threads (xdist has one) is what Python 3.12 warns of; the children use none of their locks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
        yield
