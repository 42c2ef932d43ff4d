"""`FileLock` among processes: exclusion, fairness, forks, and holders that die."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_guardrails.reliability.durability import FileLock, LockDeadlineError
from tests.reliability.processes import Child

Say = Callable[[str], None]


def test_no_two_processes_are_inside_at_once(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")

    def count(say: Say) -> None:
        lock = FileLock.beside(counter)
        for _ in range(200):
            with lock:
                counter.write_text(str(int(counter.read_text()) + 1))

    for child in [Child(count) for _ in range(4)]:
        child.result()
    assert counter.read_text() == "800"


@pytest.mark.slow
def test_four_processes_get_like_shares(tmp_path: Path) -> None:
    def hold(say: Say) -> int:
        lock, entered = FileLock(tmp_path / "lock"), 0
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            with lock:
                entered += 1
                free = time.monotonic() + 0.001
                while time.monotonic() < free:
                    pass
        return entered

    shares = [child.result() for child in [Child(hold) for _ in range(4)]]
    assert min(shares) >= 0.5 * max(shares), shares  # without the turnstile one process has nearly all


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    def hold(say: Say) -> None:
        with FileLock(tmp_path / "lock"):
            say("held")
            os.read(os.pipe()[0], 1)

    child = Child(hold)
    assert child.line() == "held"
    lock = FileLock(tmp_path / "lock")
    with pytest.raises(LockDeadlineError, match=str(child.pid)):
        lock.acquire(deadline_s=0)
    child.kill()
    lock.acquire(deadline_s=20)
    lock.release()


def test_a_killed_waiter_blocks_nobody(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")

    def wait(say: Say) -> None:
        mine = FileLock(tmp_path / "lock", deadline_s=None)
        say("waiting")
        mine.acquire()

    with lock:
        child = Child(wait)
        child.line()
        child.kill()
    lock.acquire(deadline_s=20)
    lock.release()


def test_a_forked_child_holds_nothing_and_releases_nothing(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")

    def inherit(say: Say) -> tuple[object, bool]:
        lock.__exit__(None, None, None)
        try:
            lock.acquire(deadline_s=0)
        except LockDeadlineError:
            return lock.held, False
        return lock.held, True

    with lock:
        assert Child(inherit).result() == (None, False)
        assert Child(inherit).result() == (None, False)


def test_a_forked_child_does_not_prolong_its_parents_lock(tmp_path: Path) -> None:
    def parent(say: Say) -> None:
        FileLock(tmp_path / "lock").acquire()
        if not os.fork():
            say(str(os.getpid()))
            time.sleep(60)
            os._exit(0)
        os.read(os.pipe()[0], 1)

    child = Child(parent)
    grandchild = int(child.line())
    child.kill()
    try:
        FileLock(tmp_path / "lock").acquire(deadline_s=20)
    finally:
        os.kill(grandchild, 9)


def test_a_forked_child_does_not_prolong_the_lock_of_another_thread(tmp_path: Path) -> None:
    def parent(say: Say) -> None:
        held = threading.Event()

        def hold() -> None:
            FileLock(tmp_path / "lock").acquire()
            held.set()
            threading.Event().wait()

        threading.Thread(target=hold, daemon=True).start()
        assert held.wait(20)
        if not os.fork():
            say(str(os.getpid()))
            time.sleep(60)
            os._exit(0)
        os.read(os.pipe()[0], 1)

    child = Child(parent)
    grandchild = int(child.line())
    child.kill()
    try:
        FileLock(tmp_path / "lock").acquire(deadline_s=20)
    finally:
        os.kill(grandchild, 9)


def test_a_child_forked_while_a_lock_was_waited_for_does_not_prolong_it(tmp_path: Path) -> None:
    def parent(say: Say) -> None:
        lock = FileLock(tmp_path / "lock")

        def take() -> None:
            lock.acquire()
            say("taken")
            threading.Event().wait()

        threading.Thread(target=take, daemon=True).start()
        while not lock._claims:
            time.sleep(0.001)
        if not os.fork():
            say(str(os.getpid()))
            time.sleep(60)
            os._exit(0)
        os.read(os.pipe()[0], 1)

    go_reader, go_writer = os.pipe()

    def hold(say: Say) -> None:
        with FileLock(tmp_path / "lock"):
            say("held")
            os.read(go_reader, 1)

    holder = Child(hold)
    holder.line()
    child = Child(parent)
    grandchild = int(child.line())
    os.write(go_writer, b"x")
    holder.result()
    assert child.line() == "taken"
    child.kill()
    try:
        FileLock(tmp_path / "lock").acquire(deadline_s=20)
    finally:
        os.kill(grandchild, 9)


def test_a_program_started_by_the_holder_inherits_nothing(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    with lock:
        for descriptor in range(3, 64):
            try:
                path = os.readlink(f"/proc/self/fd/{descriptor}")
            except OSError:
                continue
            assert not path.startswith(str(tmp_path)) or not os.get_inheritable(descriptor)
