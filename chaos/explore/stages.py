"""Where recoveries run: forked from this process, or from a lean one of their own. One small interface for both.

`LocalStage` forks this process: for batches, and for targets that are closures of it. `RemoteStage` starts a forker
(`chaos/child/forker.py`), which holds the target and little else, so that neither the trace nor the models are copied
with every fork. Either is watched in the same way (`watching.py`). Read `server.py` next.
"""

import fcntl
import gc
import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from socket import socketpair
from time import monotonic
from typing import Any, NoReturn, Protocol, final

from chaos.child.actors import TargetError
from chaos.child.adoption import adopt_descendants, die_with_parent, give_back_memory, signal_at_parent_death
from chaos.child.board import BOARD_BYTES, Board
from chaos.child.forker import BIND_NOW, ORPHANED, READY, RECOVER, WELL, WORK, Stage
from chaos.child.isolated import CRASHED, Errand, be_child
from chaos.child.leftovers import GRACE_S
from chaos.child.link import read_line, read_message, send_all, send_message
from chaos.child.pinning import take
from chaos.child.reaping import end_strays
from chaos.explore.hot_pages import ranges, written
from chaos.explore.watching import Ended, Limits, Watch, confine, data_bytes

__all__ = ["ForkerLost", "LocalStage", "RemoteStage", "RunStage", "python_program"]

_PACKAGE_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_LIST_BYTES = 64  # enough to see that there is more than one
_REFRESH = 200  # runs between two looks at how much memory this process itself holds
# Which recoveries are looked at for the memory that they write; who does fewer gains nothing by it. A look takes some
# 3 ms, and by what is found each later fork takes a fifth less time (measured).
_LOOKED_AT = (30, 40)
_LOOK_PAUSE_MS = 1
_LOOK_S = 0.05  # a recovery that takes longer gains little by a quicker fork


@final
class ForkerLost(BaseException):
    """The forker is gone: a recovery took it down."""


class RunStage(Protocol):
    """Runs a target's roles on what is laid out, each time in a process of its own."""

    def recover(self, acked: int, since: Sequence[str] = ()) -> Ended:
        """Recovery after so many acknowledgements, and some made since the crash."""

    def work(self) -> Ended:
        """The workload run on."""


@final
class LocalStage:
    """Forks this process, whose growth is therefore part of the price.

    Processes: this process must have no children of its own; all that it has are killed after each run.
    """

    def __init__(self, job: dict[str, Any], link: int) -> None:
        """Import the targets into this process, and take over its standard output and error.

        Raises:
            TargetError: a target can't be found or imported.
        """
        self.stage = Stage(job)
        self._limits = Limits(*job["limits"])
        self._watch = Watch(Board(), link, self._limits)
        self._link = link
        self._pid = os.getpid()
        self._runs = 0
        self._streams = (sys.stdout, sys.stderr)
        for standard in (1, 2):
            os.dup2(self._watch.printing, standard, inheritable=True)

    def warm(self) -> None:
        """Get ready to fork: keep the collector away from memory shared with children, as touched is copied."""
        gc.collect()
        give_back_memory()
        gc.freeze()
        gc.disable()

    def recover(self, acked: int, since: Sequence[str] = ()) -> Ended:
        """See `RunStage`."""
        return self._errand(self.stage.recovery(acked, since))

    def work(self) -> Ended:
        """See `RunStage`."""
        return self._errand(self.stage.work())

    def run_all(self, work: Callable[[Board], NoReturn]) -> Ended:
        """Let one child do many recoveries: `work` adds a report for each and says when each begins."""
        return self._run(work, leftovers=False)

    def _errand(self, errand: Errand) -> Ended:
        return self._run(lambda board: be_child(errand, board, self._streams), errand.leftovers)

    def _run(self, child: Callable[[Board], NoReturn], leftovers: bool) -> Ended:
        watch = self._watch
        if self._runs % _REFRESH == 0:
            watch.held_bytes = data_bytes(self._pid)
        self._runs += 1
        watch.begin()
        began = monotonic()
        pid = os.fork()
        if pid == 0:
            self._be_child(child)
        handle = os.pidfd_open(pid)
        watch.add(handle)
        try:
            cut, output = watch.wait(self._pid)
        finally:
            watch.remove(handle)
            os.close(handle)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        strays = end_strays(GRACE_S if leftovers else 0.0)
        if strays:
            output = watch.drained(output)
        board = watch.board
        return Ended(board.reports(), code, cut, board.phase, output, strays, monotonic() - began)

    def _be_child(self, child: Callable[[Board], NoReturn]) -> NoReturn:
        try:
            die_with_parent(self._pid)
            confine(0, self._limits, self._watch.held_bytes)
            os.close(self._link)
            gc.enable()
            child(self._watch.board)
        finally:
            os._exit(CRASHED)


@final
class RemoteStage:
    """A forker at the other end of a socket; it ends itself when that is closed."""

    def __init__(self, job: dict[str, Any], link: int) -> None:
        """Start a forker and wait until it has imported the targets.

        Raises:
            TargetError: a target can't be found or imported, or ends its process when imported.
        """
        self._leftovers = bool(job["leftovers"])
        self._checks = job["check"] is not None
        limits = Limits(*job["limits"])
        shared = _shared_memory()
        self._watch = Watch(Board(shared), link, limits)
        self._keep, theirs = socketpair()
        self._socket = self._keep.fileno()
        self._watch.add(self._socket)
        self._forker = _start_forker(theirs.fileno(), shared, self._watch.printing)
        theirs.close()
        os.close(shared)
        unset = [] if BIND_NOW in os.environ else [BIND_NOW]
        send_message(self._socket, json.dumps({**job, "unset": unset}).encode())
        self._watch.wait(None)
        answer = read_message(self._socket)
        if answer is None:
            raise TargetError("importing the target ends its process")
        if answer != READY:
            raise TargetError(answer.decode())
        self._watch.held_bytes = data_bytes(self._forker)
        confine(self._forker, limits, self._watch.held_bytes)
        self._children = _children_of(self._forker)
        self._recoveries = 0
        self._written: list[frozenset[int]] = []

    def recover(self, acked: int, since: Sequence[str] = ()) -> Ended:
        """See `RunStage`."""
        message = RECOVER
        if self._checks:
            more = b" " + json.dumps(since).encode() if since else b""
            message = b"r%d%s\n" % (acked, more)
        self._recoveries += 1
        if self._recoveries not in _LOOKED_AT:
            return self._run(message, self._leftovers)
        ended = self._run(message, self._leftovers, look=self._children >= 0 and self._can_pin())
        if len(self._written) == len(_LOOKED_AT):
            self._pin(ranges(frozenset.intersection(*self._written)))
        return ended

    def work(self) -> Ended:
        """See `RunStage`."""
        return self._run(WORK, leftovers=False)

    def _run(self, message: bytes, leftovers: bool, look: bool = False) -> Ended:
        watch = self._watch
        watch.begin()
        began = monotonic()
        if look:
            began += self._look(message)
        else:
            self._send(message)
        cut, output = watch.wait(self._forker)
        answer = self._answer()
        strays: tuple[str, ...] = ()
        if self._may_have_strays():
            self._send(b"s%g\n" % (GRACE_S if leftovers else 0.0))
            strays = tuple(json.loads(self._answer()))
            output = watch.drained(output)
        code = 0 if answer == WELL else int(answer)
        board = watch.board
        return Ended(board.reports(), code, cut, board.phase, output, strays, monotonic() - began)

    def _look(self, message: bytes) -> float:
        """Have something run, and look which memory it wrote when it is done; how long that took, in seconds."""
        board = self._watch.board
        board.hold(True)
        self._send(message)
        answer = select.poll()
        answer.register(self._socket, select.POLLIN)
        give_up = monotonic() + _LOOK_S
        while not (over := answer.poll(_LOOK_PAUSE_MS)) and not board.done and monotonic() < give_up:
            pass
        began = monotonic()
        if board.done and not over:  # it stands still
            with suppress(OSError, IndexError):  # its forker is gone, which is told to whoever waits for the answer
                child = int(os.pread(self._children, _LIST_BYTES, 0).split()[0])
                self._written.append(written(child, self._forker))
        board.hold(False)
        return monotonic() - began

    def _can_pin(self) -> bool:
        self._send(b"p[]\n")
        return self._answer() == b"1\n"

    def _pin(self, memory: Sequence[tuple[int, int]]) -> None:
        """Have the forker copy some memory with each fork, for as long as this process lives."""
        if memory:
            self._send(b"p%b\n" % json.dumps(memory).encode())
            ring = int(self._answer())
            if ring >= 0:
                take(self._forker, ring)  # stays open here; the forker closes its own in any case
            self._send(b"\n")
            self._answer()

    def _may_have_strays(self) -> bool:
        """Whether the forker has other children than the one that ended and is not yet reaped; True if unknown."""
        try:
            return self._children < 0 or os.pread(self._children, _LIST_BYTES, 0).count(b" ") > 1
        except OSError:
            raise ForkerLost from None

    def _send(self, line: bytes) -> None:
        try:
            send_all(self._socket, line)
        except OSError:
            raise ForkerLost from None

    def _answer(self) -> bytes:
        line = read_line(self._socket)
        if not line:
            raise ForkerLost
        return line


def _shared_memory() -> int:
    """A descriptor of memory for a board; a target that finds it can't shrink it under us."""
    shared = os.memfd_create("board", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(shared, BOARD_BYTES)
    fcntl.fcntl(shared, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return shared


def _children_of(pid: int) -> int:
    """The kernel's list of a process's children, opened, as reading it again is quick; -1 where there is none."""
    try:
        return os.open(f"/proc/{pid}/task/{pid}/children", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _start_forker(link: int, shared: int, printing: int) -> int:
    def adopt() -> None:
        adopt_descendants()
        signal_at_parent_death(ORPHANED)

    process = subprocess.Popen(
        [sys.executable, "-u", "-c", python_program("chaos.child.forker"), str(link), str(shared)],
        stdin=subprocess.DEVNULL,
        stdout=printing,
        stderr=printing,
        pass_fds=[link, shared],
        env={BIND_NOW: "1", **os.environ},
        preexec_fn=adopt,  # noqa: PLW1509 - this process has one thread
    )
    process.returncode = 0  # this process is the reaper of all its children, see `end_strays`
    return process.pid


def python_program(module: str) -> str:
    """What to give to `python -c` to run a module's `main`.

    Not `-m`: this package need not be on the target's path, and must not get into its environment.
    """
    return f"import sys; sys.path.append({_PACKAGE_ROOT!r}); from {module} import main; main(sys.argv[1:])"
