"""The fixture `race` at work: from a test's callables to a scenario, from its result to a passing or failing test.

It knows scenarios, their runner and their results, nothing of engines. Read `session.py` for what it shares with the
other fixtures, `fixtures.py` for who makes it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, final

import pytest

from chaos.errors import ChaosError, UsageError
from chaos.report import ScenarioResult
from chaos.report.live_replay import LiveReplay
from chaos.scenario import Race as RaceDrive
from chaos.scenario import Scenario
from chaos.scenario.quantities import budget, count_from_1, duration_s
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

__all__ = ["Race", "RaceOptions"]


class RaceOptions(TypedDict, total=False):
    """What may be given to `race` besides the workers; also the marker's arguments.

    Attributes:
        setup: makes the files that every episode begins with.
        check: `check(disk, results)` after each episode; raises when it objects.
        oracles: what must hold, by name; None = the usual ones.
        history: what the workers' calls are held against: "register", "counter", "set", "queue", "map", or a `Model`.
        initial: the history's first value.
        budget: 500 episodes, or "10s".
        deadline: how long a worker may compute between two calls, in seconds or as "5s".
        steps: how many calls an episode may take.
        exclude: globs of files that may be changed through shared memory; `*-shm` unless given.
    """

    setup: TargetLike | None
    check: TargetLike | None
    oracles: Sequence[str] | None
    history: Any
    initial: Any
    budget: int | str
    deadline: float | str
    steps: int
    exclude: Sequence[str]


@final
class Race:
    """What the fixture `race` gives: call it."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request
        self._calls = 0
        self._told = False  # whether a call has said what became of the finding to be replayed
        marker = request.node.get_closest_marker("race")
        self._defaults: Mapping[str, Any] = {} if marker is None else marker.kwargs

    def __call__(self, *workers: TargetLike, **options: "Unpack[RaceOptions]") -> ScenarioResult:
        """Let the workers race, and fail the test when an order of their calls goes wrong.

        Args:
            workers: two or more; `worker(disk, witness)` each, in a process of its own.
            options: see `RaceOptions`.

        Returns:
            what was found and how much was tried.
        """
        __tracebackhide__ = True
        self._calls += 1
        config = self._request.config
        problem: ChaosError | None = None
        try:
            scenario, given = self._scenario(workers, {**self._defaults, **options})
            session = session_of(config)
            with quiet_forks():
                if wanted := config.getoption("--chaos-replay"):
                    lines, result = self._replay(str(wanted), scenario, session.options.report_dir)
                else:
                    result = session.explore(scenario, given)
                    lines = complaints("race", result, session)
        except ChaosError as error:
            problem = error
        if problem is not None:  # told outside the handler: the test's reader needs no chain of exceptions
            self._told = True
            fail([f"race: {problem}"])
        if lines:
            fail(lines)
        return result

    def check_replayed(self) -> None:
        """Fail a test that was asked to replay a finding and did not."""
        __tracebackhide__ = True
        wanted = self._request.config.getoption("--chaos-replay")
        if wanted and self._calls and not self._told:
            fail([f"race: finding {wanted} is of another test; nothing was replayed here"])

    def _scenario(self, workers: Sequence[TargetLike], given: Mapping[str, Any]) -> tuple[Scenario, Mapping[str, Any]]:
        known_names("race", given, list(RaceOptions.__annotations__))
        if len(workers) < 2:
            raise UsageError(f"race needs two or more workers, got {len(workers)}", "race(first, second)")
        here = str(self._request.path.parent)
        drive = RaceDrive(
            workers=tuple(needed_target("race", worker, "worker", here) for worker in workers),
            search=(here,),
            **{role: target_of("race", given.get(role), role, here) for role in ("setup", "check")},  # type: ignore[arg-type]
            **_settings(given),
        )
        nodeid = self._request.node.nodeid
        name = nodeid if self._calls == 1 else f"{nodeid}#{self._calls}"
        return Scenario(name=name, origin=nodeid, drive=drive), given

    def _replay(self, wanted: str, scenario: Scenario, report_dir: Path) -> tuple[list[str], ScenarioResult]:
        _, replay = find_finding(wanted, report_dir)
        result = ScenarioResult(scenario=scenario.name, kind=scenario.drive.kind, origin=scenario.origin)
        if replay.scenario != scenario.name or not isinstance(replay, LiveReplay):
            return [], result  # another call of this test may be the one
        self._told = True
        shows, lines = replay_live(replay, scenario.drive)
        return ([f"race: finding {replay.finding} still shows", *lines] if shows else []), result


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    return parsed(
        "race",
        given,
        {
            "oracles": ("oracles", lambda names: None if names is None else tuple(names)),
            "history": ("history", lambda history: history),
            "initial": ("initial", lambda initial: initial),
            "deadline": ("deadline_s", duration_s),
            "steps": ("steps", count_from_1),
            "exclude": ("exclude", tuple),
            "budget": ("", budget),
        },
    )
