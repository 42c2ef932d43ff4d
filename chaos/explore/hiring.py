"""Starts workers: fresh interpreters, or forks of this process where a target is a closure.

Read `crew.py` next, which gives them work.
"""

import contextlib
import gc
import io
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import IO, NamedTuple, cast, final

from chaos.explore.messages import packed
from chaos.explore.server import Job
from chaos.explore.settings import needs_this_process
from chaos.explore.stages import python_program
from chaos.explore.worker import serve

__all__ = ["EXPLORER", "Hired", "Trade", "hire"]


class Trade(NamedTuple):
    """What a worker does: the module whose `main` a fresh interpreter runs, and the same for a fork."""

    module: str
    serve: Callable[[int, Job, str], None]


EXPLORER = Trade("chaos.explore.worker", serve)


@final
class Hired:
    """A worker process and this end of its link; `number` is never used twice in one exploration."""

    def __init__(self, pid: int, link: socket.socket, number: int) -> None:
        self.pid = pid
        self.link = link
        self.number = number
        self.handle = os.pidfd_open(pid)
        self.outgoing = bytearray()

    def send(self, message: bytes) -> None:
        """Queue a message, and send as much as the socket takes."""
        self.outgoing += message
        self.flush()

    def flush(self) -> None:
        """Send as much of the queue as the socket takes; a broken link shows on reading."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while self.outgoing:
                del self.outgoing[: self.link.send(self.outgoing)]

    def dismiss(self) -> None:
        """Close the link, on which the worker ends itself."""
        self.link.close()

    def wait(self, timeout_s: float) -> bool:
        """Whether the worker has ended; reaps it."""
        if not self.handle:
            return True
        if not select.select([self.handle], [], [], max(0.0, timeout_s))[0]:
            return False
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        os.close(self.handle)
        self.handle = 0
        return True

    def kill(self) -> None:
        """End it by force, and wait for that; its own child dies with it."""
        if not self.wait(0):
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)
            self.wait(5.0)


def hire(job: Job, folder: str, number: int, others: list[Hired], trade: Trade = EXPLORER) -> Hired:
    """Start a worker; it says `ready` or what is wrong over its link.

    Args:
        job: what it is for.
        folder: its own folder, which it makes and removes.
        number: its number.
        others: workers whose links it must not hold open.
        trade: what it does.
    """
    ours, theirs = socket.socketpair()
    try:
        if needs_this_process(job.roles, job.settings.ask):
            pid = _fork(job, folder, theirs, [ours, *(other.link for other in others)], trade)
            hired = Hired(pid, ours, number)
        else:
            hired = Hired(_spawn(theirs, trade), ours, number)
            ours.setblocking(False)
            hired.send(packed(pickle.dumps((job, folder))))
    finally:
        theirs.close()
    ours.setblocking(False)
    return hired


def _spawn(theirs: socket.socket, trade: Trade) -> int:
    process = subprocess.Popen(
        [sys.executable, "-c", python_program(trade.module), str(theirs.fileno())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
        start_new_session=True,
    )
    process.returncode = 0  # it is waited for by its pidfd, not by this object
    return process.pid


def _fork(job: Job, folder: str, theirs: socket.socket, not_theirs: list[socket.socket], trade: Trade) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads: the fork uses none of their locks
        pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            gc.disable()
            for link in not_theirs:
                link.close()
            _own_standard_streams()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            trade.serve(theirs.fileno(), job, folder)
        finally:
            os._exit(0)
    return pid


def _own_standard_streams() -> None:
    """Whatever captured output in this process before must not see the target's."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.close(null)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for the life of the process
    sys.stdout, sys.stderr = _unbuffered(1), _unbuffered(2)


def _unbuffered(number: int) -> io.TextIOWrapper:
    raw = cast("IO[bytes]", io.FileIO(number, "w", closefd=False))
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
