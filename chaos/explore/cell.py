"""One isolated place: a folder, a board, and forked children that may do there what they like.

`Cell.run` forks a child, waits for it with a deadline and a memory limit, kills it and all that it started, and says
how it ended. The child's output goes to a bounded pipe; its report comes through shared memory. The hot path is one
fork, one poll and one wait a state, so this module imports little and allocates little. Read `server.py` next.
"""

import contextlib
import gc
import os
import resource
import select
import signal
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import final

from chaos.child.board import Board
from chaos.child.isolated import Errand, carry_out, finish
from chaos.explore.reaping import die_with_parent, end_strays, memory_below_bytes

__all__ = ["Abandoned", "Cell", "Cut", "Ended", "Limits"]

_TICK_S = 0.1  # how often a run that takes long is looked at
_GRACE_S = 0.1  # a process that ends within this after recovery returned is no leftover
_OUTPUT_BYTES = 4000
_OUTPUT_CHUNK_BYTES = 1 << 16
_BOARD_BYTES = 48 << 20  # a value of 16 MiB and everything about it, with room for a batch
_CRASHED = 70  # exit code of a child whose harness code failed; nothing else leaves with it and no report


class Abandoned(BaseException):
    """The exploration that this worker serves is gone."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one run may take; see `Settings`."""

    deadline_s: float
    memory_bytes: int
    file_bytes: int


class Cut:
    """Why a run was ended by force."""

    NONE = ""
    DEADLINE = "deadline"
    MEMORY = "memory"


@final
@dataclass(slots=True)
class Ended:
    """How a child ended: its reports, exit code (negative = signal), why it was cut, what it printed and left."""

    reports: list[bytes]
    code: int
    cut: str
    phase: int
    output: bytes
    strays: tuple[str, ...]
    duration_s: float


@final
class Cell:
    """Runs errands in forked children of this process, one at a time.

    Processes: this process must have no children of its own; all that it has are killed after each run. On a dead
    or closed `link` the run is ended and `Abandoned` raised.
    """

    def __init__(self, link: int, limits: Limits) -> None:
        """`link` is the socket whose other end belongs to the exploration."""
        self._link = link
        self._limits = limits
        self._board = Board(_BOARD_BYTES)
        self._pid = os.getpid()
        self._parent = os.getppid()
        self._output, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(writing, True)
        for standard in (1, 2):
            os.dup2(writing, standard, inheritable=True)
        os.close(writing)
        self._poll = select.poll()
        self._poll.register(self._output, select.POLLIN)
        self._poll.register(link, 0)  # only its end is of interest

    def run(self, errand: Errand) -> Ended:
        """Carry out one errand."""
        board = self._board
        return self._run(lambda me: finish(me, board, carry_out(errand, board)), grace=errand.leftovers)

    def run_all(self, work: Callable[[Board], None]) -> Ended:
        """Let one child do many pieces of work; `work` adds a report for each and says when each begins."""
        board = self._board
        return self._run(lambda _: work(board), grace=False)

    def _run(self, child: Callable[[int], None], *, grace: bool) -> Ended:
        self._board.clear()
        self._board.begin()
        began = monotonic()
        pid = os.fork()
        if pid == 0:
            self._be_child(child)
        handle = os.pidfd_open(pid)
        try:
            cut, output = self._wait(pid, handle)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL) if not grace else None
            os.close(handle)
        _, status = os.waitpid(pid, 0)
        strays = end_strays(_GRACE_S if grace else 0.0)
        output = self._drain(output)
        return Ended(
            self._board.reports(),
            os.waitstatus_to_exitcode(status),
            cut,
            self._board.phase,
            output,
            strays,
            monotonic() - began,
        )

    def _be_child(self, child: Callable[[int], None]) -> None:
        try:
            os.setsid()
            die_with_parent(self._pid)
            os.close(self._link)
            self._confine()
            gc.enable()
            child(os.getpid())
        finally:
            os._exit(_CRASHED)

    def _confine(self) -> None:
        data_bytes = self._limits.memory_bytes + _data_bytes()
        resource.setrlimit(resource.RLIMIT_DATA, (data_bytes, data_bytes))
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._limits.file_bytes, self._limits.file_bytes))

    def _wait(self, pid: int, handle: int) -> tuple[str, bytes]:
        """Wait for the child's end; kill it at its deadline or above its memory."""
        output = b""
        self._poll.register(handle, select.POLLIN)
        look = monotonic() + _TICK_S
        cut = Cut.NONE
        try:
            while True:
                ready = self._poll.poll(_TICK_S * 1000)
                for descriptor, _ in ready:
                    if descriptor == handle:
                        return cut, output
                    if descriptor == self._link:
                        raise Abandoned
                    output = self._drain(output)
                if monotonic() >= look:
                    look = monotonic() + _TICK_S
                    cut = cut or self._overstepped()
                    if cut:
                        os.kill(pid, signal.SIGKILL)
        finally:
            self._poll.unregister(handle)

    def _overstepped(self) -> str:
        if os.getppid() != self._parent:
            raise Abandoned
        if monotonic() - self._board.started > self._limits.deadline_s:
            return Cut.DEADLINE
        return Cut.MEMORY if memory_below_bytes() > self._limits.memory_bytes + _data_bytes() else Cut.NONE

    def _drain(self, output: bytes) -> bytes:
        """Read what was printed, one chunk, and keep the tail."""
        try:
            return (output + os.read(self._output, _OUTPUT_CHUNK_BYTES))[-_OUTPUT_BYTES:]
        except BlockingIOError:
            return output


def _data_bytes() -> int:
    """This process's private writable memory, which is what RLIMIT_DATA counts."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[5]) * resource.getpagesize()
