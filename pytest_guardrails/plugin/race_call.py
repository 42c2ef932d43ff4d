"""The fixture `race` at work: which arguments it takes, and the race that they ask for.

Read `door.py` for how it is run, `fixtures.py` for who makes it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict, final

from chaos.errors import UsageError
from chaos.report import ScenarioResult
from chaos.scenario import Race as RaceDrive
from chaos.scenario.quantities import count_from_1
from pytest_guardrails.plugin.arguments import (
    COMMON_SETTINGS,
    HISTORY_SETTINGS,
    STATE_SETTINGS,
    Call,
    Settings,
    TargetLike,
)
from pytest_guardrails.plugin.door import Door, called_as

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Race", "RaceOptions"]

_SETTINGS: Settings = {"steps": ("steps", count_from_1), "exclude": STATE_SETTINGS["exclude"]}


class RaceOptions(TypedDict, total=False):
    """What may be given to `race` besides the workers; also the marker's arguments.

    Attributes:
        setup: makes the files that every episode begins with.
        check: `check(disk, results)` after each episode; raises when it objects.
        oracles: what must hold, by name; None = the usual ones.
        history: what the workers' calls are held against: "register", "counter", "set", "queue", "map", or a `Model`.
        initial: the first value for that, and for the oracle `no_lost_update`; refused where neither is asked for.
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

    def __init__(self, door: Door) -> None:
        self._door = door

    @called_as("race")
    def __call__(self, *workers: TargetLike, **options: "Unpack[RaceOptions]") -> ScenarioResult:
        """Let the workers race, and fail the test when an order of their calls goes wrong.

        Args:
            workers: two or more; `worker(disk, witness)` each, in a process of its own.
            options: see `RaceOptions`.

        Returns:
            what was found and how much was tried.
        """
        __tracebackhide__ = True
        return self._door.go("race", RaceOptions, options, lambda call: _drive(call, workers))


def _drive(call: Call, workers: Sequence[TargetLike]) -> RaceDrive:
    if len(workers) < 2:
        raise UsageError(f"race needs two or more workers, got {len(workers)}", "race(first, second)")
    return RaceDrive(
        workers=tuple(call.needed(worker, "worker") for worker in workers),
        search=(call.here,),
        **call.targets("setup", "check"),
        **call.settings(COMMON_SETTINGS, HISTORY_SETTINGS, _SETTINGS),
    )
