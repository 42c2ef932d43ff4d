"""The fixture `fleet` at work: which arguments it takes, and the fleet that they ask for.

Read `door.py` for how it is run, `fixtures.py` for who makes it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, final

from chaos.report import ScenarioResult
from chaos.scenario import Fleet as FleetDrive
from chaos.scenario.fields.faults import fault_from as call_fault_from
from chaos.scenario.fields.fleet import fault_from, fleet_bounds_from, restart_from
from chaos.scenario.quantities import count_from_1, duration_s, size_bytes
from pytest_guardrails.plugin.arguments import COMMON_SETTINGS, HISTORY_SETTINGS, Settings, TargetLike, table, tables
from pytest_guardrails.plugin.door import Door, called_as

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Fleet", "FleetOptions"]


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
        initial: the first value for that; refused without a history.
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

    def __init__(self, door: Door) -> None:
        self._door = door

    @called_as("fleet")
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
        return self._door.go(
            "fleet",
            FleetOptions,
            options,
            lambda call: FleetDrive(
                worker=call.needed(worker, "worker"),
                search=(call.here,),
                **call.targets("recover", "setup", "check", "service"),
                **call.settings(COMMON_SETTINGS, HISTORY_SETTINGS, _SETTINGS),
            ),
            needed=("worker",),
        )


_SETTINGS: Settings = {
    "workers": ("workers", count_from_1),
    "duration": ("duration_s", duration_s),
    "progress": ("progress_s", duration_s),
    "finish": ("finish_s", duration_s),
    "disk": ("disk_bytes", size_bytes),
    "faults": ("faults", tables(fault_from, '[{"kind": "kill", "every": "20ms"}]')),
    "call_faults": ("call_faults", tables(call_fault_from, '[{"call": "write", "nth": 3, "errno": "ENOSPC"}]')),
    "restart": ("restart", table(restart_from, '{"policy": "at_most", "most": 3}')),
    "bounds": ("bounds", table(fleet_bounds_from, '{"memory": "64MB"}')),
}
