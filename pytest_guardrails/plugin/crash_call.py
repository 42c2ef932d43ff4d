"""The fixture `crash` at work: which arguments it takes, and the exploration that they ask for.

Read `door.py` for how it is run, `fixtures.py` for who makes it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, final

from chaos.report import ScenarioResult
from chaos.scenario import Explore, Isolation
from chaos.scenario.quantities import depth
from pytest_guardrails.plugin.arguments import COMMON_SETTINGS, STATE_SETTINGS, Settings, TargetLike
from pytest_guardrails.plugin.door import Door, called_as

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Crash", "CrashOptions"]


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
        bounds: for the oracles `bounded` and `terminates`: memory="64MB", file="1MB", recovery="2s", rounds=10.
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
    bounds: Mapping[str, Any]
    exclude: Sequence[str]
    deadline: float | str
    workload_deadline: float | str
    memory: str


@final
class Crash:
    """What the fixture `crash` gives: call it."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @called_as("crash")
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
        return self._door.go(
            "crash",
            CrashOptions,
            options,
            lambda call: Explore(
                roles=call.roles(workload, recover), **call.settings(COMMON_SETTINGS, STATE_SETTINGS, _SETTINGS)
            ),
            needed=("workload", "recover"),
        )


def _isolation(name: object) -> object:
    if name not in (None, "fork", "batch", "command"):
        raise ValueError("fork, batch or command")
    return name


_SETTINGS: Settings = {"isolation": ("isolation", _isolation), "depth": ("depth", depth)}
