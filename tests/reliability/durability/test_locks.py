"""`FileLock` among the threads of one process, and what it refuses."""

import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_guardrails.errors import ConfigurationError, StorageError
from pytest_guardrails.reliability.durability import (
    FileLock,
    LockCancelledError,
    LockDeadlineError,
    LockNotHeldError,
    LockUnsupportedError,
    kernel,
    lock_all,
    seats,
)
from pytest_guardrails.reliability.durability.kernel import Mode
from tests.reliability.clocks import MovedClock


class Thread(threading.Thread):
    """Runs a function; `done()` gives back its value or raises its error."""

    def __init__(self, function: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._function = function
        self._error: BaseException | None = None
        self.value: object = None
        self.start()

    def run(self) -> None:
        try:
            self.value = self._function()
        except BaseException as error:  # noqa: BLE001 - raised again by `done`
            self._error = error

    def done(self) -> object:
        self.join(20)
        assert not self.is_alive(), "the thread did not end"
        if self._error is not None:
            raise self._error
        return self.value


def enter(lock: FileLock, mode: Mode) -> None:
    lock.acquire(mode, deadline_s=5)
    lock.release()


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.001)


def test_another_thread_is_kept_out_until_the_release(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    order: list[str] = []

    def other() -> None:
        with lock:
            order.append("other")

    with lock:
        thread = Thread(other)
        wait_until(lambda: bool(lock._claims))
        order.append("first")
    thread.done()
    assert order == ["first", "other"]


def test_the_same_thread_enters_again_also_through_another_object(tmp_path: Path) -> None:
    lock, again = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    with lock, again, again.shared():
        assert (lock.held, again.held) == ("exclusive", "exclusive")
    assert (lock.held, again.held) == (None, None)
    assert Thread(lambda: again.acquire(deadline_s=0)).done() is None


def test_the_deadline_names_the_holder_and_what_it_does(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    with lock.exclusive(note="saving"), pytest.raises(LockDeadlineError) as caught:
        Thread(lambda: lock.acquire(deadline_s=0.01)).done()
    assert caught.value.holder is not None
    assert caught.value.holder.process.pid == os.getpid()
    assert "saving" in str(caught.value)


def test_readers_share_and_a_writer_waits_for_both(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    with lock.shared():
        Thread(lambda: enter(lock, "shared")).done()
        with pytest.raises(LockDeadlineError):
            Thread(lambda: lock.acquire(deadline_s=0.01)).done()


def test_a_waiting_writer_comes_before_later_readers(tmp_path: Path) -> None:
    lock, late = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    order: list[str] = []

    def enter_as(through: FileLock, mode: Mode, name: str) -> None:
        through.acquire(mode)
        order.append(name)
        through.release()

    with lock.shared():
        writer = Thread(lambda: enter_as(lock, "exclusive", "writer"))
        wait_until(lambda: bool(lock._claims) and not turnstile_is_free(lock))  # it waits, and does not just try
        reader = Thread(lambda: enter_as(late, "shared", "reader"))
        wait_until(lambda: bool(late._claims))
    writer.done()
    reader.done()
    assert order == ["writer", "reader"]


def turnstile_is_free(lock: FileLock) -> bool:
    descriptor = os.open(lock.path + ".turn", os.O_RDWR)
    try:
        return kernel.try_lock(descriptor, "exclusive")
    finally:
        os.close(descriptor)


def test_shared_does_not_become_exclusive(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    with lock.shared(), pytest.raises(ConfigurationError, match="release it"):
        lock.acquire()


def test_an_exception_inside_comes_out_unchanged(tmp_path: Path) -> None:
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught, FileLock(tmp_path / "lock"):
        raise error
    assert caught.value is error
    assert caught.value.__context__ is None
    assert FileLock(tmp_path / "lock").held is None


def test_a_release_too_many_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LockNotHeldError):
        FileLock(tmp_path / "lock").release()


def test_a_wait_can_be_cancelled(tmp_path: Path) -> None:
    lock, waiting = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock", deadline_s=None)
    with lock:
        thread = Thread(waiting.acquire)
        wait_until(lambda: bool(waiting._claims))
        waiting.cancel()
        with pytest.raises(LockCancelledError):
            thread.done()


def test_a_wait_that_was_given_up_does_not_keep_the_lock(tmp_path: Path) -> None:
    others = set(threading.enumerate())  # those of tests before may still be on their way out
    lock = FileLock(tmp_path / "lock")
    with lock:
        for _ in range(5):
            with pytest.raises(LockDeadlineError):
                Thread(lambda: lock.acquire(deadline_s=0.005)).done()
        mine = set(threading.enumerate()) - others
        assert sum(thread.name == "file-lock-wait" for thread in mine) <= 3
    lock.acquire(deadline_s=20)
    lock.release()


def test_a_thread_that_ends_lets_go(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    Thread(lock.acquire).done()
    lock.acquire(deadline_s=20)
    lock.release()


def test_the_lock_file_is_never_removed_replaced_or_truncated(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_bytes(b"x" * 2000)
    inode = path.stat().st_ino
    with FileLock(path):
        assert path.stat().st_size == 2000
    assert path.stat().st_ino == inode


@pytest.fixture(params=["asked by descriptor", "asked by name"])
def way_to_ask(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a lock file still has its name: as Linux tells it, and as every other kernel does."""
    if request.param == "asked by name":
        monkeypatch.setattr(seats, "read_link", lambda link: "")


@pytest.mark.usefixtures("way_to_ask")
def test_a_lock_file_that_others_removed_is_not_trusted(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    with lock:
        (tmp_path / "lock").unlink()
        fresh = FileLock(tmp_path / "other")
        assert fresh.held is None
    with lock:
        assert (tmp_path / "lock").exists()
        with pytest.raises(LockDeadlineError):
            Thread(lambda: FileLock(tmp_path / "lock").acquire(deadline_s=0)).done()


@pytest.mark.usefixtures("way_to_ask")
def test_a_lock_file_that_another_one_replaced_is_not_trusted(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    with lock:
        (tmp_path / "new").touch()
        (tmp_path / "new").replace(tmp_path / "lock")
    with FileLock(tmp_path / "lock"), pytest.raises(LockDeadlineError):
        Thread(lambda: lock.acquire(deadline_s=0)).done()


@pytest.mark.usefixtures("way_to_ask")
def test_a_lock_file_that_was_renamed_is_not_trusted(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    (tmp_path / "lock").rename(tmp_path / "other")
    with lock, FileLock(tmp_path / "other").exclusive(deadline_s=0), pytest.raises(LockDeadlineError):
        Thread(lambda: FileLock(tmp_path / "lock").acquire(deadline_s=0)).done()


@pytest.mark.usefixtures("way_to_ask")
def test_a_removed_lock_file_is_not_taken_for_one_whose_name_says_deleted(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock (deleted)")
    (tmp_path / "lock (deleted)").rename(tmp_path / "lock")
    (tmp_path / "lock").unlink()  # now Linux calls the open file by the very name that it should have
    with lock, pytest.raises(LockDeadlineError):
        Thread(lambda: FileLock(tmp_path / "lock (deleted)").acquire(deadline_s=0)).done()


def test_taking_a_lock_leaves_the_times_of_its_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = FileLock(tmp_path / "lock")
    with lock:
        pass
    asked: list[str] = []
    stat = os.stat

    def seen(path: str, **more: Any) -> os.stat_result:
        asked.append(path)
        return stat(path, **more)

    monkeypatch.setattr(os, "stat", seen)
    with lock:
        pass
    assert str(tmp_path / "lock") not in asked


@pytest.mark.usefixtures("way_to_ask")
def test_a_lock_file_that_was_moved_away_with_its_folder_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    lock = FileLock(tmp_path / "folder" / "lock")
    (tmp_path / "folder").rename(tmp_path / "elsewhere")
    (tmp_path / "folder").mkdir()
    moved = FileLock(tmp_path / "elsewhere" / "lock")
    with moved.exclusive(deadline_s=0), lock.exclusive(deadline_s=0):
        assert (tmp_path / "folder" / "lock").exists()


def test_a_lock_whose_folder_is_gone_says_so(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    lock = FileLock(tmp_path / "folder" / "lock")
    (tmp_path / "folder").rename(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match=r"folder/lock can't be taken: .*No such file"):
        lock.acquire(deadline_s=0)
    assert not (tmp_path / "folder").exists()


def test_a_kernel_without_locks_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    lock = FileLock(tmp_path / "lock")
    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(LockUnsupportedError, match="file system with locks"):
        lock.acquire()
    assert lock.held is None


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
def test_a_step_of_the_wall_clock_robs_nobody(tmp_path: Path, step_s: float) -> None:
    clock = MovedClock()
    lock = FileLock(tmp_path / "lock", clock=clock)
    with lock:
        clock.wall_s += step_s
        with pytest.raises(LockDeadlineError):
            Thread(lambda: FileLock(tmp_path / "lock", clock=clock).acquire(deadline_s=0)).done()


@pytest.mark.parametrize("deadline_s", [-0.5, float("nan"), float("inf")])
def test_a_deadline_that_is_no_duration_is_refused(tmp_path: Path, deadline_s: float) -> None:
    with pytest.raises(ConfigurationError, match="deadline_s"):
        FileLock(tmp_path / "lock").acquire(deadline_s=deadline_s)


def test_several_locks_in_any_order_never_wait_for_each_other(tmp_path: Path) -> None:
    one, two = FileLock(tmp_path / "one"), FileLock(tmp_path / "two")

    def enter_all(locks: list[FileLock]) -> None:
        for _ in range(50):
            with lock_all(locks, deadline_s=20):
                assert one.held
                assert two.held

    threads = [Thread(lambda: enter_all([one, two])), Thread(lambda: enter_all([two, one, two]))]
    for thread in threads:
        thread.done()


def test_several_locks_or_none(tmp_path: Path) -> None:
    one, two = FileLock(tmp_path / "one"), FileLock(tmp_path / "two")

    def enter_both() -> None:
        with lock_all([one, two], deadline_s=0.01):
            raise AssertionError("both were had")

    with two:
        with pytest.raises(LockDeadlineError):
            Thread(enter_both).done()
        Thread(lambda: enter(one, "exclusive")).done()


@pytest.mark.parametrize("note", ["\U0001f600" * 100, "\ud800" * 100, '"' * 100, "plain " * 100])
def test_the_holder_can_be_read_whatever_its_note_is(tmp_path: Path, note: str) -> None:
    lock = FileLock(tmp_path / "lock")
    with lock.exclusive(note=note):
        holder = lock.holder()
    assert holder is not None
    assert note.startswith(holder.note)
    assert len(holder.note) >= 20


def test_a_lock_file_that_can_no_longer_be_looked_at_is_not_kept_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = FileLock(tmp_path / "lock")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch, pytest.raises(StorageError, match="Permission denied") as caught:
        patch.setattr(seats, "read_link", lambda link: "")
        patch.setattr(os, "stat", refuse)
        lock.acquire()
    Thread(lambda: lock.acquire(deadline_s=0.0)).done()
    assert caught.value is not None  # and with it all that stood in its frames
