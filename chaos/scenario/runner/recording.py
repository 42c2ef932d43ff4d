"""The first half of a run: a folder of its own, the set-up, the recorded workload, and the proof of the recording.

What goes wrong here is told as what it is: a set-up that fails or a target that can't be imported is wrong usage, a
workload that fails or writes nothing leaves nothing to test, a recording that does not add up is the harness's
fault. The folder is gone at the end, whatever happens. Read `exploring.py` next.
"""

import errno
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

from chaos.child.ack import ack
from chaos.child.actors import TargetError, recover_actor, work_actor
from chaos.child.run import TARGET_MISSING, argument_vector
from chaos.child.target import CallableTarget, CommandTarget, PythonTarget, Target
from chaos.disk import Tree, materialise, prove
from chaos.disk.relocating import held_path, relocated
from chaos.errors import HarnessFault, NotMeasured, UsageError, refused_target
from chaos.explore.lending import is_lendable
from chaos.explore.places import base_folder
from chaos.explore.roots import make_root, remove_root
from chaos.faults.syncs import FailingSync
from chaos.scenario.model import Engine, Explore
from chaos.syscalls.calls import Policy
from chaos.trace.engines import record_by
from chaos.trace.model import Trace
from chaos.trace.options import Program, RecordOptions
from chaos.trace.overlaps import without_implied

__all__ = [
    "WORKLOAD_DEADLINE_S",
    "check_measured",
    "check_proven",
    "deadline_note",
    "ended_words",
    "last_words",
    "record_command",
    "record_scenario",
    "recorded_run",
    "target_words",
    "unmeasured_words",
]

WORKLOAD_DEADLINE_S = 60.0
_TAIL_BYTES = 4000  # of what the target printed: the end of a traceback is what tells
_TAIL_LINES = 12
# Frames of the harness in a target's traceback: the line that names the file, and what is indented below it.
_OWN_FOLDER = re.escape(os.path.dirname(os.path.dirname(os.path.dirname(__file__))))
_FRAME = re.compile(rf'^  File "(?:<string>|{_OWN_FOLDER}/.*)",.*\n(?:    .*\n)*', re.MULTILINE)


def record_scenario(drive: Explore, engine: Engine) -> Trace:
    """Set up, record, and prove.

    Raises:
        UsageError: the set-up fails, or a target can't be found.
        NotMeasured: the engine does not work here, or the workload fails, hangs or writes nothing.
        HarnessFault: the recorded operations do not lead to the files that the workload left.
        KeyboardInterrupt: nothing of the target runs on, and its folder is gone.
    """
    policy = None if drive.failed_sync is None else FailingSync(drive.failed_sync)
    with recorded_run(drive, engine, policy=policy) as (trace, disk, tail):
        if policy is not None and policy.fired is None:
            raise NotMeasured(f"sync {drive.failed_sync} was to fail, and the workload made fewer", "lower failed_sync")
        _checkended_words(trace, drive, tail)
        check_proven(trace, disk)
        return _movable(trace, disk)


@contextmanager
def recorded_run(
    drive: Explore,
    engine: Engine = "syscalls",
    *,
    policy: Policy | None = None,
    sources: bool = True,
    initial: Tree | None = None,
    reads: bool = False,
) -> Iterator[tuple[Trace, str, str]]:
    """Set up and record: the trace, the folder as the run left it until the block ends, what the run printed last.

    Args:
        drive: what to run.
        engine: what records.
        policy: decides about each call, where the engine is the supervisor; None lets all proceed.
        sources: whether source lines are recorded.
        reads: whether the policy is asked about reads as well.
        initial: what the set-up makes, where that is known: it is laid out, and the set-up not run again.

    Raises:
        UsageError: the set-up fails, or a target can't be found.
        NotMeasured: the engine does not work here, or the workload did away with the folder itself.
        KeyboardInterrupt: nothing of the target runs on, and its folder is gone.
    """
    with _own_folder() as (disk, output):
        if initial is not None:
            materialise(initial, disk)
        elif drive.roles.setup is not None:
            _set_up(drive.roles.setup, disk, output, _deadline(drive), engine)
        options = RecordOptions(
            exclude=drive.exclude,
            deadline_s=_deadline(drive),
            output=output.fileno(),
            command=target_words(drive.roles.workload),
            sources=sources,
            reads=reads,
        )
        with _kept(disk):
            trace = record_by(engine, _workload(drive.roles.workload, disk), disk, options=options, policy=policy)
        if isinstance(drive.roles.workload, CommandTarget) and trace.engine == "syscalls":
            trace = without_implied(trace, len(drive.roles.workload.commands))
        yield trace, disk, _tail(output, disk)


@contextmanager
def _kept(folder: str) -> Iterator[None]:
    """Whoever runs inside must leave the watched folder itself in its place: what is in another one was not seen."""
    before = os.stat(folder) if os.path.isdir(folder) else None  # where there is none, the engine says so
    yield
    if before is not None and not (os.path.isdir(folder) and os.path.samestat(before, os.stat(folder))):
        raise NotMeasured(
            "the workload removed or replaced the watched folder itself",
            "let it change what is in the folder; to try a whole folder's replacement, let it be one inside `disk`",
        )


def record_command(command: Sequence[str], folder: Path, options: RecordOptions, engine: Engine = "auto") -> Trace:
    """Record a command line in a folder of the user's, and prove the recording.

    Raises:
        UsageError: there is no such folder or command.
        NotMeasured: the engine does not work here, or the command wrote nothing there, or did away with the folder.
        HarnessFault: see `record_scenario`.
    """
    with _kept(os.fspath(folder)):
        trace = record_by(engine, tuple(command), folder, options=options)
    check_measured(trace)
    check_proven(trace, os.fspath(folder))
    return _movable(trace, os.path.realpath(folder))


def _movable(trace: Trace, folder: str) -> Trace:
    """What recovery can be run on in another folder; where it may miss the one of the recording, that is noted."""
    note = held_path(trace, folder, follows=is_lendable(folder))
    return replace(relocated(trace, folder), notes=(*trace.notes, note) if note else trace.notes)


def check_measured(trace: Trace) -> None:
    """Refuse a trace in which nothing was done to the watched files.

    Raises:
        NotMeasured: there is no operation.
    """
    if trace.ops:
        return
    if trace.unmeasured:
        raise NotMeasured(unmeasured_words(trace)[0], _unmeasured_hint(trace))
    elsewhere = f"; {trace.outside} writing calls went elsewhere" if trace.outside else ""
    raise NotMeasured(
        f"the workload wrote nothing in the watched folder{elsewhere}",
        "let it work in the folder that it is given as `disk` (for commands: the working directory)",
    )


def unmeasured_words(trace: Trace) -> tuple[str, ...]:
    """What could not be modelled, one line each."""
    places = (f"{one.path}: " if one.path else "" for one in trace.unmeasured)
    return tuple(f"can't be modelled: {place}{one.reason}" for place, one in zip(places, trace.unmeasured, strict=True))


def target_words(target: Target) -> str:
    """A target for people."""
    if isinstance(target, PythonTarget):
        return target.ref
    if isinstance(target, CallableTarget):
        return str(getattr(target.function, "__qualname__", repr(target.function)))
    return "; ".join(" ".join(command) for command in target.commands)


@contextmanager
def _own_folder() -> Iterator[tuple[str, IO[bytes]]]:
    """An empty folder in memory where there is some, and a file beside it for what the target prints."""
    root = make_root()
    try:
        disk = os.path.join(root, "disk")
        os.mkdir(disk, 0o755)
        with open(os.path.join(root, "output"), "w+b", buffering=0) as output:
            yield disk, output
    finally:
        remove_root(root)


def _set_up(target: Target, disk: str, output: IO[bytes], deadline_s: float, engine: Engine) -> None:
    # Under the engine as well: nothing that it starts can outlive it, and a hanging one meets its deadline.
    program = _setup_program(target, disk)
    options = RecordOptions(deadline_s=deadline_s, output=output.fileno(), sources=False)
    trace = record_by(engine, program, disk, options=options)
    if trace.exit_code == TARGET_MISSING and isinstance(target, PythonTarget):
        raise refused_target(_tail(output, disk).strip(), "mend the set-up's name, or what it imports")
    if trace.exit_code or deadline_note(trace):
        what = deadline_note(trace) or ended_words(trace.exit_code)
        raise UsageError(f"setup {target_words(target)} {what}{last_words(_tail(output, disk))}", "mend the set-up")
    output.seek(0)
    output.truncate()


def _setup_program(target: Target, disk: str) -> Program:
    if isinstance(target, PythonTarget):
        return argument_vector(target, disk, setup=True)
    actor = _found(recover_actor, target)  # a set-up is called as a recovery is: with the folder alone
    return _with_own_streams(lambda: actor(Path(disk)))


def _workload(target: Target, disk: str) -> Program:
    if isinstance(target, PythonTarget):
        return argument_vector(target, disk)
    actor = _found(work_actor, target)
    return _with_own_streams(lambda: actor(Path(disk), ack))


def _with_own_streams(program: Callable[[], object]) -> Callable[[], object]:
    """Let a fork of this process print to its own descriptors: ours may be captured (pytest) or buffered."""

    def run() -> object:
        for name, number in (("stdout", 1), ("stderr", 2)):
            stream = open(number, "w", buffering=1, closefd=False, errors="backslashreplace")  # noqa: SIM115
            setattr(sys, name, stream)
        return program()

    return run


def _found(find: Callable[[Target], Callable[..., object]], target: Target) -> Callable[..., object]:
    try:
        return find(target)
    except TargetError as error:
        raise refused_target(str(error), "mend PATH, or give the program's path") from None


def _checkended_words(trace: Trace, drive: Explore, tail: str) -> None:
    target = target_words(drive.roles.workload)
    if trace.exit_code == TARGET_MISSING and isinstance(drive.roles.workload, PythonTarget):
        raise refused_target(
            tail.strip() or f"target {target} can't be imported",
            f"name it package.module:function, and try it: {sys.executable} -c 'import {target.partition(':')[0]}'",
        )
    if late := deadline_note(trace):
        raise NotMeasured(
            f"the workload {target} {late}{last_words(tail)}", "give it less to do, or a longer workload_deadline"
        )
    if trace.exit_code:
        raise NotMeasured(
            f"the workload {target} {ended_words(trace.exit_code)} before anything was tested{last_words(tail)}",
            _failed_hint(tail),
        )
    check_measured(trace)


def _failed_hint(tail: str) -> str:
    if os.strerror(errno.EXDEV) in tail:
        return (
            f"`disk` is a folder in {base_folder()}: let the workload make there what it renames into it, or keep "
            f"temporary files on that file system as well, with TMPDIR={base_folder()}"
        )
    return "mend the workload: it must succeed when nothing is hurt"


def check_proven(trace: Trace, disk: str) -> None:
    """Refuse a recording that does not lead to what is in the folder.

    Raises:
        NotMeasured: something was done that can't be modelled, and that is why.
        HarnessFault: the recording is wrong.
    """
    try:
        prove(trace, disk)
    except HarnessFault:
        if not trace.unmeasured:
            raise
        # Something was done that can't be modelled, and that is why the operations do not add up.
        raise NotMeasured(unmeasured_words(trace)[0], _unmeasured_hint(trace)) from None


def _unmeasured_hint(trace: Trace) -> str:
    if trace.engine == "portable":
        return "use engine syscalls, which follows every program, or exclude the file by a glob"
    return "exclude the file by a glob"


def _deadline(drive: Explore) -> float:
    return WORKLOAD_DEADLINE_S if drive.workload_deadline_s is None else drive.workload_deadline_s


def deadline_note(trace: Trace) -> str:
    """That the run was killed at its deadline, in words; "" when it was not."""
    return next((f"was {note}" for note in trace.notes if note.startswith("killed at its deadline")), "")


def ended_words(code: int) -> str:
    """How a run ended that did not succeed."""
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _tail(output: IO[bytes], disk: str) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _TAIL_BYTES))
    return output.read().decode("utf-8", "replace").replace(disk, "{disk}")


def last_words(tail: str) -> str:
    """What a run printed last, without frames of the harness, as lines that follow a sentence."""
    lines = [line.rstrip() for line in _FRAME.sub("", tail).splitlines() if line.strip()][-_TAIL_LINES:]
    return "".join([":", *(f"\n    {line}" for line in lines)]) if lines else ""
