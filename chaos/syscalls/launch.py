"""Start a target below a guardian, with the filter in, and get the listener back.

The two processes' own code is in `chaos/child/launch.py` and `chaos/child/guardian.py`. Read `supervisor.py` next.
"""

import os
import platform
import select
import socket
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from errno import EACCES, EBUSY, EINVAL, ENOSYS, EPERM
from typing import final

from chaos.child.guardian import guard
from chaos.child.launch import Launch
from chaos.errors import HarnessFault, NotMeasured
from chaos.syscalls.filter import Instruction, build_filter, encode
from chaos.syscalls.tables import ARCHITECTURES, Architecture

__all__ = ["Ended", "Guarded", "MainEnded", "architecture", "launch"]

_START_DEADLINE_S = 30.0  # a fork of a large process on a busy machine
_END_DEADLINE_S = 10.0
_WHY = {
    EBUSY: "another supervisor listens to this process already, and the kernel allows one",
    EACCES: "this process may not forbid itself new privileges",
    EPERM: "the system forbids it (a sandbox or container policy)",
    ENOSYS: "the kernel or the sandbox has no seccomp filters",
    EINVAL: "the kernel has no seccomp notifications (Linux 5.0)",
}


@final
@dataclass(frozen=True, slots=True)
class MainEnded:
    """The main process ended: its wait status and its process id."""

    status: int
    process: int


@final
@dataclass(frozen=True, slots=True)
class Ended:
    """The last process ended; `killed` of them were killed by the guardian, with these names."""

    killed: int
    names: str


@final
class Guarded:
    """A running target and its guardian. `end` must be called.

    Attributes:
        control: readable when there is a message for `read`.
        listener: the descriptor of the filter's listener.
        killable: whether only a fatal signal can undo a call that is being performed.
    """

    def __init__(self, guardian: int, control: socket.socket, listener: int, killable: bool) -> None:
        self._guardian = guardian
        self.control = control
        self.listener = listener
        self.killable = killable

    def read(self) -> MainEnded | Ended:
        """The guardian's next message.

        Raises:
            HarnessFault: the guardian itself was killed.
        """
        try:
            text = self.control.recv(4096).decode()
        except ConnectionResetError:  # it ended without reading our last message; its own are still to be read
            text = self.control.recv(4096).decode()
        kind, rest = text[:1], text[1:]
        if kind == "X":
            status, process = rest.split()
            return MainEnded(int(status), int(process))
        if kind == "Q":
            killed, _, names = rest.partition(" ")
            return Ended(int(killed), names)
        raise HarnessFault("the guardian process above the target was killed")

    def kill(self) -> None:
        """Have all descendants killed; `read` says when they are gone."""
        with suppress(OSError):  # it ended already
            self.control.send(b"K")

    def end(self) -> None:
        """Kill whatever is left, and collect the guardian."""
        self.kill()
        self.control.close()
        deadline = time.monotonic() + _END_DEADLINE_S
        try:
            pidfd = os.pidfd_open(self._guardian)
        except OSError:
            return  # collected already
        try:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
            os.waitpid(self._guardian, os.WNOHANG)
        except ChildProcessError:
            pass  # SIGCHLD is ignored here, so the kernel collected it
        finally:
            os.close(pidfd)


def architecture() -> Architecture:
    """This machine's.

    Raises:
        NotMeasured: there is no table for it.
    """
    found = ARCHITECTURES.get(platform.machine())
    if found is None or sys.platform != "linux" or sys.maxsize < 2**32:
        raise NotMeasured(
            f"the syscall engine does not know {sys.platform} on {platform.machine()}",
            "it runs on 64-bit Linux, x86-64 and aarch64",
        )
    return found


def launch(
    program: Callable[[], object] | Sequence[str],
    *,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    output: int | None = None,
    prepare: Callable[[], object] | None = None,
    program_filter: Sequence[Instruction] | None = None,
) -> Guarded:
    """Start a target; its first trapped call waits for a supervisor.

    Args:
        program: a callable to run in a fork, or an argument vector.
        cwd: working directory.
        env: added to the environment.
        output: a descriptor for its standard output and error.
        prepare: called in the target's process before the filter is in.
        program_filter: what to trap; everything in the architecture's table when None, and nothing when empty: the
            target is then only guarded.

    Raises:
        NotMeasured: the engine does not work here; the message says why.
        HarnessFault: the target's process could not be made.
    """
    known = architecture()
    plan = Launch(
        program=program,
        filter=encode(build_filter(known) if program_filter is None else program_filter),
        machine=known.name,
        cwd=cwd,
        env=dict(env or {}),
        output=output,
        prepare=prepare,
    )
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()  # what is buffered here would be printed by the fork as well
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    supervisor = os.getpid()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads: the guardian takes no lock
        guardian = os.fork()
    if guardian == 0:
        ours.close()
        guard(plan, theirs, supervisor)
    theirs.close()
    return _receive_listener(guardian, ours, filtered=bool(plan.filter))


def _receive_listener(guardian: int, control: socket.socket, *, filtered: bool) -> Guarded:
    guarded = Guarded(guardian, control, -1, False)
    try:
        control.settimeout(_START_DEADLINE_S)
        message, descriptors, _, _ = socket.recv_fds(control, 4096, 1)
        control.settimeout(None)
    except BaseException as error:
        guarded.end()
        if isinstance(error, OSError):
            raise HarnessFault(f"the target's process did not start: {error}") from None
        raise
    if message[:1] == b"L" and not filtered:
        return Guarded(guardian, control, -1, False)
    if message[:1] == b"L" and descriptors:
        return Guarded(guardian, control, descriptors[0], message == b"L1")
    guarded.end()
    raise _start_error(message.decode(errors="replace"))


def _start_error(message: str) -> NotMeasured | HarnessFault:
    number, _, stage = message[1:].partition(" ")
    if not number.isdigit() or stage not in {"forbid new privileges", "install the filter"}:
        reason = os.strerror(int(number)) if number.isdigit() and int(number) else "it ended at once"
        return HarnessFault(f"the target's process could not {stage or 'start'}: {reason}")
    why = _WHY.get(int(number), os.strerror(int(number)))
    return NotMeasured(f"the syscall engine can't be used here: {why}", "`chaos doctor` says which engines work")
