"""A worker's life: lay out states, have recovery run on them, and leave nothing behind.

`main` is the usual worker, in a fresh interpreter, with a forker of its own that has the target. A target that is a
closure is served by a fork of the exploring process instead (`serve`). Either way the worker ends when the other end
of its link does, kills what its target still runs, and removes its folder. Read `crew.py` next.
"""

import contextlib
import faulthandler
import json
import os
import pickle
import signal
import traceback
import warnings
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Protocol

from chaos.child.actors import TargetError
from chaos.child.adoption import adopt_descendants
from chaos.child.link import read_message, send_message
from chaos.child.processor import own_processor
from chaos.child.reaping import end_strays
from chaos.child.target import CommandTarget
from chaos.disk.relocating import followed_path
from chaos.explore.lending import Lent
from chaos.explore.places import remove
from chaos.explore.server import Job, Server
from chaos.explore.settings import needs_this_process
from chaos.explore.stages import ForkerLost
from chaos.explore.watching import Abandoned

__all__ = ["Answering", "main", "serve"]


class Answering(Protocol):
    """Answers messages of the crew.

    Attributes:
        reused: how many states were answered so far without running recovery.
    """

    reused: int

    def answers(self, message: Mapping[str, Any]) -> list[bytes]:
        """One answer for each thing wanted, as JSON."""


def main(arguments: list[str], make: Callable[[Job, str, int], Answering] = Server) -> None:
    """Serve the exploration at the other end of the inherited socket whose number is given."""
    link = int(arguments[0])
    content = read_message(link)
    if content is not None:
        job, folder = pickle.loads(content)  # noqa: S301 - from the process that started this one, over its own socket
        serve(link, job, folder, make)


def serve(link: int, job: Job, folder: str, make: Callable[[Job, str, int], Answering] = Server) -> None:
    """Answer until the link's other end is closed; `folder` is made here and removed at the end.

    Args:
        link: to whoever asks.
        job: what it is for.
        folder: the worker's own.
        make: makes what answers; may raise `TargetError`.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    try:
        adopt_descendants()
        with contextlib.suppress(Abandoned, ForkerLost, BrokenPipeError, ConnectionResetError), _place(job):
            _serve(link, job, folder, make)
    finally:
        end_strays()
        remove(folder)
        with contextlib.suppress(OSError):  # the last worker of a dead exploration removes the folder around it
            os.rmdir(os.path.dirname(folder))


def _place(job: Job) -> contextlib.AbstractContextManager[object]:
    """Commands may well use several processors; functions gain from staying on one."""
    return contextlib.nullcontext() if isinstance(job.roles.recover, CommandTarget) else own_processor()


def _serve(link: int, job: Job, folder: str, make: Callable[[Job, str, int], Answering]) -> None:
    try:
        server = make(job, folder, link)
    except TargetError as error:
        send_message(link, json.dumps({"wrong": str(error)}).encode())
        return
    if needs_this_process(job.roles, job.settings.ask):
        faulthandler.enable(2)
    lent = Lent(followed_path(job.trace.notes), os.path.join(folder, "disk"))
    send_message(link, b'{"ready":true}')
    while (message := read_message(link)) is not None:
        with lent:
            answer = _answered(server, json.loads(message))
        send_message(link, answer)


def _answered(server: Answering, message: dict[str, Any]) -> bytes:
    began, reused = monotonic(), server.reused
    try:
        answers = server.answers(message)
    except Exception:  # noqa: BLE001 - the process edge: the exploration raises it as its own fault
        return json.dumps({"fault": traceback.format_exc()}).encode()
    seconds = monotonic() - began
    return b'{"answers":[%s],"seconds":%r,"reused":%d}' % (b",".join(answers), seconds, server.reused - reused)
