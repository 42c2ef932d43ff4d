"""A program that runs a Python target by name, in a process that has nothing of the harness in it.

The module is imported, the object called as `workload(disk, ack)` or as `setup(disk)`, and the process ends as any
Python program does. Standard library only, for it runs inside the target, and little of it: each recording starts
this anew, so neither command lines are parsed here nor dataclasses made (which took half of its start). Read `ack.py`
next.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from chaos.child.ack import ack
from chaos.child.actors import TargetError, recover_actor, work_actor
from chaos.child.lean import TYPE_CHECKING

if TYPE_CHECKING:
    from chaos.child.target import PythonTarget

__all__ = ["TARGET_MISSING", "argument_vector", "main"]

_SETUP, _WORKLOAD = "setup", "workload"
TARGET_MISSING = 126  # exit code: the target can't be found or imported; as a shell's for "found, not executable"
# Not `-m`: this package need not be on the target's path, and must not get into its environment.
_PACKAGE_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_PROGRAM = (
    f"import sys; sys.path.append({_PACKAGE_ROOT!r}); from chaos.child.run import main; sys.exit(main(sys.argv[1:]))"
)


def argument_vector(target: "PythonTarget", disk: str, *, setup: bool = False) -> tuple[str, ...]:
    """The command line that runs a target in a folder."""
    return (sys.executable, "-c", _PROGRAM, _SETUP if setup else _WORKLOAD, disk, target.ref, *target.search)


def main(arguments: Sequence[str]) -> int:
    """Run a target as `argument_vector` says (role, folder, reference, folders to search), and return the exit code."""
    role, disk, ref, *search = arguments
    try:
        # A setup is called as a recovery is: with the folder alone.
        target = recover_actor(["python", ref, search]) if role == _SETUP else work_actor(["python", ref, search])
    except TargetError as error:
        sys.stderr.write(f"{error}\n")
        return TARGET_MISSING
    target(Path(disk), *([] if role == _SETUP else [ack]))
    return 0
