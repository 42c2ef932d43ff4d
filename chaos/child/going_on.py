"""What happens after a crash, as one program: the target starts again, and its work goes on.

Recovery runs in a process of its own, and once more where it fails, as anyone would start a program twice; then the
workload goes on in this process, whatever came of the start. The whole is recorded, so that a second crash can be
placed anywhere in it. An acknowledgement of its own, `STARTED`, marks where recovery has ended. Standard library
only, for it runs inside a target's process. Read `actors.py` for the roles.
"""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaos.child.ack import ack, ack_text
from chaos.child.launch import call_as_program

__all__ = ["STARTED", "go_on"]

STARTED = '"\\u0000 chaos: started again"'  # no value that a target would acknowledge


def go_on(recover: Callable[..., Any], work: Callable[..., Any], disk: Path) -> None:
    """Start again, then work.

    Args:
        recover: the target's start-up, `recover(disk)`.
        work: how the workload goes on, `work(disk, ack)`; what it raises ends the program.
        disk: the watched folder.
    """
    if not _succeeds(lambda: recover(disk)):
        _succeeds(lambda: recover(disk))
    ack_text(STARTED)
    work(disk, ack)


def _succeeds(program: Callable[[], Any]) -> bool:
    """Run a callable in a fork, as a program."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads: those are the recorder's own
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = call_as_program(program)
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0
