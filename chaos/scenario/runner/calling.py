"""One call of a function, in a fork that faults strike: what it returns or raises comes back to the caller.

For tests that look at a single call themselves. Read `faulty.py` for whole workloads.
"""

import os
import pickle
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, final

from chaos.errors import UsageError
from chaos.faults.fault import Fault
from chaos.faults.policy import FaultPolicy
from chaos.observations import Ending
from chaos.report.strikes import Strike
from chaos.scenario.runner.faulty import strikes_of
from chaos.scenario.runner.recording import deadline_note
from chaos.trace.options import RecordOptions
from chaos.trace.recorder import record

__all__ = ["Called", "call_with_faults"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """What came of the call.

    Attributes:
        ending: RETURNED, RAISED, KILLED, EXITED or HUNG.
        value: what it returned.
        error: what it raised.
        detail: the signal that killed it, or its exit code.
        strikes: what was struck, in order.
    """

    ending: Ending
    value: Any = None
    error: BaseException | None = None
    detail: int = 0
    strikes: tuple[Strike, ...] = ()


def call_with_faults(
    function: Callable[[], object],
    folder: Path,
    faults: Sequence[Fault],
    *,
    deadline_s: float = 60.0,
    seed: int | str = 0,
) -> Called:
    """Call a function in a fork of this process.

    Args:
        function: called without arguments; what it changes in memory stays in the fork.
        folder: calls on the files in it are struck.
        faults: what strikes.
        deadline_s: what runs then is killed.
        seed: of faults drawn by chance.

    Raises:
        UsageError: there is no such folder, a fault takes many runs, or what is returned can't be sent back.
        NotMeasured: the engine does not work here.
        HarnessFault: the engine failed.
    """
    policy = FaultPolicy(faults, seed=seed)
    options = RecordOptions(deadline_s=deadline_s, reads=any(fault.strikes_reads for fault in faults))
    with tempfile.TemporaryFile() as answer:
        trace = record(_reporting(function, answer), folder, options=options, policy=policy)
        answer.seek(0)
        content = answer.read()
    strikes = strikes_of(faults, policy.struck)
    if deadline_note(trace):
        return Called(ending=Ending.HUNG, strikes=strikes)
    if trace.exit_code < 0:
        return Called(ending=Ending.KILLED, detail=-trace.exit_code, strikes=strikes)
    if not content:
        return Called(ending=Ending.EXITED, detail=trace.exit_code, strikes=strikes)
    ending, value = pickle.loads(content)  # noqa: S301 - written by a fork of this very process, to our own file
    if ending == "unsendable":
        raise UsageError(f"what the function gave can't be sent back: {value}", "return plain values")
    if ending == "raised":
        return Called(ending=Ending.RAISED, error=value, strikes=strikes)
    return Called(ending=Ending.RETURNED, value=value, strikes=strikes)


def _reporting(function: Callable[[], object], answer: IO[bytes]) -> Callable[[], object]:
    def run() -> None:
        result: tuple[str, object]
        try:
            result = ("returned", function())
        except Exception as error:  # noqa: BLE001 - the process edge: it is raised again in the caller
            result = ("raised", error)
        os.lseek(answer.fileno(), 0, os.SEEK_SET)
        with open(answer.fileno(), "wb", closefd=False) as file:
            file.write(_pickled(result))

    return run


def _pickled(result: tuple[str, object]) -> bytes:
    try:
        content = pickle.dumps(result)
        pickle.loads(content)  # noqa: S301 - our own bytes: some exceptions can't be built again from what they hold
    except Exception as error:  # noqa: BLE001 - foreign code: whatever its pickling raises means that it can't be sent
        return pickle.dumps(("unsendable", f"{type(result[1]).__name__}: {error}"))
    return content
