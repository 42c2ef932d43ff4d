"""An exception out of a signal handler, at each call and each return on the way into a `FileLock` and out of it."""

import contextlib
import gc
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pytest_guardrails.reliability.durability import FileLock, LockDeadlineError, locks, seats
from tests.reliability.durability.test_locks import Thread, enter, wait_until
from tests.reliability.durability.test_locks_given_up import give_up

_FILES = {locks.__file__, seats.__file__, contextlib.__file__}
# Up to Python 3.10, what a trace function raises where a generator goes on ends it without its `finally`.
_LOSES_RESUMED = sys.version_info < (3, 11)


@pytest.fixture(autouse=True)
def _quick_collections() -> Iterator[None]:
    gc.freeze()
    yield
    gc.unfreeze()


class Interruption(BaseException):
    """What the handler raises."""


def interrupted(moment: int, function: Callable[[], object]) -> bool:
    """Run it, and raise at that event of our code; False when it has fewer."""
    left = moment

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in _FILES:
            return None
        is_yield = frame.f_code.co_flags & inspect.CO_GENERATOR and (event == "return" or _LOSES_RESUMED)
        is_swallowed = any(one and one.f_code.co_name == "__del__" for one in (frame, frame.f_back))
        if event in ("call", "return") and not is_yield and not is_swallowed:  # where the interpreter looks for signals
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise Interruption
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    except Interruption:
        return True
    finally:
        sys.settrace(before)
    return False


def at_each_moment(lock: FileLock, prepare: Callable[[], object], enter_block: Callable[[], object]) -> int:
    """How many moments there were; after each the lock can be had by another thread."""
    moment = 0
    while True:
        holder = prepare()
        came = interrupted(moment, enter_block)
        gc.collect()
        assert lock.held is None
        if isinstance(holder, threading.Event):
            holder.set()
        Thread(lambda: enter(lock, "exclusive")).done()
        assert not lock._claims
        if not came:
            return moment
        moment += 1


def held_by_another(lock: FileLock) -> threading.Event:
    """Another thread has it, until the event."""
    has_it, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            has_it.set()
            let_go.wait(20)

    Thread(hold)
    assert has_it.wait(20)
    return let_go


def test_a_free_lock(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")

    def block() -> None:
        with lock.exclusive(), lock.shared():
            pass

    assert at_each_moment(lock, lambda: None, block) > 10


@pytest.mark.slow
@pytest.mark.parametrize("before", [False, True])
def test_a_wait_in_vain(tmp_path: Path, before: bool) -> None:
    lock = FileLock(tmp_path / "lock")

    def prepare() -> threading.Event:
        holder = held_by_another(lock)
        if before:
            give_up(lock)
        return holder

    def block() -> None:
        with pytest.raises(LockDeadlineError), lock.exclusive(deadline_s=0.005):
            pass

    assert at_each_moment(lock, prepare, block) > 10


@pytest.mark.slow
def test_a_wait_that_succeeds(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")

    def prepare() -> threading.Event:
        holder = held_by_another(lock)
        done = threading.Event()

        def let_go() -> None:
            wait_until(lambda: bool(lock._claims) or done.is_set())
            holder.set()

        Thread(let_go)
        return done

    def block() -> None:
        with lock.exclusive(deadline_s=20):
            pass

    assert at_each_moment(lock, prepare, block) > 10
