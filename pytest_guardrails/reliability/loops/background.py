"""A loop in a thread of its own, whose end, or whose error, is told to whoever waits."""

import threading
from collections.abc import Callable
from typing import final

from pytest_guardrails.errors import DeadlineError
from pytest_guardrails.reliability.loops.report import LoopReport

__all__ = ["Background"]


@final
class Background(threading.Thread):
    """Runs once.

    Args:
        act: the loop.
    """

    def __init__(self, act: Callable[[], LoopReport]) -> None:
        super().__init__(daemon=True)
        self._act = act
        self._found: LoopReport | BaseException | None = None

    def run(self) -> None:
        """What the thread does."""
        try:
            self._found = self._act()
        except BaseException as error:  # noqa: BLE001 - the edge of a thread: `wait` raises it
            self._found = error

    def wait(self, deadline_s: float | None) -> LoopReport:
        """How the loop ended.

        Raises:
            DeadlineError: it has not.
        """
        self.join(deadline_s)
        if self._found is None:
            raise DeadlineError(f"the loop has not ended within {deadline_s} s; it goes on")
        if isinstance(self._found, BaseException):
            raise self._found
        return self._found
