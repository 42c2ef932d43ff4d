"""What a worker is given to tell what it does: acknowledgements, critical sections, calls with their answers.

Everything goes through the acknowledgement channel, which the supervisor sees in order with the system calls, so it
costs no call of its own and can't be lost; in a fleet it is the chronicle (`chronicle.py`). A statement is a letter and
canonical text: `a` an acknowledgement, `+` and `-` in and out of a section, `(` a call, `)` its answer, `/` that it
failed without effect, `?` that an exception left it unknown. Standard library only: it runs inside targets.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from chaos.child.ack import ack_text
from chaos.child.lean import Any, final
from chaos.child.values import encode

__all__ = ["Answered", "Witness"]


@final
class Witness:
    """One worker's. Calling it acknowledges a value: `witness(value)`.

    Attributes:
        number: the worker's, from 0.
        life: how often it was started before.
    """

    def __init__(self, number: int, life: int = 0) -> None:
        self.number, self.life = number, life
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

        An exception that leaves the block makes the outcome unknown; set `.failed` when it certainly had no effect.
        """
        self._calls += 1
        number = self._calls
        ack_text("(" + encode([number, name, argument, key]))
        answered = Answered()
        try:
            yield answered
        except BaseException as error:
            ack_text(("/" if answered.failed else "?") + encode([number, type(error).__name__]))
            raise
        ack_text("/" + encode([number, None]) if answered.failed else ")" + encode([number, answered.result]))


@final
class Answered:
    """Takes an operation's result, or that it failed: that it had no effect and never will."""

    result: Any = None
    failed: bool = False
