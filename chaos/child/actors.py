"""Turns targets into callables of this process: imports Python targets, wraps command lines.

Standard library only. A recover actor is called `recover(disk)`, a workload or resume actor `work(disk, ack)`, a
check actor `check(value, acked)` and raises when it objects. Importing a target happens here and nowhere else in
the explorer. Read `isolated.py` next.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

from chaos.child import values
from chaos.child.commands import run_commands
from chaos.child.target import CallableTarget, CommandTarget, PythonTarget, Target

__all__ = ["AckFile", "TargetError", "check_actor", "recover_actor", "work_actor"]


@final
class TargetError(Exception):
    """A target that can't be found or imported: what, why, and where."""


@final
class AckFile:
    """Collects acknowledgements where no supervisor listens: `ack(value)` appends one line to a file.

    The file is opened for each call, so it works in forks of the target and after it closed every descriptor.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, value: object) -> None:
        """Acknowledge a value."""
        line = values.encode(value).encode() + b"\n"
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, line)
        finally:
            os.close(file)

    def collected(self) -> list[str]:
        """The canonical texts acknowledged so far, oldest first; a line cut short is left out."""
        try:
            with open(self.path, "rb") as file:
                return [line.decode() for line in file.read(values.LIMIT_BYTES).split(b"\n")[:-1]]
        except FileNotFoundError:
            return []


def recover_actor(target: Target) -> Callable[[Path], Any]:
    """The callable behind a recover target.

    Raises:
        TargetError: it can't be found or imported.
    """
    if isinstance(target, CommandTarget):
        command = _found(target)
        return lambda disk: run_commands(command.commands, str(disk), dict(command.env))
    return _python(target)


def work_actor(target: Target) -> Callable[[Path, Callable[[object], None]], Any]:
    """The callable behind a workload or resume target; command number i acknowledges i.

    Raises:
        TargetError: it can't be found or imported.
    """
    if isinstance(target, CommandTarget):
        command = _found(target)
        return lambda disk, ack: run_commands(command.commands, str(disk), dict(command.env), ack)
    return _python(target)


def check_actor(target: Target) -> Callable[[Any, list[Any]], Any]:
    """The callable behind a check target; commands see CHAOS_VALUE and CHAOS_ACKED, and object by a nonzero exit.

    Raises:
        TargetError: it can't be found or imported.
    """
    if not isinstance(target, CommandTarget):
        return _python(target)
    command = _found(target)

    def check(value: Any, acked: list[Any]) -> None:
        seen = {"CHAOS_VALUE": values.encode(value), "CHAOS_ACKED": f"[{','.join(map(values.encode, acked))}]"}
        run_commands(command.commands, os.environ.get("CHAOS_DISK", os.getcwd()), {**dict(command.env), **seen})

    return check


def _found(target: CommandTarget) -> CommandTarget:
    for command in target.commands:
        program = command[0].replace("{python}", sys.executable)
        if "{disk}" not in program and not _is_program(program):
            raise TargetError(f"the command {json.dumps(program)} is not on the PATH")
    return target


def _is_program(name: str) -> bool:
    if os.sep in name:
        return os.access(name, os.X_OK)
    return any(os.access(os.path.join(folder, name), os.X_OK) for folder in os.get_exec_path())


def _python(target: PythonTarget | CallableTarget) -> Callable[..., Any]:
    if isinstance(target, CallableTarget):
        return target.function
    module_name, colon, path = target.ref.partition(":")
    if not colon or not module_name or not path:
        raise TargetError(f"target {target.ref!r} is not of the form package.module:attribute")
    for folder in reversed(target.search):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    try:
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise TargetError(f"target {target.ref!r} can't be imported: {_told(error)}") from error
    for attribute in path.split("."):
        if not hasattr(found, attribute):
            raise TargetError(f"target {target.ref!r}: {values.type_name(found)} has no attribute {attribute!r}")
        found = getattr(found, attribute)
    if not callable(found):
        raise TargetError(f"target {target.ref!r} is a {type(found).__name__}, which can't be called")
    return found  # type: ignore[no-any-return]


def _told(error: BaseException) -> str:
    """The error and the place in the target where it arose; importlib's own frames are of no interest."""
    place, trail = "", error.__traceback__
    while trail is not None:
        code = trail.tb_frame.f_code
        if "importlib" not in code.co_filename and code.co_filename != __file__:
            place = f" (at {code.co_filename}:{trail.tb_lineno} in {code.co_name})"
        trail = trail.tb_next
    if isinstance(error, SyntaxError) and error.filename:
        return f"SyntaxError: {error.msg} (at {error.filename}:{error.lineno})"
    return f"{type(error).__name__}: {str(error)[:500]}{place}"
