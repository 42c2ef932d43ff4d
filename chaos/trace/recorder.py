"""Record what a program does to a folder: the syscall engine's front door.

`record` reads the folder, starts the program under the supervisor, lets the call handlers (`data_calls`,
`copy_calls`, `name_calls`, `renames`, `open_calls`, `read_calls`, `process_calls`) perform and record each call, and
returns the trace. Replaying the trace must give the folder as it was left; `chaos.disk.prove` checks that, and the
caller asks.

What is guaranteed: every process of the program has ended when `record` returns or raises. What could not be
followed is in `Trace.unmeasured`, never passed over. Read `model.py` for the result.
"""

import gc
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import time_ns
from typing import Protocol, final, runtime_checkable

from chaos.child import frames
from chaos.child.processor import own_processor
from chaos.syscalls.calls import Call, Handler, Policy, Trap
from chaos.syscalls.filter import reading_filter
from chaos.syscalls.interrupts import HeldSignals, held_signals
from chaos.syscalls.launch import Guarded, architecture, launch
from chaos.syscalls.processes import Process, ProcessTable
from chaos.syscalls.supervisor import Ending, Supervisor, Timing
from chaos.trace.copy_calls import CopyCalls
from chaos.trace.data_calls import DataCalls
from chaos.trace.journal import Journal
from chaos.trace.mapped import MappedFiles
from chaos.trace.mode_calls import ModeCalls
from chaos.trace.model import Frame, InitialNode, Trace
from chaos.trace.name_calls import NameCalls
from chaos.trace.nodes import Nodes
from chaos.trace.open_calls import OpenCalls
from chaos.trace.options import Program as Program  # noqa: PLC0414 - for callers: `record` takes them
from chaos.trace.options import RecordOptions as RecordOptions  # noqa: PLC0414
from chaos.trace.options import check_recordable, describe
from chaos.trace.places import Places
from chaos.trace.process_calls import ProcessCalls
from chaos.trace.read_calls import ReadCalls
from chaos.trace.recording import Recording
from chaos.trace.renames import Renames
from chaos.trace.sources import SourceLines
from chaos.trace.starters import Starters

__all__ = ["Witness", "record"]


@runtime_checkable
class Witness(Policy, Protocol):
    """A policy that wants to know where in the program it intervened."""

    def intervened(self, call: Call, *, after: int, source: tuple[Frame, ...]) -> None:
        """Called right after each decision that is not to proceed.

        Args:
            call: the one that was decided about.
            after: how many operations had taken effect.
            source: the Python frames that led to the call, innermost first; empty where they can't be had.
        """
        ...


def record(
    program: Program,
    folder: str | os.PathLike[str],
    *,
    options: RecordOptions | None = None,
    policy: Policy | None = None,
) -> Trace:
    """Run a program and record what it does to a folder.

    Args:
        program: a callable without arguments, run in a fork; or an argument vector, found on PATH.
        folder: the watched folder.
        options: how to record.
        policy: decides about each call that concerns the folder; None lets all proceed.

    Raises:
        UsageError: there is no such folder or program.
        NotMeasured: the engine does not work here.
        HarnessFault: the supervisor failed; the program is not to blame.
        KeyboardInterrupt: all processes of the program have been killed.
    """
    options = options or RecordOptions()
    check_recordable(program, folder, options)
    return _Recorder(os.fspath(folder), options).run(program, policy)


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Look for no garbage while the target waits: what is kept of each call grows, and holds no cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@final
class _Recorder:
    """One recording; the supervisor's observer."""

    def __init__(self, folder: str, options: RecordOptions) -> None:
        self._options = options
        self._nodes = Nodes(folder, options.exclude)
        self._journal = Journal(keep=options.keep)
        self._mapped = MappedFiles(self._journal, options.mapped_bytes)
        self._sources: SourceLines | None = None
        self._began_ns = 0
        self._policy: Policy | None = None
        self._recording = Recording(
            nodes=self._nodes,
            journal=self._journal,
            mapped=self._mapped,
            places=Places(self._nodes),
        )

    def run(self, program: Program, policy: Policy | None) -> Trace:
        self._recording.judged = policy is not None
        self._policy = policy
        command = self._options.command or describe(program)
        initial = self._nodes.scan()
        self._began_ns = time_ns()
        self._sources = SourceLines() if self._options.sources else None
        self._starters = None if self._sources is None else Starters(self._sources)
        ending = Ending()
        try:
            guarded = launch(
                program,
                cwd=self._options.cwd,
                env=self._environment(),
                output=self._options.output,
                program_filter=reading_filter(architecture()) if self._options.reads else None,
                prepare=frames.start if callable(program) and self._sources is not None else None,
            )
            with held_signals() as held:
                ending = self._supervise(guarded, policy, held)
            self._mapped.compare()  # after the last process has ended: stores that no call followed
        finally:
            if self._sources is not None:
                self._sources.close()
            self._mapped.close()
            self._recording.places.forget()
        self._note(ending)
        return self._trace(command, initial, ending)

    def _supervise(self, guarded: Guarded, policy: Policy | None, held: HeldSignals) -> Ending:
        extra: dict[int, Callable[[], object]] = {held.fileno(): held.deliver}
        if self._sources is not None:
            extra[self._sources.fileno()] = self._sources.accept
        handlers = self._handlers(lambda: supervisor.processes)
        timing = Timing(deadline_s=self._options.deadline_s, grace_s=self._options.grace_s)
        with own_processor() as processor, _collector_at_rest():
            supervisor = Supervisor(guarded, handlers, self, policy=policy, extra=extra, processor=processor)
            return supervisor.run(timing)

    def _environment(self) -> Mapping[str, str]:
        given = self._options.env
        return given if self._sources is None else {**given, **self._sources.environment({**os.environ, **given})}

    def before(self, trap: Trap) -> None:
        """A call is about to take effect: stores through mappings came before it."""
        if self._starters is not None:
            self._starters.start(trap)
        self._journal.mark()
        self._mapped.compare()

    def after(self, trap: Trap) -> None:
        """It did, or it failed; the answer belongs to the call asked about in `before`."""
        if self._starters is not None:
            self._journal.attribute(self._starters.finish(trap), trap.process.number)

    def intervened(self, trap: Trap, call: Call) -> None:
        """A fault comes."""
        if not isinstance(self._policy, Witness):
            return
        source: tuple[Frame, ...] = ()
        if self._starters is not None:
            self._starters.start(trap)
            source = self._starters.finish(trap)
        self._policy.intervened(call, after=len(self._journal), source=source)

    def foreign(self, process: Process) -> None:
        """A program of another architecture made a call."""
        self._journal.miss("", f"process {process.number} uses another architecture's system calls, which are not read")

    def unreadable(self, process: Process, reason: str) -> None:
        """The kernel lets nobody look into a process."""
        self._journal.miss("", f"process {process.number} can't be looked into: {reason}")

    def _handlers(self, processes: Callable[[], ProcessTable]) -> Mapping[str, Handler]:
        return {
            **DataCalls(self._recording).handlers(),
            **CopyCalls(self._recording).handlers(),
            **NameCalls(self._recording).handlers(),
            **ModeCalls(self._recording).handlers(),
            **Renames(self._recording).handlers(),
            **OpenCalls(self._recording).handlers(),
            **ReadCalls(self._recording).handlers(),
            **ProcessCalls(self._journal, processes).handlers(),
        }

    def _note(self, ending: Ending) -> None:
        if ending.timed_out:
            self._journal.note(f"killed at its deadline of {self._options.deadline_s:g} s")
        if ending.outlived:
            self._journal.note(
                f"killed {self._options.grace_s:g} s after the main process had ended: {ending.outlived}"
            )
        for name in ending.interrupted:
            self._journal.miss("", f"a signal interrupted {name} while it was performed: it may have been done twice")

    def _trace(self, command: str, initial: tuple[InitialNode, ...], ending: Ending) -> Trace:
        return Trace(
            engine="syscalls",
            command=command,
            initial=initial,
            ops=self._journal.operations(),
            acks=tuple(self._journal.acks),
            exit_code=ending.exit_code,
            calls=ending.calls,
            outside=self._journal.outside,
            unmeasured=self._journal.unmeasured,
            notes=self._journal.notes,
            excluded=self._options.exclude,
            marks=self._nodes.marks() if self._options.keep else (),
            began_ns=self._began_ns,
            ended_ns=time_ns(),
        )
