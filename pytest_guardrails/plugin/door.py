"""The one door from a test into the harness: a call's arguments become a scenario, its result a verdict on the test.

The fixtures `crash`, `faults`, `race` and `fleet` of one test share one door. It knows scenarios, their runner and
their results, nothing of engines; what only a replay takes is imported then. Read `crash_call.py` for a fixture,
`session.py` for what all tests share.
"""

# ruff: noqa: PLC0415 - see above

import inspect
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar, final

import pytest

from chaos.errors import ChaosError, UsageError
from chaos.observations import Verdict
from chaos.oracles.durable import SHOWS_NOTHING
from chaos.report import ScenarioResult, Status, status
from chaos.scenario import Explore, Inject, Scenario
from chaos.scenario.model import Drive
from pytest_guardrails.plugin.arguments import Call, known_names, refusal
from pytest_guardrails.plugin.session import complaints, fail, quiet_forks, refuse, session_of
from pytest_guardrails.plugin.stash import REPLAYED
from pytest_guardrails.plugin.summary import property_of

if TYPE_CHECKING:
    from chaos.report.live_replay import LiveReplay
    from chaos.report.replay import Replay

__all__ = ["Door", "called_as"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

# How a fixture is put to use.
_HOW = {
    "crash": "crash(workload=..., recover=...)",
    "faults": "faults(workload=..., recover=..., fault=...), or with faults.child(...) as child: child(function, ...)",
    "race": "race(worker, worker, check=...)",
    "fleet": "fleet(worker, recover=..., faults=[...])",
}
# The oracles that judge what recovery returned.
_OF_VALUES = ("atomic", "check", "durable")
# How the state is called that is kept with a finding, by the kind of its scenario; others keep none.
_STATES = {Explore.kind: "the crash state", Inject.kind: "what was left"}


def called_as(fixture: str) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Let a call that lacks an argument of the fixture, or gives one without its name, be refused in one message."""

    def decorate(function: Callable[_P, _T]) -> Callable[_P, _T]:
        signature = inspect.signature(function)

        @wraps(function)
        def call(*arguments: _P.args, **named: _P.kwargs) -> _T:
            __tracebackhide__ = True
            try:
                signature.bind(*arguments, **named)
            except TypeError as error:
                fail([f"{fixture}: {error}", f"  next: {_HOW[fixture]}"])
            return function(*arguments, **named)

        return call

    return decorate


@final
class Door:
    """What the calls of one test go through.

    Attributes:
        made: the fixtures that the test has, by name.
        used: those that were put to use.
    """

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self.made: set[str] = set()
        self.used: set[str] = set()
        self._request = request
        self._replaying = request.config.getoption("--chaos-replay") is not None
        self._calls: list[str] = []  # the fixtures that were called
        self._told = False  # whether a call has said what became of the finding to be replayed

    def go(
        self,
        fixture: str,
        options: type,
        given: Mapping[str, Any],
        drive_of: Callable[[Call], Drive],
        needed: Sequence[str] = (),
    ) -> ScenarioResult:
        """Run what a call asks for, or replay its finding, and fail the test when something is wrong.

        Args:
            fixture: its name, which is also that of its marker.
            options: the `TypedDict` of what may be given, to the call and to the marker.
            given: what is given to the call; it comes before the marker's.
            drive_of: makes the drive from a call's arguments.
            needed: the names of arguments that are not among the options.
        """
        __tracebackhide__ = True
        self.used.add(fixture)
        self._calls.append(fixture)
        try:
            known = list(options.__annotations__)
            known_names(fixture, given, known, needed)
            merged = {**self._marked(fixture, known, needed), **given}
            call = Call(fixture=fixture, given=merged, here=str(self._request.path.parent))
            lines, result = self._outcome(call, drive_of(call))
        except ChaosError as error:
            self._told = True
            fail([refusal(fixture, error)])
        if not self._replaying:
            self._request.node.user_properties.append(property_of(fixture, result))
        if lines and status(result) is Status.NOT_MEASURED and not self._replaying:
            self.refuse(lines)
        if lines:
            fail(lines)
        if doubt := _doubt(result):
            self._request.node.warn(pytest.PytestWarning(f"{fixture}: only that recovery returns was tested: {doubt}"))
        return result

    def check_used(self) -> None:
        """Fail a test that takes a fixture as its own argument and never used it: it would have tested nothing."""
        function = getattr(self._request.node, "function", None)
        arguments = inspect.signature(function).parameters if function else ()
        for name in arguments:
            if name in self.made - self.used:
                fail([f"{name}: the test takes it and never called it: nothing was tested", f"  next: {_HOW[name]}"])

    def check_replayed(self) -> None:
        """Fail a test that was asked to replay a finding and did not."""
        __tracebackhide__ = True
        wanted = self._request.config.getoption("--chaos-replay")
        if wanted and self._calls and not self._told:
            called = ", ".join(dict.fromkeys(self._calls))
            owner = self._request.config.stash[REPLAYED]
            what = f"{called}: finding {wanted} is of another test; nothing was replayed here"
            fail([what, f"  next: pytest {shlex.quote(owner)} --chaos-replay {wanted}"])

    def refuse(self, lines: Sequence[str]) -> NoReturn:
        """End the test as one that could not be measured."""
        __tracebackhide__ = True
        refuse(self._request.config, lines)

    def seed(self) -> int:
        """The session's."""
        return session_of(self._request.config).options.seed

    def _marked(self, fixture: str, known: Sequence[str], needed: Sequence[str]) -> dict[str, Any]:
        """The markers' arguments; those nearest to the test come first."""
        found: dict[str, Any] = {}
        for marker in self._request.node.iter_markers(fixture):
            name = f"@pytest.mark.{fixture}"
            if marker.args:
                raise UsageError(f"{name} takes arguments by name", f"known are: {', '.join(known)}")
            known_names(name, marker.kwargs, known, needed)
            found = {**marker.kwargs, **found}
        return found

    def _outcome(self, call: Call, drive: Drive) -> tuple[list[str], ScenarioResult]:
        nodeid, config = self._request.node.nodeid, self._request.config
        name = nodeid if len(self._calls) == 1 else f"{nodeid}#{len(self._calls)}"
        scenario = Scenario(name=name, origin=nodeid, drive=drive)
        session = session_of(config)
        with quiet_forks():
            if wanted := config.getoption("--chaos-replay"):
                from chaos.scenario.runner import find_finding

                models = drive.models if isinstance(drive, Explore) else ()
                result = ScenarioResult(scenario=name, origin=nodeid, kind=drive.kind, models=models)
                return self._replayed(call, scenario, *find_finding(wanted, session.options.report_dir)), result
            result = session.explore(scenario, call.given)
            return complaints(call.fixture, result, session), result

    def _replayed(self, call: Call, scenario: Scenario, path: Path, replay: "Replay | LiveReplay") -> list[str]:
        """What is still wrong, line by line."""
        if replay.scenario != scenario.name:
            return []  # another call of this test may be the one
        self._told = True
        shows, lines = _shown(path, replay, scenario.drive)
        if not shows:
            return []
        state = path.parent / "state"
        if scenario.drive.kind in _STATES:
            lines = (*lines, f"{_STATES[scenario.drive.kind]}: {state}")
        return [f"{call.fixture}: finding {replay.finding} still shows", *(f"  {line}" for line in lines)]


def _doubt(result: ScenarioResult) -> str:
    """Why what recovery returned says nothing of what is lost; "" when it does."""
    verdicts = [verdict for verdict in result.verdicts if verdict.oracle in _OF_VALUES]
    constant = [verdict for verdict in verdicts if verdict.reason == SHOWS_NOTHING]
    if not constant and any(verdict.verdict is not Verdict.UNKNOWN for verdict in verdicts):
        return ""
    verdicts = constant or verdicts
    reasons = dict.fromkeys(verdict.reason for verdict in verdicts)
    return "; ".join(
        f"{' and '.join(verdict.oracle for verdict in verdicts if verdict.reason == reason)} could not tell: {reason}"
        for reason in reasons
    )


def _shown(path: Path, replay: "Replay | LiveReplay", drive: Drive) -> tuple[bool, tuple[str, ...]]:
    from chaos.report.live_replay import LiveReplay
    from chaos.scenario.runner import replay_live, replay_state

    if isinstance(replay, LiveReplay):
        return replay_live(replay, drive)
    if not isinstance(drive, (Explore, Inject)):
        raise UsageError(f"finding {replay.finding} is a crash state, and this is of kind {drive.kind}")
    replayed = replay_state(path, replay, drive.roles)
    return replayed.shows, tuple(f"{one.oracle}: {one.message} ({one.damage.value})" for one in replayed.violations)
