"""What may be done to a fleet, as settings: families of faults, and how workers are started again. Pure data.

A `Fault` is a wish ("kill one, every 20 ms"); `plan.py` draws from it, by seed, which worker is struck when.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Literal, final

from chaos.errors import UsageError
from chaos.faults.network_rules import Rule

__all__ = ["ClockName", "Fault", "FaultKind", "Restart", "RestartPolicy"]

# The first two as Python code sees them. "kernel" is the monotonic and the boot-time clock of all code, C included, in
# lives that begin while it lasts: a namespace takes its clocks at its birth, and there is none for the wall clock.
ClockName = Literal["wall", "steady", "kernel"]


@final
class FaultKind(str, Enum):
    """What is done."""

    KILL = "kill"  # SIGKILL to the worker and all that it started
    PAUSE = "pause"  # SIGSTOP, and SIGCONT later: a process that sleeps through its lease
    MEMORY = "memory"  # so many bytes more than it began with, and no further
    DESCRIPTORS = "descriptors"  # so many open files in all
    CPU = "cpu"  # so many seconds of processor time more, then SIGXCPU
    CLOCK = "clock"  # a jump or a standstill of the clocks that the worker sees
    DISK_FULL = "disk_full"  # so much room is left on the disk that all share
    NETWORK = "network"  # the worker's connections to the service are cut, delayed, corrupted, or lost


_LASTING = set(FaultKind) - {FaultKind.KILL}
_LEAST_S = 0.001  # between two deaths without progress, where no back-off is asked for: no machine spins on forks
_NEEDS_AMOUNT = {FaultKind.MEMORY, FaultKind.DESCRIPTORS, FaultKind.CPU}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One family of faults, which strikes again and again.

    Attributes:
        kind: what is done.
        workers: to how many of them at a time, drawn anew each time; 0 = to all.
        every_s: mean time between two; each gap is drawn between half and one and a half of it.
        statements: instead of time: mean number of statements that the whole fleet makes between two.
        first_s: none strikes before.
        count: at most so many; None = as many as the time allows.
        lasts_s: how long a pause, a limit, a clock or a full disk lasts; None = until the healing.
        amount: bytes of memory, open files, seconds, or bytes of room left on the disk.
        clock: which clock is set, see `ClockName`.
        shift_s: by how much it jumps; None = it stands still.
        rules: what is done to connections.
    """

    kind: FaultKind
    workers: int = 1
    every_s: float | None = None
    statements: int | None = None
    first_s: float = 0.0
    count: int | None = None
    lasts_s: float | None = None
    amount: int | None = None
    clock: ClockName = "wall"
    shift_s: float | None = None
    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        if (self.every_s is None) == (self.statements is None):
            raise UsageError(f"a fault {self.kind.value!r} needs either `every` or `statements`", 'as in every = "1s"')
        if (self.every_s or self.statements or 0) <= 0:
            raise UsageError(
                f"a fault {self.kind.value!r} must come every so often, not {self.every_s or self.statements}"
            )
        if self.statements is not None and self.count is None:
            raise UsageError(f"a fault {self.kind.value!r} that counts statements needs a `count`")
        if self.kind in _NEEDS_AMOUNT and self.amount is None:
            raise UsageError(f"a fault {self.kind.value!r} needs an `amount`: how much is allowed")
        if (self.kind is FaultKind.NETWORK) != bool(self.rules):
            raise UsageError(
                f"a fault {self.kind.value!r} {'lacks' if not self.rules else 'has'} what is done to connections",
                'as in kind = "network", cut = "reset"',
            )
        if self.clock == "kernel" and self.shift_s is None:
            raise UsageError("the kernel's clocks can be shifted, and not be frozen", 'give a `shift`, such as "1h"')
        if self.kind not in _LASTING and self.lasts_s is not None:
            raise UsageError(f"a fault {self.kind.value!r} does not last", "leave `lasts` out")
        if self.workers < 0 or (self.count is not None and self.count < 1):
            raise UsageError(f"a fault {self.kind.value!r} counts workers from 0 (all) and strikes at least once")


@final
class RestartPolicy(str, Enum):
    """Whether a worker that died is started again; one that returned has done its work."""

    ALWAYS = "always"
    NEVER = "never"
    AT_MOST = "at_most"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """When a worker that died is started again.

    Attributes:
        policy: whether.
        most: for `at_most`: how many times for each worker.
        backoff_s: after how long; doubled with each death in a row that no progress came between.
        longest_s: but never longer than this.
    """

    policy: RestartPolicy = RestartPolicy.ALWAYS
    most: int = 0
    backoff_s: float = 0.0
    longest_s: float = 1.0

    def allows(self, restarts: int) -> bool:
        """Whether one more is allowed after so many."""
        return self.policy is RestartPolicy.ALWAYS or (self.policy is RestartPolicy.AT_MOST and restarts < self.most)

    def wait_s(self, fruitless: int) -> float:
        """How long to wait after so many deaths in a row without progress, the last one counted."""
        first_s = self.backoff_s or (_LEAST_S if fruitless > 1 else 0.0)
        return float(min(self.longest_s, first_s * 2 ** min(max(0, fruitless - 1), 30)))
