"""The kind `fleet`: several live workers in one folder, hurt by faults from a seeded plan, then healed and judged.

Data only; read `chaos/scenario/fields/fleet.py` for its keys in a file, `chaos/scenario/runner/fleeting.py` for a run.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, final

from chaos.child.target import Target
from chaos.faults.fault import Fault as CallFault
from chaos.fleet.faults import Fault, Restart
from chaos.observations import Bounds

__all__ = ["FLEET_MODEL", "FLEET_ORACLES", "FLEET_ROLES", "Fleet"]

# As in `model.py`: the names written down, held equal to the table in `chaos.oracles.fleets` by a test.
FLEET_ORACLES = (
    "durable",
    "no_lost_update",
    "exclusive",
    "linearizable",
    "recovers",
    "check",
    "finite",
    "terminates",
    "clean",
    "bounded",
)
FLEET_ROLES = ("worker", "recover", "setup", "check", "service")
FLEET_MODEL = "fleet"  # what stands for the persistence model in a fleet's findings


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Workers that live, die and come back, and what must hold in the end.

    Attributes:
        worker: `worker(disk, witness)`, or commands; each worker runs it as a process of its own.
        recover: `recover(disk)`: what is there in the end.
        setup: `setup(disk)`, once before.
        check: `check(value, acked)` raises when it objects.
        service: `service(disk, listening)`, which the workers find at the address in CHAOS_SERVICE.
        workers: how many.
        faults: what they suffer.
        call_faults: what their system calls on the shared folder suffer.
        restart: whether those who died come back.
        duration_s: how long one run is hurt at most.
        progress_s: how long each worker may take to go on once the faults are over.
        finish_s: how long workers are waited for that should return; None = they are killed in the end.
        deadline_s: for setting up, and for recovery.
        disk_bytes: size of the disk, which `disk_full` needs; None = the ordinary one.
        oracles: what must hold, by name; None = all that can be judged by what was given.
        history: what the calls told by `witness.call` are held against: a model's name, "module:object", or a model.
        initial: the first value for that; the model's own when None.
        bounds: for `bounded`.
        search: folders in which the module of `history` is looked for first.
    """

    kind: ClassVar[str] = "fleet"
    unit: ClassVar[str] = "run"
    worker: Target
    recover: Target | None = None
    setup: Target | None = None
    check: Target | None = None
    service: Target | None = None
    workers: int = 3
    faults: tuple[Fault, ...] = ()
    call_faults: tuple[CallFault, ...] = ()
    restart: Restart = field(default_factory=Restart)
    duration_s: float = 3.0
    progress_s: float = 10.0
    finish_s: float | None = None
    deadline_s: float = 30.0
    disk_bytes: int | None = None
    oracles: tuple[str, ...] | None = None
    history: Any = None
    initial: Any = None
    bounds: Bounds = field(default_factory=Bounds)
    search: tuple[str, ...] = ()
