"""Handlers for calls that change what the supervisor knows about a process, or that it can't follow.

None of them touches the watched folder. Read `recorder.py` next.
"""

from collections.abc import Callable, Mapping
from errno import ENOSYS
from typing import Final, final

from chaos.syscalls.calls import CONTINUE, Handler, Reply, Trap
from chaos.syscalls.processes import ProcessTable
from chaos.trace.journal import Journal

__all__ = ["ProcessCalls"]

_IDENTITY: Final = (
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setgroups",
    "setresuid",
    "setresgid",
    "setfsuid",
    "setfsgid",
)
_OTHER_VIEW: Final = {
    "chroot": "changed its root folder (chroot)",
    "pivot_root": "changed its root folder (pivot_root)",
    "mount": "mounted a file system",
    "setns": "joined another namespace",
    "unshare": "made a mount namespace of its own",
    "clone": "made a mount namespace of its own",
}


@final
class ProcessCalls:
    """The handlers, over one recording's processes."""

    def __init__(self, journal: Journal, processes: Callable[[], ProcessTable]) -> None:
        self._journal = journal
        self._processes = processes

    def handlers(self) -> Mapping[str, Handler]:
        """Call name -> handler."""
        return {
            "execve": self._exec,
            "execveat": self._exec,
            "exit": self._exit,
            "umask": self._umask,
            "setrlimit": self._limit,
            "prlimit64": self._limit,
            "io_uring_setup": self._refuse,
            "seccomp": self._own_listener,
            **dict.fromkeys(_IDENTITY, self._identity),
            **dict.fromkeys(_OTHER_VIEW, self._other_view),
        }

    def _exec(self, trap: Trap) -> Reply:
        self._processes().program_replaced(trap.process)
        return CONTINUE

    def _exit(self, trap: Trap) -> Reply:
        self._processes().thread_ended(trap.thread)
        return CONTINUE

    def _umask(self, trap: Trap) -> Reply:
        trap.process.umask = trap.arguments[0] & 0o777
        return CONTINUE

    def _limit(self, _: Trap) -> Reply:
        for process in self._processes().processes():  # the call may be about another process
            process.forget_limit()
        return CONTINUE

    def _identity(self, trap: Trap) -> Reply:
        trap.process.identity = None
        return CONTINUE

    def _refuse(self, _: Trap) -> Reply:
        """io_uring makes no system calls that could be seen; programs fall back to calls that can."""
        return -ENOSYS

    def _own_listener(self, _: Trap) -> Reply:
        self._journal.note("the program asked for a seccomp listener of its own; the kernel allows one, and refused")
        return CONTINUE

    def _other_view(self, trap: Trap) -> Reply:
        """Its paths may mean other files from here on."""
        self._journal.miss("", f"process {trap.process.number} {_OTHER_VIEW[trap.name]}: its paths can't be followed")
        return CONTINUE
