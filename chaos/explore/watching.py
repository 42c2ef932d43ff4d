"""Watches over one run after the other: its deadline, its memory, what it prints, what it hands in.

The run itself is a child of this process or of its forker (`stages.py`, to be read next); here is what both need, so
that the forking half stays lean. Output goes to a bounded pipe, the report comes through shared memory.
"""

import contextlib
import os
import resource
import select
import signal
from time import monotonic
from typing import NamedTuple, final

from chaos.child.board import Board
from chaos.child.reaping import children_of

__all__ = ["Abandoned", "Cut", "Ended", "Limits", "Watch", "confine", "data_bytes"]

_TICK_S = 0.1  # how often a run that takes long is looked at
_OUTPUT_BYTES = 4000
_OUTPUT_CHUNK_BYTES = 1 << 16


class Abandoned(BaseException):
    """Whoever this process serves is gone."""


class Limits(NamedTuple):
    """What one run may take: seconds, bytes of memory beyond that of the process it is forked from, bytes of a file."""

    deadline_s: float
    memory_bytes: int
    file_bytes: int


class Cut:
    """Why a run was ended by force."""

    NONE = 0
    DEADLINE = 1
    MEMORY = 2


class Ended(NamedTuple):
    """How a run ended.

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
class Watch:
    """Waits for runs, one at a time; the children of one process are all that belongs to a run.

    Attributes:
        board: where runs hand in their reports.
        printing: the descriptor that runs are to print into; for as long as this process lives.
        held_bytes: private memory that a run has from the start, because whom it is forked from has it.
    """

    def __init__(self, board: Board, link: int, limits: Limits) -> None:
        """Get ready; `link` is a socket whose other end belongs to whoever is served."""
        self.board = board
        self.held_bytes = 0
        self._link = link
        self._limits = limits
        self._parent = os.getppid()
        self._output, self.printing = os.pipe()
        os.set_blocking(self._output, False)
        self._poll = select.poll()
        self._poll.register(self._output, select.POLLIN)
        self._poll.register(link, 0)  # only its end is of interest

    def add(self, handle: int) -> None:
        """Wait also for this descriptor to become readable."""
        self._poll.register(handle, select.POLLIN)

    def remove(self, handle: int) -> None:
        """Wait no longer for this descriptor."""
        self._poll.unregister(handle)

    def begin(self) -> None:
        """A run begins."""
        self.board.clear()
        self.board.begin()

    def wait(self, owner: int | None) -> tuple[int, bytes]:
        """Wait until what was added becomes readable, which says that the run ended.

        Args:
            owner: the process whose children are killed when they overstep a limit; None: wait as long as it takes.

        Returns:
            Why it was killed (`Cut`), and the tail of what it printed.

        Raises:
            Abandoned: the other end of the link is closed, or the parent of this process is gone.
        """
        output = b""
        cut = Cut.NONE
        look = monotonic() + _TICK_S
        while True:
            for ready, _ in self._poll.poll(_TICK_S * 1000):
                if ready == self._output:
                    output = self.drained(output)
                elif ready == self._link:
                    raise Abandoned
                else:
                    return cut, output
            if owner is not None and monotonic() >= look:
                look = monotonic() + _TICK_S
                cut = cut or self._overstepped(owner)
                if cut:
                    _kill_children(owner)

    def drained(self, output: bytes) -> bytes:
        """Read what was printed since, one chunk, and keep the tail."""
        try:
            return (output + os.read(self._output, _OUTPUT_CHUNK_BYTES))[-_OUTPUT_BYTES:]
        except BlockingIOError:
            return output

    def _overstepped(self, owner: int) -> int:
        if os.getppid() != self._parent:
            raise Abandoned
        if self.board.running_s > self._limits.deadline_s:
            return Cut.DEADLINE
        return Cut.MEMORY if _memory_below_bytes(owner) > self._limits.memory_bytes + self.held_bytes else Cut.NONE


def confine(pid: int, limits: Limits, held_bytes: int) -> None:
    """Set the limits of a process, and of those that it will fork; `held_bytes`: memory that it has already."""
    _limit(pid, resource.RLIMIT_DATA, limits.memory_bytes + held_bytes)
    _limit(pid, resource.RLIMIT_FSIZE, limits.file_bytes)
    _limit(pid, resource.RLIMIT_CORE, 0)


def data_bytes(pid: int) -> int:
    """A process's private writable memory, which is what RLIMIT_DATA counts."""
    with open(f"/proc/{pid}/statm", "rb") as file:
        return int(file.read().split()[5]) * resource.getpagesize()


def _limit(pid: int, what: int, value: int) -> None:
    _, hard = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _kill_children(owner: int) -> None:
    """Kill all children, none of which is reaped meanwhile, and their groups: at once, so no fork bomb outruns it."""
    for pid in children_of(owner):
        with contextlib.suppress(ProcessLookupError):  # it may not have got as far as having a group
            os.killpg(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _memory_below_bytes(pid: int) -> int:
    """Memory held by all descendants: private and shared pages, each counted once; 0 where it can't be told."""
    found = children_of(pid)
    for child in found:
        found += children_of(child)  # grows while it is walked: a breadth-first walk
    return sum(map(_memory_of, found))


def _memory_of(pid: int) -> int:
    total_kib = 0
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        for line in file:
            if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                total_kib += int(line.split()[1])
    return total_kib * 1024
