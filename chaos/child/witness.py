"""What a worker is given to tell what it does: acknowledgements, critical sections, calls with their answers.

Everything goes through the acknowledgement channel, which the supervisor sees in order with the system calls, so it
costs no call of its own and can't be lost. Standard library only: it runs inside targets.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

from chaos.child.ack import ack_text
from chaos.child.values import encode

__all__ = ["Answered", "Witness"]


@final
class Witness:
    """One worker's. Calling it acknowledges a value: `witness(value)`.

    Attributes:
        number: the worker's, from 0.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._calls = 0

    def __call__(self, value: Any) -> None:
        """Acknowledge: from here on this must survive."""
        ack_text("a" + encode(value))

    @contextmanager
    def section(self, name: str = "") -> Iterator[None]:
        """A critical section: the oracle `exclusive` wants one worker in it at a time."""
        ack_text("+" + encode(name))
        try:
            yield
        finally:
            ack_text("-" + encode(name))

    @contextmanager
    def call(self, name: str, argument: Any = None, *, key: Any = None) -> Iterator["Answered"]:
        """One operation of the history that the oracle `linearizable` judges; set `.result` to what was answered.

        An exception that leaves the block makes the outcome unknown.
        """
        self._calls += 1
        ack_text("(" + encode([self._calls, name, argument, key]))
        answered = Answered()
        yield answered
        ack_text(")" + encode([self._calls, answered.result]))


@final
class Answered:
    """Takes an operation's result."""

    result: Any = None
