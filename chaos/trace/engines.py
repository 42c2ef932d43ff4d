"""Which engine records: the syscall supervisor where it works, the portable engine where it does not, or one by name.

The choice is made here and nowhere else, so that every door says the same about it. `auto` tries the supervisor once
a process and falls back to the portable engine, which the trace's notes then say; an engine that was named is used or
refused, never replaced. Read `recorder.py` and `portable.py` for the two.
"""

import os
from dataclasses import replace
from functools import cache
from typing import Literal

from chaos.errors import NotMeasured
from chaos.syscalls.calls import Policy
from chaos.syscalls.probe import probe
from chaos.syscalls.report import EngineReport
from chaos.trace import portable, recorder
from chaos.trace.model import Trace
from chaos.trace.options import Program, RecordOptions

__all__ = ["ENGINES", "Engine", "engine_reports", "record_by", "supervisor_missing"]

Engine = Literal["auto", "syscalls", "portable"]
ENGINES: tuple[Engine, ...] = ("auto", "syscalls", "portable")
_REACH = "the portable engine follows Python code only: C extensions and other programs need the engine syscalls"


def record_by(
    engine: Engine,
    program: Program,
    folder: str | os.PathLike[str],
    *,
    options: RecordOptions | None = None,
    policy: Policy | None = None,
) -> Trace:
    """Record with the engine that is asked for; see `recorder.record` and `portable.record`.

    Faults, by a `policy`, are for the supervisor alone.

    Raises:
        UsageError: there is no such folder or program.
        NotMeasured: the engine does not work here.
        HarnessFault: the supervisor failed; the program is not to blame.
    """
    fallen_back = engine == "auto" and not _supervisor().works
    if engine != "portable" and not fallen_back:
        return recorder.record(program, folder, options=options, policy=policy)
    if policy is not None:
        raise NotMeasured(
            "the portable engine injects no faults", "`chaos doctor` says why engine syscalls does not work"
        )
    trace = portable.record(program, folder, options=options)
    notes = trace.notes
    if fallen_back:
        notes = (f"recorded by the portable engine, for engine syscalls does not work: {_supervisor().why}", *notes)
    if trace.unmeasured:
        notes = (*notes, _REACH)
    return replace(trace, notes=notes)


def engine_reports() -> tuple[tuple[Engine, EngineReport], ...]:
    """Each engine by name, tried anew; what it does not cover is among the details."""
    found = portable.probe()
    return ("syscalls", probe()), ("portable", replace(found, details=(*found.details, _REACH)))


def supervisor_missing() -> str:
    """Why the engine syscalls does not work here; "" when it does."""
    return _supervisor().why


@cache
def _supervisor() -> EngineReport:
    """Tried once a process: what forbids it does not change."""
    return probe()
