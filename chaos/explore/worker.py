"""A worker's life: import the target, stay lean, answer for chunks of states, and leave nothing behind.

`main` is the usual worker, in a fresh interpreter that loads this package and the target and nothing else, because a
fork costs what its parent's memory costs. A target that is a closure is served by a
fork of the exploring process instead (`serve`). Either way the worker ends when the other end of its link does, kills
what its target still runs, and removes its folder. Read `crew.py` next.
"""

import contextlib
import faulthandler
import gc
import os
import pickle
import signal
import socket
import traceback
import warnings
from time import monotonic
from typing import Any

from chaos.child.actors import TargetError
from chaos.explore.cell import Abandoned, Cell
from chaos.explore.messages import packed, receive, receive_bytes
from chaos.explore.places import remove
from chaos.explore.reaping import adopt_descendants, end_strays
from chaos.explore.server import Job, Server, limits_of

__all__ = ["main", "serve"]


def main(arguments: list[str]) -> int:
    """Serve the exploration at the other end of the inherited socket whose number is given."""
    link = socket.socket(fileno=int(arguments[0]))
    content = receive_bytes(link)
    if content is None:
        return 1
    job, folder = pickle.loads(content)  # noqa: S301 - from the process that started this one, over its own socket
    serve(link, job, folder)
    return 0


def serve(link: socket.socket, job: Job, folder: str) -> None:
    """Answer until the link's other end is closed; `folder` is made here and removed at the end."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    try:
        adopt_descendants()
        with contextlib.suppress(Abandoned, BrokenPipeError, ConnectionResetError):
            _serve(link, job, folder)
    finally:
        end_strays()
        remove(folder)
        with contextlib.suppress(OSError):  # the last worker of a dead exploration removes the folder around it
            os.rmdir(os.path.dirname(folder))


def _serve(link: socket.socket, job: Job, folder: str) -> None:
    try:
        server = Server(job, folder)
    except TargetError as error:
        link.sendall(packed({"wrong": str(error)}))
        return
    cell = Cell(link.fileno(), limits_of(job.settings))
    faulthandler.enable(2)
    _freeze()
    link.sendall(packed({"ready": True}))
    while (message := receive(link)) is not None:
        link.sendall(packed(_answered(server, cell, message)))


def _freeze() -> None:
    """Keep the collector away from memory shared with children: a touched page is a copied page."""
    gc.collect()
    gc.freeze()
    gc.disable()


def _answered(server: Server, cell: Cell, message: dict[str, Any]) -> dict[str, Any]:
    began = monotonic()
    try:
        if "steps" in message:
            answers = server.steps(cell, message["steps"])
        else:
            answers = server.states(cell, message["model"], message["states"])
    except Exception:  # noqa: BLE001 - the process edge: the exploration raises it as its own fault
        return {"fault": traceback.format_exc()}
    return {"answers": answers, "seconds": monotonic() - began}
