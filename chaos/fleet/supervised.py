"""A fleet under the syscall supervisor, so that faults can strike exact calls: a write killed inside, a slow sync.

The supervisor serves the whole process tree from a thread of the harness, as long as the tender lives. Faults strike
while the gate is open, so that setting up, healing and recovery are not hurt. What the fleet does to its disk is looked
at on the way and not kept, so the harness's memory does not grow with what is written.
Read `chaos/faults/policy.py` for what strikes.
"""

import json
from collections.abc import Callable, Sequence
from threading import Thread
from typing import final

from chaos.child.chronicle import Chronicle
from chaos.faults.fault import Fault
from chaos.faults.policy import FaultPolicy
from chaos.fleet.places import Places
from chaos.syscalls.calls import PROCEED, Call, Decision, Proceed
from chaos.trace.model import Frame, Trace
from chaos.trace.options import Program, RecordOptions
from chaos.trace.recorder import record

__all__ = ["Gate", "Supervised"]

_DEADLINE_S = 24 * 3600.0  # the fleet's own loop ends it long before
_GRACE_S = 0.2


@final
class Gate:
    """A policy that lets faults strike while it is open, and states each strike in the chronicle.

    Attributes:
        is_open: whether they may.
    """

    def __init__(self, faults: Sequence[Fault], seed: str, pen: Chronicle) -> None:
        self.is_open = False
        self._faults, self._policy = faults, FaultPolicy(faults, seed=seed)
        self._pen = pen

    @property
    def count(self) -> int:
        """How often a fault struck."""
        return self._policy.count

    @property
    def is_spent(self) -> bool:
        """Whether none can strike any more, as each was meant for one call."""
        matched = self._policy.matched
        return all(
            fault.nth is not None and not fault.onwards and count >= fault.nth
            for fault, count in zip(self._faults, matched, strict=True)
        )

    def decide(self, call: Call) -> Decision:
        """See `Policy`."""
        if not self.is_open:
            return PROCEED
        before = self._policy.count
        decision = self._policy.decide(call)
        if self._policy.count > before and not isinstance(decision, Proceed):
            struck = self._policy.struck[-1]
            done = self._faults[struck.fault].done()
            self._pen.append("*" + json.dumps({"what": f"{call.name} of {call.path or '(no name)'} {done}"}))
        return decision

    def intervened(self, call: Call, *, after: int, source: tuple[Frame, ...]) -> None:
        """See `Witness`: where in the program it was."""
        self._policy.intervened(call, after=after, source=source)
        place = next((f"{frame.file}:{frame.line} in {frame.function}" for frame in source), "")
        if place:
            self._pen.append("*" + json.dumps({"what": f"  at {place}"}))

    def sources(self) -> tuple[Frame, ...]:
        """The innermost frame of each struck call, as far as known."""
        return tuple(struck.source[0] for struck in self._policy.struck if struck.source)


@final
class Supervised:
    """A program under the supervisor, in a thread; `join` waits for its end.

    Attributes:
        error: what the supervisor failed with; None while it has not.
        trace: what was recorded, once it has ended.
    """

    def __init__(self, program: Program, places: Places, gate: Gate, *, ended: Callable[[], object]) -> None:
        """Start it; `ended` is called, in the thread, when it has ended or could not be started."""
        self.error: BaseException | None = None
        self.trace: Trace | None = None
        self._program, self._places, self._gate, self._ended = program, places, gate, ended
        self._thread = Thread(target=self._run, name="chaos-fleet-supervisor", daemon=True)
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Whether it has ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def strays(self) -> str:
        """Names of the processes that outlived the tender."""
        notes = () if self.trace is None else self.trace.notes
        return next((note.partition(": ")[2] for note in notes if "after the main process had ended" in note), "")

    def _run(self) -> None:
        options = RecordOptions(deadline_s=_DEADLINE_S, grace_s=_GRACE_S, output=self._places.output, keep=False)
        try:
            self.trace = record(self._program, self._places.disk, options=options, policy=self._gate)
        except BaseException as error:  # noqa: BLE001 - the thread's edge: it is raised again by whoever waits
            self.error = error
        finally:
            self._ended()
