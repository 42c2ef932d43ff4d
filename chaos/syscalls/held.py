"""Calls whose callers wait because a policy said so, and when each is let go. Read `supervisor.py` next."""

from heapq import heappop, heappush
from typing import final

from chaos.syscalls.calls import Hold, Trap

__all__ = ["HeldCalls"]


@final
class HeldCalls:
    """Those that are to be let go, the next one first; one that is held for ever is not kept.

    Its caller waits all the same, because nobody answers: the end of the run ends it.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Trap, bool]] = []
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def due_s(self) -> float:
        """When the next one is let go, by the clock that `add` was told."""
        return self._waiting[0][0]

    def add(self, trap: Trap, hold: Hold, now_s: float) -> None:
        """Let a caller wait, its whole process standing still where that is asked for."""
        trap.held = True
        if hold.stop:
            trap.process.stop(but=trap.thread)
        if hold.duration_s is not None:
            self._count += 1
            heappush(self._waiting, (now_s + hold.duration_s, self._count, trap, hold.stop))

    def due(self, now_s: float) -> list[tuple[Trap, bool]]:
        """The calls whose time has come, each with whether its process was stopped."""
        found = []
        while self._waiting and self._waiting[0][0] <= now_s:
            _, _, trap, stopped = heappop(self._waiting)
            found.append((trap, stopped))
        return found
