"""Where the command meets the shell: exit codes, messages, signals; the only broad `except` of the harness.

A user's mistake is a message, never a traceback. An error of the harness itself is one paragraph and a file with
the traceback. Nothing else may turn an error into an exit code. Read `app.py` next.
"""

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import MISSING, fields
from inspect import Parameter, Signature
from types import FrameType
from typing import Any, TypeVar, get_type_hints

import typer

from chaos.cli.streams import EXIT_UNREAD, OutputRefused, forsake
from chaos.errors import EXIT_INTERRUPTED, ChaosError, HarnessFault, NotMeasured, UsageError

__all__ = ["Arguments", "command", "output_refused", "say", "stops_on_signals"]

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Arguments = TypeVar("Arguments")


def command(work: Callable[[Arguments], int], arguments: type[Arguments]) -> Callable[..., None]:
    """A function for Typer whose parameters are the fields of the dataclass `arguments`.

    `work` gets the filled dataclass and returns the exit code; what it raises becomes one as well.
    """

    def call(**values: Any) -> None:
        raise typer.Exit(_exit_code(lambda: _written(work(arguments(**values)))))

    hints = get_type_hints(arguments, include_extras=True)
    parameters = [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            annotation=hints[field.name],
            default=Parameter.empty if field.default is MISSING else field.default,
        )
        for field in fields(arguments)  # type: ignore[arg-type]
    ]
    call.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = hints
    call.__doc__ = work.__doc__
    return call


def say(text: str) -> None:
    """One line for people on standard error, which is not the program's output proper."""
    with suppress(OSError):
        sys.stdout.flush()  # where both go to one place, lines come in the order in which they were said
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except OSError:
        forsake(sys.stderr)


def output_refused(error: OutputRefused) -> int:
    """Say what is wrong with standard output, and give back the exit code; nothing more is written to it then."""
    forsake(sys.stdout)
    if isinstance(error.cause, BrokenPipeError):
        return EXIT_UNREAD  # the reader knows that it went away (`chaos list | head`), and nothing is to be said
    say(f"chaos: standard output can't be written: {error.cause.strerror}")
    return UsageError.exit_code


@contextmanager
def stops_on_signals() -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP raises `KeyboardInterrupt`; later ones can't cut the clean-up short."""
    stopped = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        for stopping in _STOPPING:
            signal.signal(stopping, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {stopping: signal.signal(stopping, interrupt) for stopping in _STOPPING}
    try:
        yield
    finally:
        # Once stopped, the process is on its way out: a second signal must not change how it ends.
        if not stopped:
            for stopping, handler in before.items():
                signal.signal(stopping, handler)


def _written(code: int) -> int:
    """The exit code, once all that was printed is with whoever reads it."""
    sys.stdout.flush()
    return code


def _exit_code(work: Callable[[], int]) -> int:
    try:
        with stops_on_signals():
            return work()
    except KeyboardInterrupt:
        say("interrupted")
        return EXIT_INTERRUPTED
    except OutputRefused as error:
        return output_refused(error)
    except NotMeasured as error:
        say(f"chaos: not measured: {error}")
        return error.exit_code
    except HarnessFault as error:
        say(f"chaos: harness fault: {error}\n  traceback: {_stored_traceback(error)}")
        return error.exit_code
    except ChaosError as error:
        say(f"chaos: {error}")
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - a process edge: recorded, and never blamed on the target
        say(_internal_error(error))
        return HarnessFault.exit_code


def _internal_error(error: Exception) -> str:
    summary = " ".join(str(error).split())[:300]
    return (
        f"chaos: harness fault: {type(error).__name__}: {summary}\n"
        "  This is an error of chaos itself and says nothing about the program under test.\n"
        f"  traceback: {_stored_traceback(error)}\n"
        "  next: `chaos doctor` shows what works here; please report the traceback"
    )


def _stored_traceback(error: Exception) -> str:
    try:
        handle, name = tempfile.mkstemp(prefix="chaos-fault-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(traceback.format_exception(error))
    except OSError as refused:
        return f"could not be stored ({refused})"
    return name
