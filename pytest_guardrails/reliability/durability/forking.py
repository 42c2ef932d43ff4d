"""What a forked child must find open: mutexes that another thread of its parent held at the moment of the fork.

That thread is not in the child, so nobody there would ever let go. They are re-entrant: a signal handler or a `__del__`
may use the object in whose middle its own thread is. Read `seats.py` for what a fork does to file locks.
"""

import os
import threading
import weakref

from pytest_guardrails.hints import Protocol

__all__ = ["HasMutex", "renew_in_children"]


class HasMutex(Protocol):
    """An object that guards its own memory."""

    _mutex: "threading.RLock"


_owners: "weakref.WeakSet[HasMutex]" = weakref.WeakSet()


def renew_in_children(owner: HasMutex) -> None:
    """Give `owner` a fresh mutex in each child that is forked from now on.

    What it guards must bear to be found as one thread left it in the middle of a change, in a child or by a handler.
    """
    _owners.add(owner)


def _renew() -> None:
    for owner in list(_owners):
        owner._mutex = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
