"""What to run, as data: a Python object by its import name, a callable of this process, or commands.

Standard library only: this is read inside a target's process as well as by the harness. How a target is called
depends on its role:

=========  ======================================  =====================================================
role       Python target                           command target
=========  ======================================  =====================================================
setup      `setup(disk)`                           each command in turn, in the folder
workload   `workload(disk, ack)`                   likewise; command i acknowledges the number i on exit 0
recover    `recover(disk)` -> any plain value      likewise; the value is the last one's standard output
check      `check(value, acked)`, raises           `check` commands see CHAOS_VALUE and CHAOS_ACKED (JSON)
resume     `resume(disk, ack)`                     as workload
=========  ======================================  =====================================================

`disk` is a `pathlib.Path`, the watched folder. In a command's arguments `{disk}` and `{python}` stand for that
folder and for this interpreter; its working directory is the folder, and `CHAOS_DISK` names it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

__all__ = ["UNKNOWN", "CallableTarget", "CommandTarget", "PythonTarget", "Roles", "Target"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PythonTarget:
    """A callable by name, `package.module:attribute[.attribute]`, imported only when it is run.

    Attributes:
        ref: the import name.
        search: folders put in front of `sys.path` before the import.
    """

    ref: str
    search: tuple[str, ...] = ()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CallableTarget:
    """A callable of the running process (a closure of a test); it is run in a fork and can't be sent elsewhere."""

    function: Callable[..., Any]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CommandTarget:
    """Command lines, run one after the other without a shell; the first failing one ends the run."""

    commands: tuple[tuple[str, ...], ...]
    env: tuple[tuple[str, str], ...] = ()


Target = PythonTarget | CallableTarget | CommandTarget

UNKNOWN = CommandTarget(commands=())
"""A workload of which only the trace is known: it can't be run on from a crash state."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """The parts that the target plays in an exploration.

    Attributes:
        workload: what is recorded.
        recover: the target's own start-up on a crash state.
        setup: makes the tree before the run; what it leaves counts as durable.
        check: the user's own predicate over the recovered value and the acknowledged values.
        resume: how the workload goes on after a crash; the workload itself when None.
    """

    workload: Target
    recover: Target
    setup: Target | None = None
    check: Target | None = None
    resume: Target | None = None
