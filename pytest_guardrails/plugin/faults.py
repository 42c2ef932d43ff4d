"""The fixture `faults` at work: whole workloads with a fault in each run, or one call of a function in a struck child.

It knows scenarios, their runner and their results, nothing of engines. Read `session.py` for what it shares with the
other fixtures, `fixtures.py` for who makes it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast, final

import pytest

from chaos.child.target import Roles
from chaos.errors import ChaosError, UsageError
from chaos.observations import Bounds, Ending
from chaos.report import ScenarioResult
from chaos.report.live_replay import LiveReplay
from chaos.scenario import Inject, Scenario
from chaos.scenario.fields.faults import fault_from
from chaos.scenario.quantities import budget, count_from_1, duration_s, size_bytes
from chaos.scenario.runner import Called, call_with_faults, check_single, find_finding, replay_live, replay_state
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

__all__ = ["Faults", "FaultsOptions", "StruckChild"]

_T = TypeVar("_T")
_Table = Mapping[str, Any]


class FaultsOptions(TypedDict, total=False):
    """What may be given to `faults` besides workload, recover and fault.

    Attributes:
        setup: makes the files before each run.
        check: `check(value, acked)`, raises when it objects.
        resume: how the workload goes on after a run that was struck, if not as it began.
        model: what each run leaves is crashed under this persistence model as well, or under several.
        oracles: what must hold, by name; None = the usual ones and `terminates`.
        runs: how many runs there are when faults are drawn by chance.
        bounds: for the oracles `bounded` and `terminates`: memory="64MB", file="1MB", recovery="2s", rounds=10.
        budget: a number of runs, or "60s".
        exclude: globs of files that are not watched.
        deadline: for one recovery, in seconds or as "10s".
        workload_deadline: for one run, likewise.
        memory: limit of one recovery, as "512MB".
    """

    setup: TargetLike | None
    check: TargetLike | None
    resume: TargetLike | None
    model: str | Sequence[str]
    oracles: Sequence[str] | None
    runs: int
    bounds: Mapping[str, Any]
    budget: int | str
    exclude: Sequence[str]
    deadline: float | str
    workload_deadline: float | str
    memory: str


@final
class StruckChild:
    """Calls functions in children that faults strike.

    Attributes:
        struck: what was struck so far, one line each.
    """

    def __init__(self, folder: Path, faults: Sequence[_Table], seed: int, deadline_s: float) -> None:
        self._folder, self._seed, self._deadline_s = folder, seed, deadline_s
        self._faults = tuple(fault_from(table) for table in faults)
        check_single(self._faults)
        self._calls = 0
        self.struck: list[str] = []

    def __call__(self, function: Callable[..., _T], *arguments: Any, **named: Any) -> _T:
        """Call `function` in a fork of this process, under the faults.

        What it changes on disk stays, what it changes in memory does not. Each call counts its calls anew.

        Returns:
            what it returns.

        Raises:
            Exception: what it raises.
            TimeoutError: it did not return before the deadline, and was killed.
            ChildProcessError: it was killed, by a fault or by itself, or left without returning.
        """
        __tracebackhide__ = True
        called = self._called(partial(function, *arguments, **named))
        self.struck += [strike.sentence for strike in called.strikes]
        if called.error is not None:
            raise called.error
        if called.ending is Ending.HUNG:
            raise TimeoutError(f"the function did not return within {self._deadline_s:g} s")
        if called.ending is Ending.KILLED:
            raise ChildProcessError(f"the function's process was killed by signal {called.detail}")
        if called.ending is Ending.EXITED:
            raise ChildProcessError(f"the function's process left with exit code {called.detail}")
        return cast("_T", called.value)

    def _called(self, function: Callable[[], object]) -> Called:
        __tracebackhide__ = True
        self._calls += 1
        seed = f"{self._seed} {self._calls}"
        try:
            with quiet_forks():
                called = call_with_faults(function, self._folder, self._faults, deadline_s=self._deadline_s, seed=seed)
        except ChaosError as error:
            problem = error
        else:
            return called
        return fail([f"faults: {problem}"])


@final
class Faults:
    """What the fixture `faults` gives: call it, or open `faults.child(...)`."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request
        self._calls = 0
        self._told = False

    def __call__(
        self,
        *,
        workload: TargetLike,
        recover: TargetLike,
        fault: _Table | Sequence[_Table],
        **options: "Unpack[FaultsOptions]",
    ) -> ScenarioResult:
        """Run the workload with a fault in each run, and fail the test when something is lost, or nothing was struck.

        Args:
            workload: `workload(disk, ack)`; works in the folder `disk`, calls `ack(value)` for "this must survive".
            recover: `recover(disk)`, the program's own start-up; returns any plain value.
            fault: a table as in a scenario file, such as {"call": "write", "errno": "ENOSPC"}, or several.
            options: see `FaultsOptions`.

        Returns:
            what was found and how much was tried.
        """
        __tracebackhide__ = True
        self._calls += 1
        config = self._request.config
        problem: ChaosError | None = None
        try:
            known_names("faults", options, list(FaultsOptions.__annotations__), needed=("workload", "recover", "fault"))
            scenario = self._scenario(workload, recover, fault, options)
            session = session_of(config)
            with quiet_forks():
                if wanted := config.getoption("--chaos-replay"):
                    lines, result = self._replay(str(wanted), scenario, session.options.report_dir)
                else:
                    result = session.explore(scenario, options)
                    lines = complaints("faults", result, session)
        except ChaosError as error:
            problem = error
        if problem is not None:  # told outside the handler: the test's reader needs no chain of exceptions
            self._told = True
            fail([f"faults: {problem}"])
        if lines:
            fail(lines)
        return result

    @contextmanager
    def child(
        self, folder: Path | str, *tables: _Table, deadline: float | str = 60.0, **table: Any
    ) -> Iterator[StruckChild]:
        """Children of this process in which calls on the files of `folder` are struck.

            with faults.child(tmp_path, call="write", nth=2, errno="ENOSPC") as child:
                with pytest.raises(OSError):
                    child(save, tmp_path / "state.json", 1)

        Args:
            folder: calls on the files in it are struck.
            tables: faults, each as a table.
            deadline: for one call, in seconds or as "10s".
            table: one more fault, its keys as arguments.
        """
        __tracebackhide__ = True
        try:
            faults = [*tables, *([table] if table else [])]
            if not faults:
                raise UsageError("faults.child: no fault is given", 'say what is done, such as errno="ENOSPC"')
            seed = session_of(self._request.config).options.seed
            limit_s = parsed("faults.child", {"deadline": deadline}, {"deadline": ("deadline", duration_s)})
            child = StruckChild(Path(folder), faults, seed, limit_s["deadline"])
        except ChaosError as error:
            problem = error
        else:
            yield child
            if not child.struck:
                fail(["faults: no call was struck: this test tested nothing"])
            return
        fail([f"faults: {problem}"])

    def check_replayed(self) -> None:
        """Fail a test that was asked to replay a finding and did not."""
        __tracebackhide__ = True
        wanted = self._request.config.getoption("--chaos-replay")
        if wanted and self._calls and not self._told:
            fail([f"faults: finding {wanted} is of another test; nothing was replayed here"])

    def _scenario(
        self, workload: TargetLike, recover: TargetLike, fault: _Table | Sequence[_Table], given: FaultsOptions
    ) -> Scenario:
        here = str(self._request.path.parent)
        roles = {name: target_of("faults", given.get(name), name, here) for name in ("setup", "check", "resume")}
        tables = [fault] if isinstance(fault, Mapping) else list(fault)
        if not tables:
            raise UsageError("faults: no fault is given", 'such as fault={"call": "write", "errno": "ENOSPC"}')
        nodeid = self._request.node.nodeid
        return Scenario(
            name=nodeid if self._calls == 1 else f"{nodeid}#{self._calls}",
            origin=nodeid,
            drive=Inject(
                roles=Roles(
                    workload=needed_target("faults", workload, "workload", here),
                    recover=needed_target("faults", recover, "recover", here),
                    **{name: target for name, target in roles.items() if target is not None},
                ),
                faults=tuple(fault_from(table) for table in tables),
                **_drive_options(given),
            ),
        )

    def _replay(self, wanted: str, scenario: Scenario, report_dir: Path) -> tuple[list[str], ScenarioResult]:
        path, replay = find_finding(wanted, report_dir)
        drive = scenario.drive
        assert isinstance(drive, Inject)
        result = ScenarioResult(scenario=scenario.name, origin=scenario.origin, kind=drive.kind)
        if replay.scenario != scenario.name:
            return [], result  # another call of this test may be the one
        self._told = True
        if isinstance(replay, LiveReplay):
            shows, lines = replay_live(replay, drive)
        else:
            replayed = replay_state(path, replay, drive.roles)
            shows = replayed.shows
            lines = tuple(f"{one.oracle}: {one.message} ({one.damage.value})" for one in replayed.violations)
        if not shows:
            return [], result
        state = f"  what was left: {path.parent / 'state'}"
        return [f"faults: finding {replay.finding} still shows", *(f"  {line}" for line in lines), state], result


def _drive_options(given: FaultsOptions) -> dict[str, Any]:
    parsers: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "model": ("models", lambda model: (model,) if isinstance(model, str) else tuple(model)),
        "oracles": ("oracles", lambda names: None if names is None else tuple(names)),
        "runs": ("runs", count_from_1),
        "bounds": ("bounds", _bounds),
        "exclude": ("exclude", tuple),
        "deadline": ("deadline_s", duration_s),
        "workload_deadline": ("workload_deadline_s", duration_s),
        "memory": ("memory_bytes", size_bytes),
        "budget": ("", budget),
    }
    return parsed("faults", given, parsers)


def _bounds(given: Mapping[str, Any]) -> Bounds:
    parsers: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "memory": ("memory_bytes", size_bytes),
        "file": ("file_bytes", size_bytes),
        "recovery": ("recovery_s", duration_s),
        "rounds": ("rounds", count_from_1),
    }
    if not isinstance(given, Mapping) or not given.keys() <= parsers.keys():
        raise ValueError(f"a mapping with keys among {', '.join(parsers)}")
    return Bounds(**parsed("faults(bounds=...): bounds", given, parsers))
