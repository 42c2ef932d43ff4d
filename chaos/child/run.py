"""`python -m chaos.child.run REF DISK`: a Python target by name, in a process that has nothing of the harness in it.

The module is imported, the object called as `workload(disk, ack)` (or, with `--setup`, as `setup(disk)`), and the
process ends as any Python program does. Standard library only, for it runs inside the target. Read `ack.py` next.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from chaos.child.ack import ack
from chaos.child.actors import TargetError, recover_actor, work_actor
from chaos.child.target import PythonTarget

__all__ = ["TARGET_MISSING", "argument_vector", "main"]

TARGET_MISSING = 126  # exit code: the target can't be found or imported; as a shell's for "found, not executable"
# Not `-m`: this package need not be on the target's path, and must not get into its environment.
_PACKAGE_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_PROGRAM = (
    f"import sys; sys.path.append({_PACKAGE_ROOT!r}); from chaos.child.run import main; sys.exit(main(sys.argv[1:]))"
)


def argument_vector(target: PythonTarget, disk: str, *, setup: bool = False) -> tuple[str, ...]:
    """The command line that runs a target in a folder."""
    search = [word for folder in target.search for word in ("--search", folder)]
    return (sys.executable, "-c", _PROGRAM, *(("--setup",) if setup else ()), *search, target.ref, disk)


def main(arguments: Sequence[str]) -> int:
    """Run a target as the command line says, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m chaos.child.run", description="Run a Python target in a folder.")
    parser.add_argument("ref", help="package.module:attribute")
    parser.add_argument("disk", type=Path, help="the folder that the target works in")
    parser.add_argument("--search", action="append", default=[], help="a folder put in front of sys.path")
    parser.add_argument("--setup", action="store_true", help="call it as setup(disk)")
    options = parser.parse_args(arguments)
    target = PythonTarget(ref=options.ref, search=tuple(options.search))
    try:
        if options.setup:
            setup = recover_actor(target)  # a setup is called as a recovery is: with the folder alone
        else:
            workload = work_actor(target)
    except TargetError as error:
        sys.stderr.write(f"{error}\n")
        return TARGET_MISSING
    if options.setup:
        setup(options.disk)
    else:
        workload(options.disk, ack)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
