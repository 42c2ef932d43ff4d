"""Record what a Python program does to a folder without the kernel's help: the portable engine's front door.

The program's own Python functions are replaced (`chaos/child/interpose.py`) and keep a journal; `entries.py` makes
a trace of it. It runs wherever Python does and follows Python code only: what C extensions and other programs do to
the watched files is found by comparison afterwards, and is not measured. A crash can be placed between calls, as
with the syscall engine; the trace says which engine it came from.

Does not: follow processes that make themselves a session of their own, or Pythons started with -I, -E or -S.
"""

import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, Protocol, final

from chaos.child import interpose
from chaos.child.launch import call_as_program
from chaos.errors import ChaosError, NotMeasured
from chaos.syscalls.report import EngineReport
from chaos.trace.entries import Entries
from chaos.trace.model import Trace
from chaos.trace.nodes import Nodes
from chaos.trace.options import Program, RecordOptions, check_recordable, describe

__all__ = ["probe", "record"]

_INJECT_FOLDER = str(Path(interpose.__file__).resolve().parent / "inject")
_HIDDEN = ("CHAOS_FRAMES", "CHAOS_ACK_FD")  # other engines' channels, should this run inside one
_LONGEST_WAIT_S = 0.02
_KILLED_WAIT_S = 5.0  # for processes that are being killed
_FAILED = 125  # the exit code when the program could not be started, in the manner of env(1)
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


def record(program: Program, folder: str | os.PathLike[str], *, options: RecordOptions | None = None) -> Trace:
    """Run a program and record what its Python code does to a folder.

    Args:
        program: a callable without arguments, run in a fork; or an argument vector, found on PATH.
        folder: the watched folder.
        options: how to record; `mapped_bytes` means nothing here.

    Raises:
        UsageError: there is no such folder or program.
        NotMeasured: a callable is to be recorded, and this system can't fork.
    """
    options = options or RecordOptions()
    check_recordable(program, folder, options)
    nodes = Nodes(os.fspath(folder), options.exclude)
    initial = nodes.scan()
    with tempfile.TemporaryDirectory(prefix="chaos-journal-") as scratch:
        journal = os.path.join(scratch, "journal")
        Path(journal).touch()
        run = _Run(_start(program, _environment(options, nodes.folder, journal), options))
        run.wait(options)
        entries = Entries(nodes, initial)
        entries.read(journal)
    entries.compare()
    ops = tuple(entries.operations if options.sources else (replace(op, source=()) for op in entries.operations))
    return Trace(
        engine="portable",
        command=options.command or describe(program),
        initial=initial,
        ops=ops,
        acks=tuple(entries.acks),
        exit_code=run.exit_code,
        calls=entries.calls,
        outside=entries.outside,
        unmeasured=entries.unmeasured,
        notes=(*run.notes, *dict.fromkeys(entries.notes)),
        excluded=options.exclude,
    )


def probe() -> EngineReport:
    """Try the engine on a small program. Never raises for what the machine lacks."""
    details = [f"Python {platform.python_version()} on {platform.system()}"]
    if not hasattr(os, "fork"):
        details.append("no fork here: programs and named targets can be recorded, callables of this process can't")
    why = ""
    try:
        with tempfile.TemporaryDirectory(prefix="chaos-probe-") as folder:
            command = [sys.executable, "-c", "open('probe', 'w').close()"]
            trace = record(command, folder, options=RecordOptions(cwd=folder, deadline_s=20.0))
            if [op.path for op in trace.ops] != ["probe"]:
                why = f"a file made by Python was not seen (exit code {trace.exit_code})"
    except (ChaosError, OSError) as error:
        why = str(error)
    return EngineReport(works=not why, why=why, details=tuple(details))


class _Child(Protocol):
    """The main process: a `subprocess.Popen`, or a fork."""

    @property
    def pid(self) -> int:
        """Its id, and that of its process group where there are such."""
        ...

    def poll(self) -> int | None:
        """Its exit code once it has ended; negative = killed by that signal."""
        ...


@final
class _Fork:
    """A fork that runs a callable."""

    def __init__(self, program: Callable[[], object], environment: Mapping[str, str], options: RecordOptions) -> None:
        if not hasattr(os, "fork"):
            raise NotMeasured(
                "this system can't fork, so a callable can't be recorded",
                "name the target as `package.module:callable`",
            )
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()  # what is buffered here would be printed by the fork as well
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads: a target is warned of its own
            self.pid = os.fork()
        self._code: int | None = None
        if self.pid == 0:
            _become(program, environment, options)

    def poll(self) -> int | None:
        if self._code is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code


@final
class _Run:
    """The main process and those of its group, until all have ended."""

    def __init__(self, child: _Child) -> None:
        self.child = child
        self.exit_code = 0
        self.notes: list[str] = []

    def wait(self, options: RecordOptions) -> None:
        """Until the end, or the deadline; kills what is left in any case."""
        try:
            if not _wait_until(lambda: self.child.poll() is not None, options.deadline_s):
                self.notes.append(f"killed at its deadline of {options.deadline_s:g} s")
            elif not _wait_until(lambda: not self._group_lives(), options.grace_s):
                self.notes.append(f"killed {options.grace_s:g} s after the main process had ended: processes left over")
        finally:
            self._kill()
            while self.child.poll() is None:
                time.sleep(_LONGEST_WAIT_S)
            _wait_until(lambda: not self._group_lives(), _KILLED_WAIT_S)
        self.exit_code = self.child.poll() or 0

    def _group_lives(self) -> bool:
        if not hasattr(os, "killpg"):
            return False
        try:
            os.killpg(self.child.pid, 0)
        except OSError:
            return False
        return True

    def _kill(self) -> None:
        with suppress(OSError):  # they have ended
            if hasattr(os, "killpg"):
                os.killpg(self.child.pid, _KILL)
            elif self.child.poll() is None:
                os.kill(self.child.pid, _KILL)


def _environment(options: RecordOptions, folder: str, journal: str) -> dict[str, str]:
    inherited = {**os.environ, **options.env}
    path = inherited.get("PYTHONPATH")
    for name in _HIDDEN:
        inherited.pop(name, None)
    return {
        **inherited,
        interpose.FOLDER_VARIABLE: folder,
        interpose.JOURNAL_VARIABLE: journal,
        "PYTHONPATH": _INJECT_FOLDER + os.pathsep + path if path else _INJECT_FOLDER,
    }


def _start(program: Program, environment: Mapping[str, str], options: RecordOptions) -> _Child:
    if callable(program):
        return _Fork(program, environment, options)
    return subprocess.Popen(
        list(program),
        cwd=options.cwd,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=options.output,
        stderr=options.output,
        start_new_session=hasattr(os, "setsid"),
    )


def _become(program: Callable[[], object], environment: Mapping[str, str], options: RecordOptions) -> NoReturn:
    """In the fork: be a process of its own, and run the callable as a program."""
    code = _FAILED
    try:
        os.setsid()
        if options.cwd is not None:
            os.chdir(options.cwd)
        os.environ.clear()
        os.environ.update(environment)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for descriptor in (1, 2) if options.output is not None else ():
            os.dup2(options.output or 0, descriptor)
        interpose.install_from_environment()
        code = call_as_program(program)
    except BaseException:  # noqa: BLE001 - the process's edge: nothing of the harness above may go on in this fork
        traceback.print_exc()
    finally:
        os._exit(code)


def _wait_until(condition: Callable[[], bool], limit_s: float) -> bool:
    end, pause_s = time.monotonic() + limit_s, 0.001
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_WAIT_S)
    return True
