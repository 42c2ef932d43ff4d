"""How a fleet is run, as settings; and what is found afterwards, as data. Pure."""

from dataclasses import dataclass, field
from typing import final

from chaos.child.target import Target
from chaos.errors import UsageError
from chaos.faults.fault import Fault as CallFault
from chaos.fleet.faults import Fault, FaultKind, Restart
from chaos.fleet.plan import Plan
from chaos.observations import Outcome
from chaos.trace.model import Frame

__all__ = ["Course", "Crewman", "FleetRoles", "FleetSettings"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FleetRoles:
    """The parts that the target plays in a fleet.

    Attributes:
        worker: `worker(disk, witness)`, run as several processes at a time; or commands.
        recover: `recover(disk)`: what is there in the end, as a plain value; run when nobody else runs.
        setup: `setup(disk)`, run once before.
        check: `check(value, acked)` raises when it objects; `acked` are all acknowledged values, in order.
        service: `service(disk, listening)`, run beside the workers as one process that is never hurt: it serves
            whoever connects to the listening socket. Workers find it at the address in CHAOS_SERVICE, each through a
            proxy of its own.
    """

    worker: Target
    recover: Target | None = None
    setup: Target | None = None
    check: Target | None = None
    service: Target | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """How long, how many, and what is done to them.

    Attributes:
        workers: how many, at least 1.
        faults: what they suffer.
        restart: whether those who died come back.
        duration_s: the faults are over by then; sooner when the last one is over or nobody is left to suffer it.
        progress_s: after the faults every worker must state something new, or return, within this.
        finish_s: after that, how long workers are waited for that should return by themselves; None = they are killed.
        deadline_s: for setting up, and for recovery.
        disk_bytes: size of the disk they share, which a fault `disk_full` needs.
        call_faults: what their system calls on the shared folder suffer.
        look_first: whether to ask what is there before the workers begin, too.
    """

    workers: int = 3
    faults: tuple[Fault, ...] = ()
    restart: Restart = field(default_factory=Restart)
    duration_s: float = 5.0
    progress_s: float = 10.0
    finish_s: float | None = None
    deadline_s: float = 30.0
    disk_bytes: int | None = None
    look_first: bool = False
    call_faults: tuple[CallFault, ...] = ()

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"a fleet has at least one worker, not {self.workers}")
        if not self.duration_s > 0 or not self.progress_s > 0:
            raise UsageError("a fleet's times must be above 0")
        if self.call_faults and self.disk_bytes is not None:
            raise UsageError(
                "the supervisor can't see into a disk of the fleet's own", "leave `disk` out, or fill it by `full`"
            )
        if self.disk_bytes is None and any(fault.kind is FaultKind.DISK_FULL for fault in self.faults):
            raise UsageError("a full disk needs to be a disk of its own", 'say how large it is: disk = "16MB"')


@final
@dataclass(slots=True, kw_only=True)
class Crewman:
    """What became of one worker.

    Attributes:
        lives: how often it was started.
        killed: how many lives a fault ended.
        failed: how many ended by themselves, otherwise than by returning.
        returned: it came to its end.
        stated: statements of progress.
        peak_bytes: the most memory that it held.
        last_failure: how the last of its failed lives ended, in words.
    """

    lives: int = 0
    killed: int = 0
    failed: int = 0
    returned: bool = False
    stated: int = 0
    peak_bytes: int = 0
    last_failure: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How one fleet went. Its statements are in the chronicle at `chronicle`, as long as its folder is there.

    Attributes:
        plan: what was to be done.
        fired: how many strikes were carried out.
        crew: what became of each worker.
        chronicle: path of the file of statements.
        stuck: workers that made no progress once the faults were over.
        unfinished: workers that should have returned, and did not in time.
        recovery: what is there in the end; None when there is nothing to ask.
        initial: what was there before; None when nobody asked.
        strays: names of processes that were left behind.
        sizes: path and size of each file in the end.
        hurt_s: how long the faults went on.
        sources: where in the program calls were struck.
    """

    plan: Plan
    fired: int
    crew: tuple[Crewman, ...]
    chronicle: str
    stuck: tuple[int, ...] = ()
    unfinished: tuple[int, ...] = ()
    recovery: Outcome | None = None
    initial: Outcome | None = None
    strays: tuple[str, ...] = ()
    sizes: dict[str, int] = field(default_factory=dict)
    hurt_s: float = 0.0
    sources: tuple[Frame, ...] = ()

    @property
    def lives(self) -> int:
        """How often a worker was started."""
        return sum(one.lives for one in self.crew)

    @property
    def stated(self) -> int:
        """Statements of progress of all."""
        return sum(one.stated for one in self.crew)
