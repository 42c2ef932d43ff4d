"""What to record and how: the same for every engine. Read `recorder.py` or `portable.py` next."""

import os
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

from chaos.errors import UsageError

__all__ = ["Program", "RecordOptions", "check_recordable", "describe"]

Program = Callable[[], object] | Sequence[str]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """How to record.

    Attributes:
        exclude: globs of files to leave out, fitting their relative path or name, or a folder's above them.
        deadline_s: what runs then is killed, and the trace says so; more than 0.
        grace_s: how long processes may outlive the main one before they are killed; 0 or more.
        env: added to the program's environment.
        cwd: its working directory; the caller's when None.
        output: a descriptor that becomes its standard output and error; the caller's own when None.
        sources: whether operations of Python processes carry their source lines.
        reads: whether a policy is asked about reads, and about opens that change nothing ("open_read"), too.
        mapped_bytes: up to this size in all, files with shared mappings are compared; above it: not measured.
        command: what was run, for people; made from the program when empty.
        keep: whether the trace gets operations and acknowledgements; without them memory does not grow with the run.
    """

    exclude: tuple[str, ...] = ()
    deadline_s: float = 60.0
    grace_s: float = 1.0
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    output: int | None = None
    sources: bool = True
    reads: bool = False
    mapped_bytes: int = 64 << 20
    command: str = ""
    keep: bool = True

    def __post_init__(self) -> None:
        if not self.deadline_s > 0:
            raise UsageError(f"deadline_s must be more than 0, not {self.deadline_s}")
        if not self.grace_s >= 0:
            raise UsageError(f"grace_s must be 0 or more, not {self.grace_s}")


def check_recordable(program: Program, folder: str | os.PathLike[str], options: RecordOptions) -> None:
    """Whether there is such a folder and such a program.

    Raises:
        UsageError: there is not.
    """
    if not os.path.isdir(folder):
        raise UsageError(f"the watched folder {os.fspath(folder)} does not exist", "make it before recording")
    if callable(program):
        return
    if not program:
        raise UsageError("the command to record is empty")
    name = program[0]
    place = os.path.join(options.cwd or ".", name) if os.sep in name else name
    if not shutil.which(place, path=options.env.get("PATH")):
        raise UsageError(f"the command {name} is not found, or may not be executed", "give its path, or mend PATH")


def describe(program: Program) -> str:
    """What is run, for people."""
    if callable(program):
        return f"{getattr(program, '__module__', '?')}:{getattr(program, '__qualname__', repr(program))}"
    return shlex.join(program)
