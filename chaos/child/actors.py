"""Turns targets into callables of this process: imports Python targets, wraps command lines.

Standard library only. A target comes as it is, or as a *spec*, plain data that can also be sent to another process:
`["python", ref, search folders]`, `["command", argument lists, environment pairs]`, or, within one process,
`["callable", function]`. Importing a target happens here and nowhere else in the explorer. Read `isolated.py` next.
"""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import CoroutineType

from chaos.child import values
from chaos.child.lean import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from chaos.child.target import Target

__all__ = [
    "AckFile",
    "Spec",
    "TargetError",
    "check_actor",
    "imported",
    "objecting",
    "recover_actor",
    "spec_of",
    "unrun_words",
    "work_actor",
]

Spec = Sequence[Any]
_Runner = Callable[..., str]
_Commands = Sequence[Sequence[str]]
# Flags of a function's code, as `inspect` has them, which takes too long to import.
_UNRUN = {
    0x80: (
        "an async function, which runs only when it is awaited",
        "name a plain function that awaits it: asyncio.run(...)",
    ),
    0x200: ("an async generator, which runs only when it is gone through", "return a list"),
    0x20: ("a generator, which runs only when it is gone through", "return a list"),
}
_CHANNEL_VARIABLE = "CHAOS_ACK_FD"  # read by `chaos.child.ack` where no supervisor listens


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

    def open_channel(self) -> None:
        """Let `chaos.child.ack` of this process and of programs that it starts write here, too."""
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.set_inheritable(file, True)
        os.environ[_CHANNEL_VARIABLE] = str(file)

    def collected(self) -> list[str]:
        """The canonical texts acknowledged so far, oldest first; a line cut short is left out."""
        try:
            with open(self.path, "rb") as file:
                return [line.decode() for line in file.read(values.LIMIT_BYTES).split(b"\n")[:-1]]
        except FileNotFoundError:
            return []


def spec_of(target: "Target | Spec") -> Spec:
    """A target as plain data, told by its attributes: importing the classes would make every fork dearer."""
    described: Any = target
    if isinstance(target, (list, tuple)):
        return target
    if hasattr(target, "function"):
        return ["callable", described.function]
    if hasattr(target, "commands"):
        return ["command", [list(command) for command in described.commands], [list(pair) for pair in described.env]]
    return ["python", described.ref, list(described.search)]


def recover_actor(target: "Target | Spec") -> Callable[..., Any]:
    """What is behind a recover target, to be called `recover(disk)`.

    Raises:
        TargetError: it can't be found or imported.
    """
    spec = spec_of(target)
    return partial(_recover_by_commands, *_command(spec)) if spec[0] == "command" else _python(spec)


def work_actor(target: "Target | Spec") -> Callable[..., Any]:
    """What is behind a workload or resume target, to be called `work(disk, ack)`; the end of command i acknowledges i.

    Raises:
        TargetError: it can't be found or imported.
    """
    spec = spec_of(target)
    return partial(_work_by_commands, *_command(spec)) if spec[0] == "command" else _python(spec)


def check_actor(target: "Target | Spec", folder: str) -> Callable[..., Any]:
    """What is behind a check target, to be called `check(value, acked)`; it raises when it objects.

    Commands run in `folder`, see CHAOS_VALUE and CHAOS_ACKED, and object by an exit code other than 0.

    Raises:
        TargetError: it can't be found or imported.
    """
    spec = spec_of(target)
    return partial(_check_by_commands, folder, *_command(spec)) if spec[0] == "command" else objecting(_python(spec))


def objecting(check: Callable[..., Any]) -> Callable[..., Any]:
    """The check, which raises as well when False is what it returns: it would else object to nothing."""

    def judge(*arguments: Any) -> Any:
        told = check(*arguments)
        if told is False or (type(told).__name__ in ("bool", "bool_") and not told):  # NumPy's, which need not be here
            raise AssertionError("the check returned False")
        return told

    return judge


def _recover_by_commands(run: _Runner, commands: _Commands, env: dict[str, str], disk: Any) -> str:
    return run(commands, str(disk), env)


def _work_by_commands(
    run: _Runner, commands: _Commands, env: dict[str, str], disk: Any, ack: Callable[[int], None]
) -> None:
    run(commands, str(disk), env, ack)


def _check_by_commands(
    folder: str, run: _Runner, commands: _Commands, env: dict[str, str], value: Any, acked: list[Any]
) -> None:
    seen = {"CHAOS_VALUE": values.encode(value), "CHAOS_ACKED": values.encode(acked)}
    run(commands, folder, {**env, **seen})


def _command(spec: Spec) -> tuple[_Runner, _Commands, dict[str, str]]:
    """What runs commands, loaded only where there are any: its modules would make every other fork dearer."""
    _, commands, env = spec
    for command in commands:
        program = command[0].replace("{python}", sys.executable)
        if "{disk}" not in program and not _is_program(program):
            raise TargetError(f"the command {program!r} is not on the PATH")
    return importlib.import_module("chaos.child.commands").run_commands, commands, dict(env)


def _is_program(name: str) -> bool:
    if os.sep in name:
        return os.access(name, os.X_OK)
    return any(os.access(os.path.join(folder, name), os.X_OK) for folder in os.get_exec_path())


def _python(spec: Spec) -> Callable[..., Any]:
    if spec[0] == "callable":
        return _run_through(spec[1])
    _, ref, search = spec
    found = imported(ref, search)
    if not callable(found):
        raise TargetError(f"target {ref!r} is a {type(found).__name__}, which can't be called")
    if unrun := unrun_words(found):
        raise TargetError(f"target {ref!r} is {unrun[0]}\n  next: {unrun[1]}")
    return _run_through(found)


def _run_through(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which raises when it returns a coroutine: it would seem to have done all its work.

    So does a lambda around an async function, or a decorator's plain function. A generator is a value like others that
    can't be compared, and told as such.
    """

    def run(*arguments: Any) -> Any:
        given = function(*arguments)
        if type(given) is CoroutineType:
            given.close()  # else Python warns that it was never awaited
            raise TypeError(
                "the target returned a coroutine, of which nothing was run: await it within: asyncio.run(...)"
            )
        return given

    return run


def unrun_words(function: Any) -> tuple[str, str] | None:
    """Why a call of a function would run nothing of it, and what to do; None when it would."""
    while isinstance(function, partial):
        function = function.func
    own = function if hasattr(function, "__code__") else type(function).__call__
    flags = own.__code__.co_flags if hasattr(own, "__code__") else 0
    return next((words for flag, words in _UNRUN.items() if flags & flag), None)


def imported(ref: str, search: Sequence[str]) -> Any:
    """The object `module:attribute`, its module imported from the folders `search` or from where Python looks.

    Raises:
        TargetError: it can't be found or imported.
    """
    module_name, colon, path = ref.partition(":")
    if not colon or not module_name or not path:
        raise TargetError(f"target {ref!r} is not of the form package.module:attribute")
    for folder in reversed(search):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    try:
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise TargetError(f"target {ref!r} can't be imported: {_told(error)}") from error
    for attribute in path.split("."):
        if not hasattr(found, attribute):
            raise TargetError(f"target {ref!r}: {values.type_name(found)} has no attribute {attribute!r}")
        found = getattr(found, attribute)
    return found


def _told(error: BaseException) -> str:
    """The error and the place in the target where it arose; importlib's own frames are of no interest."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"SyntaxError: {error.msg} (at {error.filename}:{error.lineno})"
    place, trail = "", error.__traceback__
    while trail is not None:
        code = trail.tb_frame.f_code
        if "importlib" not in code.co_filename and code.co_filename != __file__:
            place = f" (at {code.co_filename}:{trail.tb_lineno} in {code.co_name})"
        trail = trail.tb_next
    return f"{type(error).__name__}: {str(error)[:500]}{place}"
