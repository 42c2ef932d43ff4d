"""Signal handlers wait while a call is served, and run at a place that the supervisor chooses.

A handler that raises (Ctrl-C's does) may run between any two instructions, also between opening a descriptor and
remembering it. So for as long as a target is supervised, handlers written in Python are put off: a signal only makes a
descriptor readable, and what listens to it calls `deliver`.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import final

__all__ = ["HeldSignals", "held_signals"]

_HELD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@final
class HeldSignals:
    """The signals that came, and a descriptor that is readable when there are some."""

    def __init__(self) -> None:
        self._came: list[int] = []
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.handlers = {number: signal.getsignal(number) for number in _HELD}

    def fileno(self) -> int:
        """The descriptor."""
        return self._reader

    def note(self, number: int, _frame: FrameType | None) -> None:
        """The handler that stands in for the others."""
        if not self._came:
            os.write(self._writer, b".")
        self._came.append(number)

    def deliver(self) -> None:
        """Call the handlers of the signals that came; what they raise goes to the caller."""
        while self._came:
            number = self._came.pop(0)
            if not self._came:
                os.read(self._reader, 1)
            handler = self.handlers[signal.Signals(number)]
            assert callable(handler)
            handler(number, None)

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self._reader)
        os.close(self._writer)


@contextmanager
def held_signals() -> Iterator[HeldSignals]:
    """Put off the Python handlers of SIGINT, SIGTERM and SIGHUP; what still waits at the end is delivered then.

    In another thread than the first, where no handler runs, nothing is changed.
    """
    held = HeldSignals()
    replaced = []
    try:
        if threading.current_thread() is threading.main_thread():
            replaced = [number for number, handler in held.handlers.items() if callable(handler)]
            for number in replaced:
                signal.signal(number, held.note)
        yield held
    finally:
        for number in replaced:
            signal.signal(number, held.handlers[number])
        try:
            held.deliver()
        finally:
            held.close()
