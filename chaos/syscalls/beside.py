"""Keeps a target that has one thread on the processor of its supervisor.

The two never run at the same time: one waits for the other at every call. On processors of their own each call wakes
up a sleeping processor twice, which costs more than all the supervisor does (measured: 45 us a call, 28 on one). As
soon as a target has a second thread or process it may run wherever it could before, so nothing is held up that
could run side by side; until then it sees one processor.
"""

import os
from contextlib import suppress
from typing import final

__all__ = ["Beside"]


@final
class Beside:
    """One target's place.

    Args:
        processor: the supervisor's own; None keeps nobody anywhere.
    """

    def __init__(self, processor: int | None) -> None:
        self._processor = processor
        self._allowed: set[int] = set()
        self._first = 0

    def seen(self, process: int) -> None:
        """A thread of this process made its first call."""
        if self._processor is None:
            return
        if self._first:
            self.part()
            self._free(process)
            return
        self._first = process
        with suppress(OSError):
            self._allowed = os.sched_getaffinity(process)
            if _threads(process) == [process] and self._processor in self._allowed:
                os.sched_setaffinity(process, {self._processor})
                return
        self._processor = None

    def look(self) -> None:
        """Let the target go if it has more threads by now, which made no call yet."""
        if self._processor is not None and self._first and len(_threads(self._first)) > 1:
            self.part()

    def part(self) -> None:
        """Let the target, and the supervisor, run anywhere."""
        if self._allowed:
            self._free(self._first)
            os.sched_setaffinity(0, self._allowed)
            self._first = -1

    def _free(self, process: int) -> None:
        for thread in _threads(process):
            with suppress(OSError):  # it ended
                if os.sched_getaffinity(thread) == {self._processor}:
                    os.sched_setaffinity(thread, self._allowed)


def _threads(process: int) -> list[int]:
    with suppress(OSError):
        return [int(name) for name in os.listdir(f"/proc/{process}/task")]
    return []
