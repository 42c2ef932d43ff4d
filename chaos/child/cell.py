"""One isolated place: a folder, a board, and forked children that may do there what they like.

`Cell.run` forks a child, waits for it with a deadline and a memory limit, kills it and all that it started, and says
how it ended. The child's output goes to a bounded pipe; its report comes through shared memory. The hot path is one
fork, one poll and one wait a state, so this module imports little and allocates little; standard library only. Read
`forker.py` next.
"""

import contextlib
import gc
import os
import resource
import select
import signal
import sys
from collections.abc import Callable
from time import monotonic as _monotonic  # kept: a target may patch the clock
from typing import NamedTuple, NoReturn, final

from chaos.child.board import Board
from chaos.child.isolated import Errand, carry_out, finish
from chaos.child.reaping import die_with_parent, end_strays, give_back_memory, memory_below_bytes

__all__ = ["CRASHED", "Abandoned", "Cell", "Cut", "Ended", "Limits"]

_TICK_S = 0.1  # how often a run that takes long is looked at
_GRACE_S = 0.1  # a process that ends within this after recovery returned is no leftover
_OUTPUT_BYTES = 4000
_OUTPUT_CHUNK_BYTES = 1 << 16
_BOARD_BYTES = 48 << 20  # a value of 16 MiB and everything about it, with room for a batch
_REFRESH = 200  # runs between two looks at how much memory this process itself holds
CRASHED = 70  # exit code of a child whose harness code failed; nothing else leaves with it and no report


class Abandoned(BaseException):
    """Whoever this process serves is gone."""


class Limits(NamedTuple):
    """What one run may take: seconds, bytes of memory beyond this process's own, bytes of one file."""

    deadline_s: float
    memory_bytes: int
    file_bytes: int


class Cut:
    """Why a run was ended by force."""

    NONE = 0
    DEADLINE = 1
    MEMORY = 2


class Ended(NamedTuple):
    """How a child ended.

    Attributes:
        reports: what it handed in.
        code: its exit code, negative = signal.
        cut: why it was ended by force (`Cut`).
        phase: what it was doing last (`Phase`).
        output: the tail of what it printed.
        strays: command lines of processes that outlived it, and were killed.
        duration_s: wall time.
    """

    reports: list[bytes]
    code: int
    cut: int
    phase: int
    output: bytes
    strays: tuple[str, ...]
    duration_s: float


@final
class Cell:
    """Runs errands in forked children of this process, one at a time.

    Processes: this process must have no children of its own; all that it has are killed after each run. When the
    other end of `link` is closed, the run is ended and `Abandoned` raised.
    """

    def __init__(self, link: int, limits: Limits, *, lasting: bool) -> None:
        """Take over standard output and error of this process.

        Args:
            link: a socket whose other end belongs to whoever is served.
            limits: for each run.
            lasting: this process will not grow, and its own parent takes care of what it leaves when it dies. Then
                the limits are set once, on this process, and children need not watch their parent.
        """
        self._link = link
        self._limits = limits
        self._lasting = lasting
        self._board = Board(_BOARD_BYTES)
        self._pid = os.getpid()
        self._parent = os.getppid()
        self._held_bytes = 0
        self._runs = 0
        self._output = _take_over_output()
        self._streams = (sys.stdout, sys.stderr)
        self._poll = select.poll()
        self._poll.register(self._output, select.POLLIN)
        self._poll.register(link, 0)  # only its end is of interest

    def warm(self) -> None:
        """Set what lasts, and keep the collector away from memory shared with children: touched is copied."""
        if self._lasting:
            self._held_bytes = _data_bytes()
            self._confine()
        gc.collect()
        give_back_memory()
        gc.freeze()
        gc.disable()

    def run(self, errand: Errand) -> Ended:
        """Carry out one errand."""
        board, streams = self._board, self._streams
        return self._run(lambda: finish(os.getpid(), board, carry_out(errand, board), streams), errand.leftovers)

    def run_all(self, work: Callable[[Board], NoReturn]) -> Ended:
        """Let one child do many pieces of work; `work` adds a report for each and says when each begins."""
        board = self._board
        return self._run(lambda: work(board), leftovers=False)

    def _run(self, child: Callable[[], None], leftovers: bool) -> Ended:
        board = self._board
        board.clear()
        board.begin()
        if not self._lasting and self._runs % _REFRESH == 0:
            self._held_bytes = _data_bytes()
        self._runs += 1
        began = _monotonic()
        pid = os.fork()
        if pid == 0:
            self._be_child(child)
        handle = os.pidfd_open(pid)
        try:
            cut, output = self._wait(pid, handle)
        finally:
            os.close(handle)
        _, status = os.waitpid(pid, 0)
        strays = end_strays(_GRACE_S if leftovers else 0.0)
        if strays:
            output = self._drain(output)
        code = os.waitstatus_to_exitcode(status)
        return Ended(board.reports(), code, cut, board.phase, output, strays, _monotonic() - began)

    def _be_child(self, child: Callable[[], None]) -> NoReturn:
        try:
            os.setsid()
            if not self._lasting:
                die_with_parent(self._pid)
                self._confine()
            os.close(self._link)
            gc.enable()
            child()
        finally:
            os._exit(CRASHED)

    def _confine(self) -> None:
        data_bytes = self._limits.memory_bytes + self._held_bytes
        _limit(resource.RLIMIT_DATA, data_bytes)
        _limit(resource.RLIMIT_FSIZE, self._limits.file_bytes)
        _limit(resource.RLIMIT_CORE, 0)

    def _wait(self, pid: int, handle: int) -> tuple[int, bytes]:
        """Wait for the child's end; kill it at its deadline or above its memory."""
        output = b""
        poll = self._poll
        poll.register(handle, select.POLLIN)
        look = _monotonic() + _TICK_S
        cut = Cut.NONE
        try:
            while True:
                ready = [descriptor for descriptor, _ in poll.poll(_TICK_S * 1000)]
                if self._link in ready:
                    raise Abandoned
                if self._output in ready:
                    output = self._drain(output)
                if handle in ready:
                    return cut, output
                if _monotonic() >= look:
                    look = _monotonic() + _TICK_S
                    cut = cut or self._overstepped()
                    if cut:
                        _kill_group(pid)
        finally:
            poll.unregister(handle)

    def _overstepped(self) -> int:
        if os.getppid() != self._parent:
            raise Abandoned
        if _monotonic() - self._board.started > self._limits.deadline_s:
            return Cut.DEADLINE
        return Cut.MEMORY if memory_below_bytes() > self._limits.memory_bytes + self._held_bytes else Cut.NONE

    def _drain(self, output: bytes) -> bytes:
        """Read what was printed, one chunk, and keep the tail."""
        try:
            return (output + os.read(self._output, _OUTPUT_CHUNK_BYTES))[-_OUTPUT_BYTES:]
        except BlockingIOError:
            return output


def _take_over_output() -> int:
    """Let this process and its children print into a pipe; its reading end."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(writing, True)
    for standard in (1, 2):
        os.dup2(writing, standard, inheritable=True)
    os.close(writing)
    return reading


def _kill_group(pid: int) -> None:
    """Kill a child, not yet reaped, and its group: at once, so that a fork bomb can't outrun it."""
    with contextlib.suppress(ProcessLookupError):  # it may not have got as far as having a group
        os.killpg(pid, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _data_bytes() -> int:
    """This process's private writable memory, which is what RLIMIT_DATA counts."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[5]) * resource.getpagesize()
