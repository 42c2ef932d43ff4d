"""A target's first steps: a process group of its own, the filter, the listener handed over, then the program.

It runs in a fork of the harness, below the guardian (`guardian.py`), and uses the standard library only. Once the
filter is in, the process's next trapped call waits until the supervisor serves it. Read `guardian.py` next.
"""

import atexit
import ctypes
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn, final

__all__ = [
    "EXEC_FAILED",
    "LAUNCH_FAILED",
    "Launch",
    "call_as_program",
    "enter",
    "install_filter",
]

LAUNCH_FAILED = 125  # exit codes in the manner of env(1)
EXEC_FAILED = 127

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_SET_MODE_FILTER = 1
_NEW_LISTENER, _WAIT_KILLABLE = 8, 32
_EXECUTORS = (("concurrent.futures.thread", "_threads_queues"), ("concurrent.futures.process", "_threads_wakeups"))
_SECCOMP = {"x86_64": 317, "aarch64": 277}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What to start, and how.

    Attributes:
        program: a callable, run in the fork itself; or an argument vector, found on PATH and executed.
        filter: the BPF program, as the kernel's array; empty when nothing is trapped: there is no listener then.
        machine: `platform.machine()`.
        cwd: working directory; the harness's own when None.
        env: added to the environment.
        output: a descriptor that becomes standard output and error; the harness's own when None.
        prepare: called in the target's process just before the filter is installed.
    """

    program: Callable[[], object] | Sequence[str]
    filter: bytes
    machine: str
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    output: int | None = None
    prepare: Callable[[], object] | None = None


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def enter(launch: Launch, channel: socket.socket, parent: int) -> NoReturn:
    """Become the target: report the listener, or why there is none, through `channel`; then run the program."""
    code = LAUNCH_FAILED
    try:
        if _settle(launch, channel, parent):
            code = _run(launch)
    except BaseException:  # noqa: BLE001 - the process's edge: nothing of the harness above may go on in this fork
        traceback.print_exc()
    finally:
        os._exit(code)


def _set_parent_death_signal(parent: int, number: int) -> None:
    """Have a signal sent to this process when its parent ends.

    Raises:
        OSError: the kernel refused, or the parent has ended already.
    """
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        raise ProcessLookupError("the parent has ended")


def _settle(launch: Launch, channel: socket.socket, parent: int) -> bool:
    stage = "start a process group"
    try:
        # Not a session of its own: the kernel would schedule it apart from the supervisor (autogroup).
        os.setpgid(0, 0)
        _set_parent_death_signal(parent, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        stage = f"enter the folder {launch.cwd}"
        if launch.cwd is not None:
            os.chdir(launch.cwd)
        os.environ.update(launch.env)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if launch.output is not None:
            os.dup2(launch.output, 1)
            os.dup2(launch.output, 2)
        if launch.prepare is not None:
            stage = "prepare"
            launch.prepare()
        if not launch.filter:
            channel.send(b"L0")
            channel.close()
            return True
        with suppress(OSError):
            # A caller that wakes must not push the supervisor off the processor while that still works: the idle
            # neighbour would take one of the two over, and each call would then cross processors (twice the cost).
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        stage = "forbid new privileges"
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        stage = "install the filter"
        listener, killable = install_filter(launch.filter, launch.machine)
    except OSError as error:
        channel.send(f"E{error.errno or 0} {stage}".encode())
        return False
    socket.send_fds(channel, [b"L1" if killable else b"L0"], [listener])
    os.close(listener)
    channel.close()
    return True


def _run(launch: Launch) -> int:
    if callable(launch.program):
        return call_as_program(launch.program)
    arguments = list(launch.program)
    for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ"):  # Python ignores these, other programs expect them
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvp(arguments[0], arguments)  # noqa: S606 - an argument vector, never a shell's line
    except OSError as error:
        sys.stderr.write(f"cannot execute {arguments[0]}: {error.strerror}\n")
        sys.stderr.flush()
    return EXEC_FAILED


def call_as_program(program: Callable[[], object]) -> int:
    """Run a callable as a program's main part, in a fork.

    The same exit codes, the same waiting for threads, what it registered with `atexit`, flushed output. What was
    registered before the fork is that process's own, and not called.
    """
    code = 0
    run_exits = _own_exits()
    try:
        program()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        if isinstance(error.code, str):
            sys.stderr.write(error.code + "\n")
    except BaseException:  # noqa: BLE001 - the program's edge, where the interpreter itself would print and exit
        traceback.print_exc()
        code = 1
    run_exits()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the target closed it
            stream.flush()
    return code & 0xFF


def _own_exits() -> Callable[[], None]:
    """Forget what was to be done at the end of the process that forked; do later what is registered from now on."""
    atexit._clear()
    for module, table in _EXECUTORS:
        getattr(sys.modules.get(module), table, {}).clear()  # whose threads are not in this process
    logs: Any = sys.modules.get("logging")
    inherited = set() if logs is None else set(logs._handlerList)

    def run() -> None:
        for wake in reversed(getattr(threading, "_threading_atexits", [])):
            wake()  # idle threads of executors, which nothing else ends
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
        atexit._run_exitfuncs()  # prints what they raise, as at any program's end
        if logs is not None:  # it had registered itself before the fork
            logs.shutdown([one for one in logs._handlerList if one not in inherited])

    return run


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def install_filter(instructions: bytes, machine: str) -> tuple[int, bool]:
    """Install a filter for this thread and its descendants.

    Args:
        instructions: the BPF program, as the kernel's array.
        machine: `platform.machine()`.

    Returns:
        The listener, and whether a signal can't undo a call that the supervisor is performing (Linux 5.19).

    Raises:
        OSError: the kernel refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    program = _Program(len(instructions) // 8, instructions)
    for flags in (_NEW_LISTENER | _WAIT_KILLABLE, _NEW_LISTENER):
        listener = libc.syscall(_SECCOMP[machine], _SET_MODE_FILTER, ctypes.c_ulong(flags), ctypes.byref(program))
        if listener >= 0:
            return listener, bool(flags & _WAIT_KILLABLE)
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
