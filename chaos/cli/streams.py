"""The command's own standard streams, where they are closed, full or forsaken.

What standard output refuses is told apart from what any other file refuses: a full disk below it is no fault of the
harness, and a verdict that nobody could read is no verdict. Read `edge.py` for what becomes of it.
"""

import io
import os
import signal
import sys
from contextlib import suppress
from typing import TextIO, final

__all__ = ["EXIT_UNREAD", "OutputRefused", "forsake", "prepare_streams"]

EXIT_UNREAD = 128 + signal.SIGPIPE  # as shells have it of a program whose reader went away


@final
class OutputRefused(OSError):  # noqa: N818 - what the system did, and no malfunction of this program
    """Standard output can't be written.

    It has no error number, by which libraries would know a broken pipe, and end the process with an exit code that
    means something else here.

    Attributes:
        cause: what the system said.
    """

    def __init__(self, cause: OSError) -> None:
        super().__init__(cause)
        self.cause = cause


@final
class _Output(io.TextIOWrapper):
    """Standard output, whose errors say that they are its own."""

    def write(self, text: str) -> int:
        """See `OutputRefused`."""
        try:
            return super().write(text)
        except OSError as error:
            raise OutputRefused(error) from None

    def flush(self) -> None:
        """See `OutputRefused`."""
        try:
            super().flush()
        except OSError as error:
            raise OutputRefused(error) from None


def prepare_streams() -> None:
    """Open closed streams on nothing, and let standard output say what is its own error.

    Where one of the three is closed, the next file that is opened would get its number, and what is printed would go
    into it.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:  # the lowest number that is free
        pass
    os.close(number)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    plain = sys.stdout
    if type(plain) is io.TextIOWrapper:
        encoding, errors, lines, through = plain.encoding, plain.errors, plain.line_buffering, plain.write_through
        sys.stdout = _Output(plain.detach(), encoding, errors, line_buffering=lines, write_through=through)


def forsake(stream: TextIO) -> None:
    """Let what is still to be written to a standard stream go nowhere; else Python says at its end that it can't."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
