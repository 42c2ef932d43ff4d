"""Where recoveries run: forked from this process, or from a lean one of their own. One small interface for both.

`LocalStage` forks this process: for batches, and for targets that are closures of it. `RemoteStage` starts a forker
(`chaos/child/forker.py`), which holds the target and little else, so that neither the trace nor the models are copied
with every fork. Read `server.py` next.
"""

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Sequence
from socket import socketpair
from typing import Any, NoReturn, Protocol, final

from chaos.child.actors import TargetError
from chaos.child.board import Board
from chaos.child.cell import Abandoned, Cell, Ended, Limits
from chaos.child.forker import READY, Stage, read_message, send_message, unpack_ended

__all__ = ["ForkerLost", "LocalStage", "RemoteStage", "RunStage", "python_program"]

_PACKAGE_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


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
    """Forks this process, whose growth is therefore part of the price."""

    def __init__(self, job: dict[str, Any], link: int) -> None:
        """Import the targets into this process.

        Raises:
            TargetError: a target can't be found or imported.
        """
        self.stage = Stage(job)
        self._cell = Cell(link, Limits(*job["limits"]), lasting=False)

    def warm(self) -> None:
        """Get ready to fork."""
        self._cell.warm()

    def recover(self, acked: int, since: Sequence[str] = ()) -> Ended:
        """See `RunStage`."""
        return self._cell.run(self.stage.recovery(acked, since))

    def work(self) -> Ended:
        """See `RunStage`."""
        return self._cell.run(self.stage.work())

    def run_all(self, work: Callable[[Board], NoReturn]) -> Ended:
        """Let one child do many recoveries."""
        return self._cell.run_all(work)


@final
class RemoteStage:
    """A forker at the other end of a socket; it ends itself when that is closed."""

    def __init__(self, job: dict[str, Any], link: int) -> None:
        """Start a forker and wait until it has imported the targets.

        Raises:
            TargetError: a target can't be found or imported, or ends its process when imported.
        """
        ours, theirs = socketpair()
        self._keep = ours
        self._socket = ours.fileno()
        self._link = link
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", python_program("chaos.child.forker"), str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
        process.returncode = 0  # this process is the reaper of all its children, see `end_strays`
        theirs.close()
        send_message(self._socket, json.dumps(job).encode())
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._poll.register(link, 0)
        answer = self._answer()
        if answer is None:
            raise TargetError("importing the target ends its process")
        if answer != READY:
            raise TargetError(answer.decode())

    def recover(self, acked: int, since: Sequence[str] = ()) -> Ended:
        """See `RunStage`."""
        more = b" " + json.dumps(since).encode() if since else b""
        return self._asked(b"r%d%s" % (acked, more))

    def work(self) -> Ended:
        """See `RunStage`."""
        return self._asked(b"w")

    def _asked(self, message: bytes) -> Ended:
        try:
            send_message(self._socket, message)
        except OSError:
            raise ForkerLost from None
        answer = self._answer()
        if answer is None:
            raise ForkerLost
        return unpack_ended(answer)

    def _answer(self) -> bytes | None:
        for descriptor, _ in self._poll.poll():
            if descriptor == self._link:
                raise Abandoned
        return read_message(self._socket)


def python_program(module: str) -> str:
    """What to give to `python -c` to run a module's `main`.

    Not `-m`: this package need not be on the target's path, and must not get into its environment.
    """
    return f"import sys; sys.path.append({_PACKAGE_ROOT!r}); from {module} import main; main(sys.argv[1:])"
