"""The small process above a target: it makes sure that nothing of the target outlives the harness.

The guardian starts the target, adopts every orphan of its process tree (it is a child subreaper), and tells the
supervisor how the main process ended and when the last descendant is gone. When the supervisor asks, or dies in
whatever way, it kills all descendants, again and again until there is none. It keeps a copy of the listener: while
it lives no trapped call fails with ENOSYS, so a target whose supervisor died is killed before it can notice.

Standard library only; it runs in a fork of the harness, so it takes no lock and imports nothing on the way.
Messages on the control socket, one datagram each:

- to the supervisor: `L<0|1>` with the listener (1: signals can't undo a call in progress), `E<errno> <stage>`,
  `X<wait status> <pid>` when the main process ended, `Q<n>` when all ended, n of them killed, with their names;
- to the guardian: `K` kill them all.
"""

import ctypes
import os
import select
import signal
import socket
from contextlib import suppress
from typing import NoReturn, final

from chaos.child.launch import Launch, enter

__all__ = ["descendants", "guard"]

_PR_SET_CHILD_SUBREAPER = 36
_RETRY_MS = 5  # between two rounds of killing: processes need a moment to die, and may have forked
_NAMES_SHOWN = 20


def guard(launch: Launch, control: socket.socket, supervisor: int) -> NoReturn:
    """Become the guardian of a new target; never returns."""
    code = 1
    try:
        os.setpgid(0, 0)  # an interrupt at the terminal is the supervisor's alone
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # when ignored, the kernel would keep the exit statuses
        _become_subreaper()
        code = _Guardian(control, supervisor).run(launch)
    finally:
        os._exit(code)


def descendants(root: int) -> list[int]:
    """All living processes below `root`, parents first."""
    return _below(root, _processes())


def _below(root: int, table: dict[int, tuple[int, int]]) -> list[int]:
    children: dict[int, list[int]] = {}
    for process, (parent, _) in table.items():
        children.setdefault(parent, []).append(process)
    found = list(children.get(root, ()))
    for process in found:
        found.extend(children.get(process, ()))
    return found


@final
class _Guardian:
    def __init__(self, control: socket.socket, supervisor: int) -> None:
        self.control = control
        self.main = 0
        self.killed: dict[int, str] = {}
        self.poll = select.poll()
        self.poll.register(control, select.POLLIN)
        try:
            self.supervisor = os.pidfd_open(supervisor)
            self.poll.register(self.supervisor, select.POLLIN)
        except ProcessLookupError:
            self.supervisor = -1

    def run(self, launch: Launch) -> int:
        if os.getppid() == 1 or self.supervisor < 0:
            return 1
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        own = os.getpid()
        self.main = os.fork()
        if self.main == 0:
            ours.close()
            self.control.close()
            os.close(self.supervisor)
            enter(launch, theirs, own)
        theirs.close()
        self.listen_to_signals()
        self.relay(ours)
        self.watch()
        return 0

    def listen_to_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)  # the supervisor decides; its end is noticed by its pidfd
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        self.poll.register(reader, select.POLLIN)
        self.wake = reader

    def relay(self, channel: socket.socket) -> None:
        """Pass the target's first message on, and keep the listener open."""
        message, self.listeners, _, _ = socket.recv_fds(channel, 4096, 1)
        channel.close()
        with suppress(OSError):  # the supervisor is gone: `watch` sees it
            socket.send_fds(self.control, [message or b"E0 start"], self.listeners)

    def watch(self) -> None:
        killing = False
        while self.reap():
            if killing:
                self.kill_all()
            for descriptor, _ in self.poll.poll(_RETRY_MS if killing else None):
                if descriptor == self.wake:
                    os.read(self.wake, 4096)
                else:
                    killing = True  # asked to, or the supervisor is gone: its socket or its pidfd says so
                    self.poll.unregister(descriptor)
        names = sorted(set(self.killed.values()))[:_NAMES_SHOWN]
        self.tell(f"Q{len(self.killed)} {' '.join(names)}")

    def reap(self) -> bool:
        """Collect the dead; whether anyone is left."""
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if process == 0:
                return True
            if process == self.main:
                self.tell(f"X{status} {process}")

    def kill_all(self) -> None:
        table = _processes()
        family = {os.getpid(), *_below(os.getpid(), table)}
        strangers = {group for process, (_, group) in table.items() if process not in family or process == os.getpid()}
        # What was adopted first: that list is fresh, and a chain of forks grows faster than all processes are read.
        for process in (*_children(), *family - {os.getpid()}):
            with suppress(OSError):  # it ended by itself
                self.kill(process, family, strangers)

    def kill(self, process: int, family: set[int], strangers: set[int]) -> None:
        """Kill a descendant, and its process group at once where that is all ours: no fork escapes from it."""
        pidfd = os.pidfd_open(process)
        try:
            fields = _stat(process)
            if fields is None or int(fields[1]) not in family:
                return  # the number was given away meanwhile
            self.killed.setdefault(process, _name(process))
            if int(fields[2]) not in strangers:
                os.killpg(int(fields[2]), signal.SIGKILL)
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)

    def tell(self, text: str) -> None:
        with suppress(OSError):  # nobody listens any more
            self.control.send(text.encode(errors="replace"))


def _children() -> list[int]:
    """This process's own children, where the kernel has a list of them."""
    found: list[int] = []
    for task in os.listdir("/proc/self/task"):
        with suppress(OSError), open(f"/proc/self/task/{task}/children", encoding="ascii") as file:
            found += [int(child) for child in file.read().split()]
    return found


def _processes() -> dict[int, tuple[int, int]]:
    """Parent and process group of every living process."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat(int(entry))
            # A zombie is dead, unless only its first thread is (it is then still counted with other threads).
            if fields is not None and (fields[0] != "Z" or int(fields[17]) > 1):
                found[int(entry)] = int(fields[1]), int(fields[2])
    return found


def _stat(process: int) -> list[str] | None:
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(") ")[2].split()
    except OSError:
        return None


def _name(process: int) -> str:
    try:
        with open(f"/proc/{process}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "?"


def _become_subreaper() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), zero, zero, zero) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
