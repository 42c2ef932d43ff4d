"""One thread has one session of a store at a time, through whatever object; a forked child has none of its parent's.

A store's lock is re-entrant, so it does not keep a thread from beginning a second session inside its first: in a signal
handler or a `__del__`, through another object for the same path, inside a snapshot. What the inner one commits the
outer one would write over, or find in the middle of its own writing. So whatever needs the lock (a session, opening,
closing, a clean-up, a recovery) is refused inside anything that has it. Reads need none, and are answered. Read
`backend.py` for sessions.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.hints import TYPE_CHECKING, NoReturn, final
from pytest_guardrails.reliability.durability import FileLock
from pytest_guardrails.reliability.state.model import TransactionError

if TYPE_CHECKING:
    from pytest_guardrails.reliability.durability.seats import Holding

__all__ = ["Stay", "alone", "check_no_session", "is_in_session", "refuse_forked"]


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.inside: set[tuple[int, str]] = set()  # process and store: a forked child finds its parent's here


_here = _OfThread()


def is_in_session(path: str) -> bool:
    """Whether this thread of this process has a session of the store at the resolved `path`."""
    return bool(_here.inside) and (os.getpid(), path) in _here.inside


def check_no_session(path: str) -> None:
    """Refuse what can't be done in the middle of a session.

    Raises:
        TransactionError: this thread has one.
    """
    if _here.inside and is_in_session(path):
        raise TransactionError(
            f"{path} is in the middle of a transaction, snapshot or other step of this thread (is this a signal "
            "handler, a __del__, or another object for the same store?): transactions do not nest, so do this after "
            "it (a handler sets a flag), or use the outer one"
        )


@final
class Stay:
    """That a thread has a store's lock, for a session or another step; whatever thread ends it.

    Begun before the lock is taken, as an interruption may come when it just was.
    """

    __slots__ = ("_inside", "_key", "_lock", "holding")

    def __init__(self, path: str, lock: FileLock) -> None:
        self._inside, self._key, self._lock = _here.inside, (os.getpid(), path), lock
        self.holding: Holding | None = None

    def begin(self) -> None:
        """To be followed by `end`, come what may."""
        self._inside.add(self._key)

    def end(self) -> None:
        """Give the lock back, if it was taken; may be repeated. A child forked inside has nothing to give back."""
        try:
            holding = self.holding or self._lock.taken()
            if holding is not None:
                self._lock.give_back(holding)
        finally:
            self._inside.discard(self._key)


@contextmanager
def alone(path: str, lock: FileLock, note: str | None) -> Iterator[None]:
    """This thread has the store's lock during the block, for a step that is no session.

    Raises:
        TransactionError: it is inside one, or in another such step.
        LockDeadlineError: others had it until the deadline.
    """
    check_no_session(path)
    stay = Stay(path, lock)
    try:
        stay.begin()
        lock.acquire(note=note)
        stay.holding = lock.taken()
        yield
    finally:
        try:
            stay.end()
        except BaseException:  # an interruption, which may come before anything was done
            stay.end()
            raise


def refuse_forked(path: str, advice: str = "open the store anew") -> NoReturn:
    """What a child that was forked inside a session is told when it goes on with it."""
    raise ConfigurationError(f"{path}: this process was forked inside a transaction, which is its parent's; {advice}")
