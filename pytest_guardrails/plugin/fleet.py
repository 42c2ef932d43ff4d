"""The fixture `fleet` at work: from a test's callables to live processes, and to a passing or failing test.

Read `session.py` for what it shares with the other fixtures, `fixtures.py` for who makes it.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast, final

import pytest

from chaos.errors import ChaosError, UsageError
from chaos.report import ScenarioResult
from chaos.report.live_replay import LiveReplay
from chaos.scenario import Fleet as FleetDrive
from chaos.scenario import Scenario
from chaos.scenario.fields.faults import fault_from as call_fault_from
from chaos.scenario.fields.fleet import fault_from, fleet_bounds_from, restart_from
from chaos.scenario.quantities import budget, count_from_1, duration_s, size_bytes
from chaos.scenario.runner import find_finding, replay_live
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

__all__ = ["Fleet", "FleetOptions"]

_ROLES = ("recover", "setup", "check", "service")


class FleetOptions(TypedDict, total=False):
    """What may be given to `fleet` besides the worker; also the marker's arguments.

    Attributes:
        recover: `recover(disk)`: what is there in the end, as a plain value.
        setup: `setup(disk)`, once before.
        check: `check(value, acked)`, raises when it objects.
        service: `service(disk, listening)`: what the workers talk to, at the address in CHAOS_SERVICE; the fault
            `network` needs it.
        workers: how many processes; 3 unless given.
        faults: tables with the keys of [[fault]] in a scenario file: `{"kind": "kill", "every": "20ms"}`.
        call_faults: tables with the keys of [[fault]] of the kind inject, each with nth, every or probability.
        restart: a table with the keys of [restart]; always unless given.
        duration: how long one run is hurt at most, in seconds or as "3s".
        progress: how long each worker may take to go on once the faults are over.
        finish: how long is waited for workers to return; without it they are killed in the end.
        deadline: for set-up and recovery.
        disk: give them a disk of this size, as "16MB".
        bounds: a table with the keys of [bounds]: what workers, files and recovery may take.
        oracles: what must hold, by name; None = all that can be judged by what was given.
        history: what the calls told by `witness.call` are held against: "register", "counter", ..., or a model.
        initial: the history's first value.
        budget: so many runs, or "60s".
    """

    recover: TargetLike | None
    setup: TargetLike | None
    check: TargetLike | None
    service: TargetLike | None
    workers: int
    faults: Sequence[Mapping[str, Any]]
    call_faults: Sequence[Mapping[str, Any]]
    restart: Mapping[str, Any]
    duration: float | str
    progress: float | str
    finish: float | str
    deadline: float | str
    disk: str
    bounds: Mapping[str, Any]
    oracles: Sequence[str] | None
    history: Any
    initial: Any
    budget: int | str


@final
class Fleet:
    """What the fixture `fleet` gives: call it."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request
        self._calls = 0
        self._told = False  # whether a call has said what became of the finding to be replayed
        marker = request.node.get_closest_marker("fleet")
        self._defaults: Mapping[str, Any] = {} if marker is None else marker.kwargs

    def __call__(self, worker: TargetLike, **options: "Unpack[FleetOptions]") -> ScenarioResult:
        """Run several processes, hurt them, and fail the test when something is lost, or when nothing struck.

        Args:
            worker: `worker(disk, witness)`; works in the folder `disk` with the others. `witness(value)` acknowledges,
                `witness.section(name)` and `witness.call(name, argument)` tell of critical sections and of calls.
            options: see `FleetOptions`.

        Returns:
            what was found and how much was tried.
        """
        __tracebackhide__ = True
        self._calls += 1
        config = self._request.config
        problem: ChaosError | None = None
        try:
            given = cast("FleetOptions", {**self._defaults, **options})
            known_names("fleet", given, list(FleetOptions.__annotations__), needed=("worker",))
            scenario = self._scenario(worker, given)
            session = session_of(config)
            with quiet_forks():
                if wanted := config.getoption("--chaos-replay"):
                    lines, result = self._replay(str(wanted), scenario, session.options.report_dir)
                else:
                    result = session.explore(scenario, given)
                    lines = complaints("fleet", result, session)
        except ChaosError as error:
            problem = error
        if problem is not None:  # told outside the handler: the test's reader needs no chain of exceptions
            self._told = True
            fail([f"fleet: {problem}"])
        if lines:
            fail(lines)
        return result

    def check_replayed(self) -> None:
        """Fail a test that was asked to replay a finding and did not."""
        __tracebackhide__ = True
        wanted = self._request.config.getoption("--chaos-replay")
        if wanted and self._calls and not self._told:
            fail([f"fleet: finding {wanted} is of another test; nothing was replayed here"])

    def _scenario(self, worker: TargetLike, given: FleetOptions) -> Scenario:
        here = str(self._request.path.parent)
        roles = {name: target_of("fleet", given.get(name), name, here) for name in _ROLES}
        nodeid = self._request.node.nodeid
        settings: dict[str, Any] = {"search": (here,), **roles, **_settings(given)}
        return Scenario(
            name=nodeid if self._calls == 1 else f"{nodeid}#{self._calls}",
            origin=nodeid,
            drive=FleetDrive(worker=needed_target("fleet", worker, "worker", here), **settings),
        )

    def _replay(self, wanted: str, scenario: Scenario, report_dir: Path) -> tuple[list[str], ScenarioResult]:
        _, replay = find_finding(wanted, report_dir)
        result = ScenarioResult(scenario=scenario.name, origin=scenario.origin, kind=scenario.drive.kind)
        if replay.scenario != scenario.name or not isinstance(replay, LiveReplay):
            return [], result  # another call of this test may be the one
        self._told = True
        shows, lines = replay_live(replay, scenario.drive)
        return ([f"fleet: finding {replay.finding} still shows", *lines] if shows else []), result


def _settings(given: FleetOptions) -> dict[str, Any]:
    parsers: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "workers": ("workers", count_from_1),
        "duration": ("duration_s", duration_s),
        "progress": ("progress_s", duration_s),
        "finish": ("finish_s", duration_s),
        "deadline": ("deadline_s", duration_s),
        "disk": ("disk_bytes", size_bytes),
        "oracles": ("oracles", lambda names: None if names is None else tuple(names)),
        "faults": ("faults", lambda tables: _each(tables, fault_from)),
        "call_faults": ("call_faults", lambda tables: _each(tables, call_fault_from)),
        "restart": ("restart", restart_from),
        "bounds": ("bounds", fleet_bounds_from),
        "history": ("history", lambda model: model),
        "initial": ("initial", lambda value: value),
        "budget": ("", budget),
    }
    return parsed("fleet", cast("Mapping[str, Any]", given), parsers)


def _each(tables: Sequence[Mapping[str, Any]], made: Callable[[Mapping[str, Any]], Any]) -> tuple[Any, ...]:
    if isinstance(tables, (str, Mapping)):
        raise UsageError("fleet(faults=...): expected a list of tables", 'as in [{"kind": "kill", "every": "20ms"}]')
    return tuple(made(table) for table in tables)
