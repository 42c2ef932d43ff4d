"""The fixture `crash` at work: from a test's callables to a scenario, from its result to a passing or failing test.

It knows scenarios, their runner and their results, nothing of engines. One run folder is made for a whole session,
when the first exploration begins. Read `fixtures.py` for who makes it.
"""

import shlex
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict, cast, final

import pytest

from chaos.child.target import CallableTarget, CommandTarget, PythonTarget, Roles, Target
from chaos.errors import ChaosError, UsageError
from chaos.observations import Finding
from chaos.report import ScenarioResult, Status, status, why
from chaos.report.replay import Replay
from chaos.report.text import counted, finding_lines, printable, verdict_lines
from chaos.scenario import Explore, Isolation, RunOptions, Scenario
from chaos.scenario.model import MODELS
from chaos.scenario.quantities import budget, depth, duration_s, size_bytes
from chaos.scenario.runner import Run, find_finding, replay_state
from pytest_guardrails.plugin.hooks import ENDINGS
from pytest_guardrails.plugin.settings import run_options

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Crash", "CrashOptions", "TargetLike"]

TargetLike = Callable[..., Any] | str | Sequence[Sequence[str]]
"""A callable, "module:object", or a list of commands."""

_SESSION = pytest.StashKey["_Session"]()
_SHOWN = 3  # findings told in full; the others are in the report
# "power" is every model up to the one that promises least; a finding then names the weakest that shows it.
_POWER = MODELS[: MODELS.index("posix") + 1]


class CrashOptions(TypedDict, total=False):
    """What may be given to `crash` besides workload and recover; also the marker's arguments.

    Attributes:
        setup: makes the files before the run; they count as durable.
        check: `check(value, acked)`, raises when it objects.
        resume: how the workload goes on after a crash, if not as it began.
        model: "kill", "power", the name of a persistence model, or several names.
        oracles: what must hold, by name; None = the usual ones.
        isolation: "fork", "batch" or "command".
        depth: 2: what follows each crash, recovery and the workload going on, is recorded and crashed as well.
        jobs: processes that check states; 0 = one for each processor.
        budget: 1000 states, or "60s".
        exclude: globs of files that are not watched.
        deadline: for one recovery, in seconds or as "10s".
        workload_deadline: for the recorded run, likewise.
        memory: limit of one recovery, as "512MB".
    """

    setup: TargetLike | None
    check: TargetLike | None
    resume: TargetLike | None
    model: str | Sequence[str]
    oracles: Sequence[str] | None
    isolation: Isolation | None
    depth: int
    jobs: int
    budget: int | str
    exclude: Sequence[str]
    deadline: float | str
    workload_deadline: float | str
    memory: str


@final
class Crash:
    """What the fixture `crash` gives: call it."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request
        self._calls = 0
        self._told = False  # whether a call has said what became of the finding to be replayed
        marker = request.node.get_closest_marker("crash")
        self._defaults: Mapping[str, Any] = {} if marker is None else marker.kwargs

    def __call__(
        self, *, workload: TargetLike, recover: TargetLike, **options: "Unpack[CrashOptions]"
    ) -> ScenarioResult:
        """Explore, and fail the test when something is lost, or when nothing could be tested.

        Args:
            workload: `workload(disk, ack)`; works in the folder `disk`, calls `ack(value)` for "this must survive".
            recover: `recover(disk)`, the program's own start-up; returns any plain value.
            options: see `CrashOptions`.

        Returns:
            what was found and how much was tried.
        """
        __tracebackhide__ = True
        self._calls += 1
        config = self._request.config
        problem: ChaosError | None = None
        try:
            given = _checked({**self._defaults, **options})
            scenario = self._scenario(workload, recover, given)
            session = _session(config)
            with _quiet_forks():
                if wanted := config.getoption("--chaos-replay"):
                    lines, result = self._replay(str(wanted), scenario, session.options.report_dir)
                else:
                    result = session.explore(scenario, given)
                    lines = _complaints(result, session)
        except ChaosError as error:
            problem = error
        if problem is not None:  # told outside the handler: the test's reader needs no chain of exceptions
            self._told = True
            _fail([f"crash: {problem}"])
        if lines:
            _fail(lines)
        return result

    def check_replayed(self) -> None:
        """Fail a test that was asked to replay a finding and did not."""
        __tracebackhide__ = True
        wanted = self._request.config.getoption("--chaos-replay")
        if wanted and self._calls and not self._told:
            _fail([f"crash: finding {wanted} is of another test; nothing was replayed here"])

    def _scenario(self, workload: TargetLike, recover: TargetLike, given: CrashOptions) -> Scenario:
        here = str(self._request.path.parent)
        roles = {name: _target(given.get(name), name, here) for name in ("setup", "check", "resume")}
        nodeid = self._request.node.nodeid
        return Scenario(
            name=nodeid if self._calls == 1 else f"{nodeid}#{self._calls}",
            origin=nodeid,
            drive=Explore(
                roles=Roles(
                    workload=_needed(workload, "workload", here),
                    recover=_needed(recover, "recover", here),
                    **{name: target for name, target in roles.items() if target is not None},
                ),
                **_drive_options(given),
            ),
        )

    def _replay(self, wanted: str, scenario: Scenario, report_dir: Path) -> tuple[list[str], ScenarioResult]:
        path, replay = find_finding(wanted, report_dir)
        assert isinstance(scenario.drive, Explore)
        result = ScenarioResult(scenario=scenario.name, origin=scenario.origin, models=scenario.drive.models)
        if replay.scenario != scenario.name or not isinstance(replay, Replay):
            return [], result  # another call of this test may be the one
        self._told = True
        replayed = replay_state(path, replay, scenario.drive.roles)
        if not replayed.shows:
            return [], result
        objections = [f"  {one.oracle}: {one.message} ({one.damage.value})" for one in replayed.violations]
        state = f"  the crash state: {path.parent / 'state'}"
        return [f"crash: finding {replay.finding} still shows", *objections, state], result


@final
class _Session:
    """What the explorations of one pytest session share; the run folder is made by the first."""

    def __init__(self, config: pytest.Config, options: RunOptions) -> None:
        self.options = options
        self._config = config
        self._run: Run | None = None

    def explore(self, scenario: Scenario, given: CrashOptions) -> ScenarioResult:
        """Run a scenario with a test's own jobs and budget."""
        if self._run is None:
            self._run = Run(self.options, command="pytest", replay=self.replay_command)
            self._config.stash.setdefault(ENDINGS, []).append(self._end)
        own = replace(self.options, jobs=given.get("jobs", self.options.jobs))
        if "budget" in given and own.budget is None:
            own = replace(own, budget=budget(given["budget"]))
        return self._run.scenario(scenario, options=own)

    def replay_command(self, finding: Finding) -> str:
        """The command line that checks a finding's crash state again."""
        test = finding.scenario.partition("#")[0]
        return f"pytest {shlex.quote(test)} --chaos-replay {finding.id}"

    @property
    def path(self) -> Path:
        """The run folder."""
        assert self._run is not None
        return self._run.path

    def _end(self) -> None:
        assert self._run is not None
        with self._run:
            self._run.finish()


def _session(config: pytest.Config) -> _Session:
    if _SESSION not in config.stash:
        config.stash[_SESSION] = _Session(config, run_options(config))
    return config.stash[_SESSION]


def _checked(given: Mapping[str, Any]) -> CrashOptions:
    known = list(CrashOptions.__annotations__)
    for name in given:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are: workload, recover, {', '.join(known)}"
            raise UsageError(f"crash has no argument {name!r}", hint)
    return cast("CrashOptions", given)


def _drive_options(given: CrashOptions) -> dict[str, Any]:
    parsers: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "model": ("models", _models),
        "oracles": ("oracles", lambda names: None if names is None else tuple(names)),
        "isolation": ("isolation", _isolation),
        "exclude": ("exclude", tuple),
        "depth": ("depth", depth),
        "deadline": ("deadline_s", duration_s),
        "workload_deadline": ("workload_deadline_s", duration_s),
        "memory": ("memory_bytes", size_bytes),
        "budget": ("", budget),
    }
    found = {}
    for name, (field, parse) in parsers.items():
        if name in given:
            try:
                found[field] = parse(given[name])  # type: ignore[literal-required]
            except ValueError as error:
                raise UsageError(f"crash({name}=...): expected {error}, got {given[name]!r}") from None  # type: ignore[literal-required]
    found.pop("", None)
    return found


def _models(model: str | Sequence[str]) -> tuple[str, ...]:
    names = (model,) if isinstance(model, str) else tuple(model)
    return tuple(dict.fromkeys(one for name in names for one in (_POWER if name == "power" else (name,))))


def _isolation(name: str | None) -> str | None:
    if name not in (None, "fork", "batch", "command"):
        raise ValueError("fork, batch or command")
    return name


def _needed(value: TargetLike, role: str, here: str) -> Target:
    target = _target(value, role, here)
    if target is None:
        raise UsageError(f"crash: {role} is None", "give a callable, 'module:object', or a list of commands")
    return target


def _target(value: object, role: str, here: str) -> Target | None:
    if value is None:
        return None
    if callable(value):
        return CallableTarget(function=value)
    if isinstance(value, str) and ":" in value:
        return PythonTarget(ref=value, search=(here,))
    if isinstance(value, (list, tuple)) and value and all(_is_command(command) for command in value):
        return CommandTarget(commands=tuple(tuple(command) for command in value))
    raise UsageError(
        f"crash({role}=...): expected a callable, 'module:object', or a list of commands, got {value!r}",
        "a command is a list of arguments: [['git', 'fsck']]",
    )


def _is_command(command: object) -> bool:
    return isinstance(command, (list, tuple)) and bool(command) and all(isinstance(word, str) for word in command)


def _complaints(result: ScenarioResult, session: _Session) -> list[str]:
    """What the test fails with; nothing when it passes."""
    came = status(result)
    if came is Status.INTERRUPTED:
        raise KeyboardInterrupt
    if came is Status.PASSED:
        return []
    if came is Status.VIOLATED:
        return list(_violation_lines(result, session))
    hint = [f"  next: {result.stop.hint}"] if result.stop is not None and result.stop.hint else []
    return [f"crash: {came.value}: {why(result)}", *hint]


def _violation_lines(result: ScenarioResult, session: _Session) -> Iterator[str]:
    wrong = [finding for finding in result.findings if finding.id in result.expectation.surprises]
    for finding in wrong[:_SHOWN]:
        yield from finding_lines(finding)
        yield ""
    if len(wrong) > _SHOWN:
        yield f"and {counted(len(wrong) - _SHOWN, 'more finding')}: chaos report {shlex.quote(str(session.path))}"
        yield ""
    numbers = result.statistics
    yield f"{counted(numbers.states, 'crash state')} at {counted(numbers.crash_points, 'crash point')}"
    yield from verdict_lines(result)
    yield from (f"replay: {session.replay_command(finding)}" for finding in wrong[:_SHOWN])


def _fail(lines: Sequence[str]) -> NoReturn:
    __tracebackhide__ = True
    pytest.fail("\n".join(printable(line) for line in "\n".join(lines).split("\n")), pytrace=False)


@contextmanager
def _quiet_forks() -> Iterator[None]:
    """Forking beside threads (xdist has one) is what Python 3.12 warns of; the children use none of their locks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
        yield
