"""What a wait for a `FileLock` leaves behind when its caller gives up: nothing that others could notice."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_guardrails.reliability.durability import FileLock, LockDeadlineError
from pytest_guardrails.reliability.durability.kernel import Mode
from tests.reliability.durability.test_locks import Thread, enter, turnstile_is_free, wait_until
from tests.reliability.processes import Child

Say = Callable[[str], None]


def give_up(lock: FileLock, mode: Mode = "exclusive") -> None:
    """Wait in vain, and not only until the helper thread has begun to."""

    def wait_in_vain() -> None:
        with pytest.raises(LockDeadlineError):
            lock.acquire(mode, deadline_s=0.02)

    Thread(wait_in_vain).done()


def helpers() -> int:
    return sum(thread.name == "file-lock-wait" for thread in threading.enumerate())


def test_a_writer_that_gave_up_keeps_no_reader_from_joining_the_others(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    with lock.shared():
        give_up(lock)
        Thread(lambda: enter(lock, "shared")).done()


def test_nor_does_one_in_another_process(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")

    def write(say: Say) -> None:
        give_up(FileLock(tmp_path / "lock"))
        say("gave up")
        os.read(os.pipe()[0], 1)

    with lock.shared():
        child = Child(write)
        assert child.line() == "gave up"
        Thread(lambda: enter(lock, "shared")).done()
    child.kill()


def test_a_writer_that_comes_again_is_not_starved_by_later_readers(tmp_path: Path) -> None:
    lock, late = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    order: list[str] = []

    def enter_as(through: FileLock, mode: Mode, name: str) -> None:
        through.acquire(mode)
        order.append(name)
        through.release()

    with lock.shared():
        writer = Thread(lambda: lock.acquire(deadline_s=0.01))
        with pytest.raises(LockDeadlineError):
            writer.done()
        wait_until(lambda: turnstile_is_free(lock))
        again = Thread(lambda: enter_as(lock, "exclusive", "writer"))
        wait_until(lambda: bool(lock._claims) and not turnstile_is_free(lock))
        reader = Thread(lambda: enter_as(late, "shared", "reader"))
        wait_until(lambda: bool(late._claims))
    again.done()
    reader.done()
    assert order == ["writer", "reader"]


def test_a_writer_in_the_queue_behind_another_keeps_its_place_when_it_comes_again(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")

    def write(say: Say) -> None:
        with FileLock(tmp_path / "lock"):
            say("has it")

    with lock.shared():
        first = Child(write)
        wait_until(lambda: not turnstile_is_free(lock))
        give_up(lock)
        second = Thread(lambda: enter(lock, "exclusive"))
        wait_until(lambda: bool(lock._claims))
    assert first.line() == "has it"
    second.done()
    first.result()


@pytest.mark.slow
@pytest.mark.parametrize("given_up", ["exclusive", "shared"])
@pytest.mark.parametrize("mode", ["exclusive", "shared"])
def test_a_lock_that_was_let_go_can_be_had_at_once(tmp_path: Path, given_up: Mode, mode: Mode) -> None:
    lock = FileLock(tmp_path / "lock")
    for _ in range(25):
        with lock:
            give_up(lock, given_up)
        lock.acquire(mode, deadline_s=0)  # the kernel may have granted it to the wait that was given up
        lock.release()


def test_whoever_tries_again_and_again_starts_no_thread_each_time(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock").shared():
        give_up(FileLock(tmp_path / "lock"))
        before = helpers()
        for _ in range(20):
            give_up(FileLock(tmp_path / "lock"))  # an object of its own, as in a function that is called again
        assert helpers() <= before + 2
