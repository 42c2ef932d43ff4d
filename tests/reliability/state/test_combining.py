"""Threads that write at the same time share a commit: each change once, each error where it belongs."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_guardrails.errors import DeadlineError, StorageError
from pytest_guardrails.reliability.durability import DurabilityUnknownError, LockDeadlineError
from pytest_guardrails.reliability.state import (
    BackendKind,
    BackendSettings,
    StateStore,
    VersionConflictError,
    open_store,
)
from tests.reliability.processes import Child

THREADS = 6
PATIENCE_S = 60.0


@pytest.fixture(params=["sqlite", "json"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateStore]:
    kind: BackendKind = request.param
    with open_store(tmp_path / "store", backend=kind, settings=BackendSettings(durability="process")) as opened:
        yield opened


class Together:
    """Threads whose writes wait in the queue while the first one is held inside its own work."""

    def __init__(self, store: StateStore) -> None:
        self.store = store
        self.errors: dict[str, BaseException] = {}
        self._inside, self._go_on = threading.Event(), threading.Event()
        self._threads = [self._thread("first", lambda: store.update("first", self._hold))]
        assert self._inside.wait(PATIENCE_S)

    def _hold(self, _: Any) -> int:
        self._inside.set()
        assert self._go_on.wait(PATIENCE_S)
        return 1

    def add(self, name: str, write: Callable[[], object]) -> None:
        """A thread that writes; it is in the queue when this returns."""
        queue = self.store._combiner._queue  # what this file is about
        waiting = len(queue)
        self.begin(name, write)
        while len(queue) == waiting:
            os.sched_yield()

    def begin(self, name: str, write: Callable[[], object]) -> None:
        """A thread that writes, and may be done already when this returns."""
        self._threads.append(self._thread(name, write))

    def go_on(self) -> None:
        """The first thread is held no longer."""
        self._go_on.set()

    def finish(self) -> None:
        self.go_on()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    def _thread(self, name: str, write: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            try:
                write()
            except BaseException as error:  # noqa: BLE001 - handed to the test
                self.errors[name] = error

        thread = threading.Thread(target=run)
        thread.start()
        return thread


def _commits(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often the backend was asked to commit: one entry each."""
    made: list[int] = []
    name = "flush" if hasattr(store.backend, "flush") else "replace"
    real = getattr(store.backend, name)

    def counted(*arguments: Any) -> Any:
        made.append(1)
        return real(*arguments)

    monkeypatch.setattr(store.backend, name, counted)
    return made


def test_writers_that_wait_share_one_commit(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = _commits(store, monkeypatch)
    together = Together(store)
    for number in range(THREADS):
        together.add(str(number), lambda: store.update("count", lambda count: count + 1, default=0))
    together.finish()
    assert (store.get("count"), together.errors, len(commits)) == (THREADS, {}, 1)


def test_each_of_a_group_is_a_transaction_with_its_own_version(store: StateStore) -> None:
    together = Together(store)
    for number in range(3):
        together.add(str(number), lambda number=number: store.put("key", number))  # type: ignore[misc]
    together.finish()
    assert [entry.value for entry in store.history("key")] == [0, 1, 2]
    versions = [entry.version for entry in store.history("key")]
    assert versions == list(range(versions[0], versions[0] + 3))
    assert len({record.id for record in store.transactions()}) == 4


def test_who_fails_in_a_group_fails_alone(store: StateStore) -> None:
    together = Together(store)
    together.add("good", lambda: store.put("good", 1))
    together.add("conflict", lambda: store.put("good", 2, expected_version=99))
    together.add("broken", lambda: store.update("good", lambda _: 1 // 0))
    together.add("late", lambda: store.put("late", 3))
    together.finish()
    assert {name: type(error) for name, error in together.errors.items()} == {
        "conflict": VersionConflictError,
        "broken": ZeroDivisionError,
    }
    assert (store.get("good"), store.get("late")) == (1, 3)


def test_a_refused_commit_is_refused_to_the_whole_group(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("before", 1)
    version = store.version()

    def refuse(*_: object) -> None:
        raise StorageError("no")

    together = Together(store)
    together.add("second", lambda: store.put("second", 2))
    monkeypatch.setattr(store.backend, "flush" if hasattr(store.backend, "flush") else "replace", refuse)
    together.finish()
    monkeypatch.undo()
    assert {name: type(error) for name, error in together.errors.items()} == {
        "first": StorageError,
        "second": StorageError,
    }
    assert together.errors["first"] is not together.errors["second"]
    assert (store.get("first"), store.get("second"), store.version()) == (None, None, version)


def test_a_value_that_others_of_its_group_saw_is_forgotten_when_it_is_refused(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StorageError("no")

    together = Together(store)
    together.add("writer", lambda: store.put("key", "refused"))
    together.add("reader", lambda: store.update("key", lambda seen: f"after {seen}"))
    monkeypatch.setattr(store.backend, "flush" if hasattr(store.backend, "flush") else "replace", refuse)
    together.finish()
    monkeypatch.undo()
    assert set(together.errors) == {"first", "writer", "reader"}
    store.put("other", 1)
    store.put("key", "stored")  # with the version that the refused one would have had
    assert store.get("key") == "stored"


def test_work_that_ends_its_thread_ends_no_other(store: StateStore) -> None:
    together = Together(store)

    def leave(_: object) -> None:
        raise SystemExit(3)

    together.add("good", lambda: store.update("count", lambda count: count + 1, default=0))
    together.add("leaving", lambda: store.update("count", leave))
    together.add("also good", lambda: store.update("count", lambda count: count + 1, default=0))
    together.finish()
    assert store.get("count") == 2
    assert {name: type(error) for name, error in together.errors.items()} == {"leaving": SystemExit}


def _leave(_number: int, _frame: object) -> None:
    sys.exit(143)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_work_of_others_is_done_when_the_thread_at_it_is_interrupted(store: StateStore, number: int) -> None:
    queue = store._combiner._queue
    threads: list[threading.Thread] = []
    rounds: list[int] = []

    def add(change: Callable[[int], int]) -> None:
        waiting = len(queue)
        threads.append(threading.Thread(target=lambda: store.update("count", change, default=0)))
        threads[-1].start()
        while len(queue) == waiting:
            os.sched_yield()

    def interrupted_once(count: int) -> int:
        rounds.append(count)
        if len(rounds) == 1:
            signal.raise_signal(number)
        return count + 1

    def first(_: object) -> int:
        add(lambda count: count + 1)
        add(interrupted_once)
        add(lambda count: count + 1)
        return 1

    before = signal.signal(signal.SIGTERM, _leave)
    try:
        with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit):
            store.update("first", first)
    finally:
        signal.signal(signal.SIGTERM, before)
    for thread in threads:
        thread.join(PATIENCE_S)
    assert (store.get("count"), store.get("first")) == (3, None)


def test_a_writer_waits_for_other_threads_no_longer_than_its_deadline(tmp_path: Path) -> None:
    with open_store(tmp_path / "store", settings=BackendSettings(durability="process", deadline_s=0.05)) as store:
        together = Together(store)
        with pytest.raises(DeadlineError):
            store.put("late", 1)
        together.finish()
        assert (store.get("late"), store.get("first")) == (None, 1)


def test_a_child_forked_while_threads_write_writes_as_well(store: StateStore) -> None:
    lead = store._combiner._lead
    lead.acquire()  # as another thread has it that writes at the moment of the fork
    try:
        child = Child(lambda _: store.put("child", 1))
    finally:
        lead.release()
    child.result()
    assert store.get("child") == 1


def test_no_update_of_many_threads_is_lost(store: StateStore) -> None:
    def count() -> None:
        for _ in range(20):
            store.update("count", lambda count: count + 1, default=0)

    threads = [threading.Thread(target=count) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert store.get("count") == THREADS * 20
    assert store.version() == THREADS * 20


@pytest.mark.parametrize("taken", [True, False])
def test_who_waits_too_long_hears_whether_another_thread_is_at_its_change(store: StateStore, taken: bool) -> None:
    lead, told, at_it = store._combiner._lead, threading.Event(), threading.Event()
    said: list[type[BaseException]] = []

    class Lead:
        """Lets the thread "late" wait in vain: until another one is at its change, or not at all."""

        release = lead.release

        @staticmethod
        def acquire(blocking: bool = True, timeout: float = -1) -> bool:
            if threading.current_thread().name != "late":
                return lead.acquire(blocking, timeout)
            if blocking and taken:
                together.go_on()
                assert at_it.wait(PATIENCE_S)
            return False

    def slow(_: Any) -> int:
        at_it.set()
        assert told.wait(PATIENCE_S)
        return 1

    def write() -> None:
        threading.current_thread().name = "late"
        try:
            store.update("late", slow)
        except Exception as error:
            said.append(type(error))
            told.set()
            raise

    together = Together(store)
    store._combiner._lead = Lead()  # type: ignore[assignment]
    together.begin("late", write)
    assert told.wait(PATIENCE_S)
    together.finish()
    assert said == [DurabilityUnknownError if taken else LockDeadlineError]
    assert store.get("late") == (1 if taken else None)
