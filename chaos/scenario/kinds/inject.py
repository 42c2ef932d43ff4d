"""The kind `inject`: a workload is run again and again, each time with a fault in it, and what it leaves is judged.

Data only; read `chaos/faults/fault.py` for what a fault is, `chaos/scenario/fields/inject.py` for the keys in a file,
`chaos/scenario/runner/injecting.py` for the run.
"""

from dataclasses import dataclass, field
from typing import ClassVar, final

from chaos.child.target import Roles
from chaos.faults.fault import Fault
from chaos.observations import Bounds

__all__ = ["INJECT_MODEL", "RUNS", "Inject"]

INJECT_MODEL = "injected fault"  # what stands for the persistence model in a finding that takes no crash
RUNS = 20  # of faults drawn by chance: what one in ten runs shows is then seen in seven of eight cases


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Inject:
    """Run a workload with faults, recover from what it leaves, and judge.

    Attributes:
        roles: the target.
        faults: what is done. Those for each call in turn are tried one at a time, beside the others, until a run ends
            untouched.
        models: what each run leaves is crashed under these as well; none: it is not.
        oracles: what must hold, by name; None = the usual ones and `terminates`.
        exclude: glob patterns of files that are not watched.
        deadline_s: for one recovery.
        workload_deadline_s: for one run of the workload, and for the set-up before it.
        memory_bytes: for one recovery.
        runs: how many runs there are when faults are drawn by chance.
        bounds: for the oracles `bounded` and `terminates`.
    """

    kind: ClassVar[str] = "inject"
    unit: ClassVar[str] = "run"
    roles: Roles
    faults: tuple[Fault, ...]
    models: tuple[str, ...] = ()
    oracles: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    deadline_s: float | None = None
    workload_deadline_s: float | None = None
    memory_bytes: int | None = None
    runs: int = RUNS
    bounds: Bounds = field(default_factory=Bounds)
