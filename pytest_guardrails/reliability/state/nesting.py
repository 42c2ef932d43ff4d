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
from pytest_guardrails.hints import NoReturn
from pytest_guardrails.reliability.durability import FileLock
from pytest_guardrails.reliability.state.model import TransactionError

__all__ = [
    "alone",
    "check_no_session",
    "end_session",
    "enter_session",
    "is_in_session",
    "leave_session",
    "refuse_forked",
]


class _OfThread(threading.local):
    inside: frozenset[tuple[int, str]] = frozenset()  # process and store: a forked child finds its parent's here


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


def enter_session(path: str) -> None:
    """This thread has a session of the store from now on; to be followed by `leave_session`, come what may."""
    _here.inside |= {(os.getpid(), path)}


def leave_session(path: str) -> None:
    """This thread has no session of the store any more, nor has the child that was forked inside one."""
    if _here.inside:
        _here.inside -= {(os.getpid(), path)}


@contextmanager
def alone(path: str, lock: FileLock, note: str | None) -> Iterator[None]:
    """This thread has the store's lock during the block, for a step that is no session.

    Raises:
        TransactionError: it is inside one, or in another such step.
        LockDeadlineError: others had it until the deadline.
    """
    check_no_session(path)
    try:  # from here on, as an interruption may come when the lock is just taken
        enter_session(path)
        lock.acquire(note=note)
        yield
    finally:
        try:
            end_session(path, lock)
        except BaseException:  # an interruption, which may come before anything was done
            end_session(path, lock)
            raise


def end_session(path: str, lock: FileLock) -> None:
    """Release the store's lock, if this thread of this process has it, and leave the session; may be repeated."""
    try:
        if lock.held:  # a child forked inside the session holds nothing
            lock.release()
    finally:
        leave_session(path)


def refuse_forked(path: str, advice: str = "open the store anew") -> NoReturn:
    """What a child that was forked inside a session is told when it goes on with it."""
    raise ConfigurationError(f"{path}: this process was forked inside a transaction, which is its parent's; {advice}")
