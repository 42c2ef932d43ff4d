"""The fixture `crash` at work: from a test's callables to a scenario, from its result to a passing or failing test.

It knows scenarios, their runner and their results, nothing of engines. Read `session.py` for what it shares with the
other fixtures, `fixtures.py` for who makes it.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast, final

import pytest

from chaos.child.target import Roles
from chaos.errors import ChaosError
from chaos.report import ScenarioResult
from chaos.report.replay import Replay
from chaos.scenario import Explore, Isolation, Scenario
from chaos.scenario.model import MODELS
from chaos.scenario.quantities import budget, depth, duration_s, size_bytes
from chaos.scenario.runner import find_finding, replay_state
from pytest_guardrails.plugin.session import (
    TargetLike,
    complaints,
    fail,
    known_names,
    needed_target,
    parsed,
    quiet_forks,
    session_of,
    target_of,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Crash", "CrashOptions"]

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
            session = session_of(config)
            with quiet_forks():
                if wanted := config.getoption("--chaos-replay"):
                    lines, result = self._replay(str(wanted), scenario, session.options.report_dir)
                else:
                    result = session.explore(scenario, given)
                    lines = complaints("crash", result, session)
        except ChaosError as error:
            problem = error
        if problem is not None:  # told outside the handler: the test's reader needs no chain of exceptions
            self._told = True
            fail([f"crash: {problem}"])
        if lines:
            fail(lines)
        return result

    def check_replayed(self) -> None:
        """Fail a test that was asked to replay a finding and did not."""
        __tracebackhide__ = True
        wanted = self._request.config.getoption("--chaos-replay")
        if wanted and self._calls and not self._told:
            fail([f"crash: finding {wanted} is of another test; nothing was replayed here"])

    def _scenario(self, workload: TargetLike, recover: TargetLike, given: CrashOptions) -> Scenario:
        here = str(self._request.path.parent)
        roles = {name: target_of("crash", given.get(name), name, here) for name in ("setup", "check", "resume")}
        nodeid = self._request.node.nodeid
        return Scenario(
            name=nodeid if self._calls == 1 else f"{nodeid}#{self._calls}",
            origin=nodeid,
            drive=Explore(
                roles=Roles(
                    workload=needed_target("crash", workload, "workload", here),
                    recover=needed_target("crash", recover, "recover", here),
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


def _checked(given: Mapping[str, Any]) -> CrashOptions:
    known_names("crash", given, list(CrashOptions.__annotations__), needed=("workload", "recover"))
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
    return parsed("crash", given, parsers)


def _models(model: str | Sequence[str]) -> tuple[str, ...]:
    names = (model,) if isinstance(model, str) else tuple(model)
    return tuple(dict.fromkeys(one for name in names for one in (_POWER if name == "power" else (name,))))


def _isolation(name: str | None) -> str | None:
    if name not in (None, "fork", "batch", "command"):
        raise ValueError("fork, batch or command")
    return name
