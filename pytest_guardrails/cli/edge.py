"""Where the command meets the shell: exit codes, messages, watching. A user's mistake is a message, never a traceback.

Exit codes: 0 all is well; 1 something is not, or the work could not be done; 2 wrong usage or configuration;
130 interrupted. Read `app.py` for the commands.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import typer

from pytest_guardrails.clock import SystemClock
from pytest_guardrails.errors import ConfigurationError, GuardrailsError
from pytest_guardrails.reliability.durability import finite_json

__all__ = ["finish", "one_line", "print_json", "print_table", "refused", "say", "watch"]

_CLEAR = "\x1b[H\x1b[2J"


def finish(work: Callable[[], int]) -> None:
    """Do a command's work and leave with its exit code."""
    try:
        code = work()
        sys.stdout.flush()
    except ConfigurationError as error:
        say(str(error))
        code = 2
    except GuardrailsError as error:
        say(str(error))
        code = 1
    except KeyboardInterrupt:
        code = 130
    except OSError as error:
        code = refused(error)
    raise typer.Exit(code)


def refused(error: OSError) -> int:
    """Say what the system refused, and give back the exit code; nothing more is written to standard output then."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if isinstance(error, BrokenPipeError):
        return 0  # whoever read our output went away (`... | head`): nothing is wrong, and nothing more can be said
    say(f"{error.filename or 'standard output'} can't be used: {error.strerror or error}")
    return 1


def say(text: str) -> None:
    """A line for people on standard error."""
    with suppress(OSError):
        sys.stdout.flush()
    with suppress(OSError):
        shown = "".join(
            letter if letter.isprintable() or letter == "\n" else f"\\x{ord(letter):02x}" for letter in text
        )
        sys.stderr.write(f"pytest-guardrails: {shown}\n")
        sys.stderr.flush()


def print_json(value: Mapping[str, Any] | Sequence[Any], *, compact: bool = False) -> None:
    """A value on standard output; in one line when `compact`."""
    sys.stdout.write(finite_json.dumps(value, indent=None if compact else 2) + "\n")


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their content, each row one line whatever is in it."""
    shown = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *shown, strict=True)]
    for row in (head, *shown):
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")


def one_line(text: str) -> str:
    """Text from outside as a terminal may be given it: nothing in it is obeyed, and there is not too much of it."""
    plain = "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)
    return plain if len(plain) <= 80 else plain[:77] + "..."


def watch(show: Callable[[], int], interval_s: float | None) -> int:
    """Show something once, or again and again until Ctrl-C.

    Args:
        show: prints it and returns the exit code.
        interval_s: how often, in seconds; None shows it once.
    """
    if interval_s is None:
        return show()
    if not 0.1 <= interval_s <= 86_400.0:
        raise ConfigurationError(f"--watch must be from 0.1 to 86400 seconds, not {interval_s}")
    clock = SystemClock()
    while True:
        if sys.stdout.isatty():
            sys.stdout.write(_CLEAR)
        show()
        sys.stdout.flush()
        clock.sleep(interval_s)
