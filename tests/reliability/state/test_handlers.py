"""A signal handler (as well: a `__del__`) that comes in the middle of what its own thread does with a store.

It gets what it asks for, or is told at once why not; it never waits for the thread that it has interrupted, and neither
of the two loses or damages anything. It is made to come at one line that is run after the other (where there are many
pairs of what is interrupted and what is asked for, at samples of them), in a child that is killed when it stands still.
"""

import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pytest_guardrails.errors import GuardrailsError
from pytest_guardrails.reliability.durability import (
    Fence,
    FileLock,
    Lease,
    LockInterruptedError,
    lease,
    seats,
    write_atomic,
)
from pytest_guardrails.reliability.state import (
    BackendKind,
    BackendSettings,
    Mirror,
    StateStore,
    TransactionError,
    open_store,
)
from pytest_guardrails.reliability.telemetry import EventLog
from pytest_guardrails.reliability.telemetry.relay import Relay
from tests.reliability.processes import Child

WATCHED = ("pytest_guardrails", "weakref.py", "contextlib.py", "threading.py")
SETTINGS = BackendSettings(durability="process", deadline_s=5.0)
TOLD = {"ok", "TransactionError", "LockInterruptedError"}  # what a handler may hear


@cache
def is_watched(name: str) -> bool:
    return any(part in name for part in WATCHED)


class Strike:
    """Calls a function at the nth line that watched code runs; what that does is not watched."""

    def __init__(self, nth: int, act: Callable[[], object]) -> None:
        self._left, self._act = nth, act

    def __call__(self, frame: FrameType, event: str, _argument: object) -> "Strike | None":
        if not is_watched(frame.f_code.co_filename):
            return None
        if event in ("call", "line", "return"):
            self._left -= 1
            if not self._left:
                self._act()
                sys.settrace(None)  # what comes after it need not be counted
                return None
        return self

    @property
    def struck(self) -> bool:
        return self._left <= 0


class Trial:
    """A store, and what its main thread and a signal handler do with it, each alone and one in the middle of the other.

    Every work returns by how much it has raised the count.
    """

    def __init__(self, folder: Path, kind: BackendKind, *, cache: bool) -> None:
        self._path, self._kind, self._cache = folder / "store", kind, cache
        self.store, self.twin = self._open(), self._open()
        self.store.put("count", 0)
        self.lock = FileLock.beside(folder / "store")

    def _open(self) -> StateStore:
        return open_store(self._path, backend=self._kind, settings=SETTINGS, cache=self._cache)

    def read(self) -> int:
        self.store.get("count")
        self.store.history("count")
        return 0

    def update(self) -> int:
        self.store.update("count", lambda value: value + 1)
        return 1

    def block(self) -> int:
        with self.store.transaction() as transaction:
            transaction.put("count", transaction.get("count") + 1)
        return 1

    def roll_back(self) -> int:
        with suppress(ZeroDivisionError), self.store.transaction() as transaction:
            transaction.put("count", 1 // 0)
        return 0

    def prune(self) -> int:
        self.store.prune()
        return 0

    def close(self) -> int:
        self.store.close()
        return 0

    def reopen(self) -> int:
        self.close()
        return self.update()

    def look(self) -> int:
        with self._open() as store:
            store.get("count")
        return 0

    def elsewhere(self) -> int:
        self.twin.update("count", lambda value: value + 1)
        return 1

    def check(self, expected: int) -> None:
        with self._open() as fresh:
            assert [store.get("count") for store in (self.store, self.twin, fresh)] == [expected] * 3
            assert fresh.incidents() == []
        assert self.lock.held is None
        thread = threading.Thread(target=lambda: self.lock.acquire(deadline_s=0.0))  # it ends, and so does the holding
        thread.start()
        thread.join()


def strike_everywhere(
    trial: Trial, outer: str, inner: str, say: Callable[[str], None], step: int, first: int = 1
) -> Counter[str]:
    heard: Counter[str] = Counter()
    expected = 0

    def handle(_number: int, _frame: object) -> None:
        nonlocal expected
        try:
            expected += getattr(trial, inner)()
            heard["ok"] += 1
        except GuardrailsError as error:
            heard[type(error).__name__] += 1

    signal.signal(signal.SIGUSR1, handle)
    for nth in count(first, step):
        say(f"line {nth}")
        strike = Strike(nth, lambda: signal.raise_signal(signal.SIGUSR1))
        sys.settrace(strike)
        try:
            done = getattr(trial, outer)()
        finally:
            sys.settrace(None)
        expected += done
        if not strike.struck:
            break
        if trial.store.get("count") != expected:
            raise AssertionError(f"{trial.store.get('count')} instead of {expected} after a strike at line {nth}")
    trial.check(expected)
    return heard


def outcome(child: Child) -> Counter[str]:
    """What the handler heard; fails when the child stands still."""
    last = "the beginning"
    while True:
        try:
            line = child.line()
        except AssertionError as error:
            child.kill()
            raise AssertionError(f"{error}, at {last}") from None
        if line == "over":
            heard: Counter[str] = child.result()
            return heard
        last = line


INNER = ["read", "update", "block", "prune", "reopen", "look", "elsewhere"]
OUTER = ["read", "update", "block", "roll_back", "prune", "reopen", "look", "elsewhere"]


@pytest.mark.slow
@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize("kind", ["sqlite", "json"])
def test_a_handler_that_uses_the_store_gets_on_or_is_told_wherever_it_comes(
    tmp_path: Path, kind: BackendKind, outer: str, inner: str
) -> None:
    def run(say: Callable[[str], None]) -> Counter[str]:
        first = 1 + 3 * INNER.index(inner)  # the seven together come at each third line
        heard = strike_everywhere(Trial(tmp_path, kind, cache=True), outer, inner, say, step=21, first=first)
        say("over")
        return heard

    heard = outcome(Child(run))
    assert heard["ok"]
    assert set(heard) <= TOLD


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "json"])
def test_a_handler_reads_at_every_line_of_a_commit_without_a_cache(tmp_path: Path, kind: BackendKind) -> None:
    def run(say: Callable[[str], None]) -> Counter[str]:
        heard = strike_everywhere(Trial(tmp_path, kind, cache=False), "update", "read", say, step=2)
        say("over")
        return heard

    assert set(outcome(Child(run))) == {"ok"}


@pytest.mark.slow
def test_a_handler_commits_while_a_commit_is_told_to_a_mirror_and_a_relay(tmp_path: Path) -> None:
    class Sink:
        def write(self, events: Any) -> None:
            pass

        def close(self) -> None:
            pass

    def run(say: Callable[[str], None]) -> Counter[str]:
        trial = Trial(tmp_path, "sqlite", cache=True)
        Mirror(trial.store, tmp_path / "mirror.json", interval_s=0.0)
        with Relay(EventLog(trial.store), Sink(), name="relay"):
            heard = strike_everywhere(trial, "update", "update", say, step=7)
        assert trial.store.after_commit_failures == 0
        say("over")
        return heard

    heard = outcome(Child(run))
    assert heard["ok"]
    assert set(heard) <= TOLD


@pytest.mark.slow
def test_a_handler_takes_a_lock_or_is_told_wherever_it_comes(tmp_path: Path) -> None:
    def run(say: Callable[[str], None]) -> Counter[str]:
        heard: Counter[str] = Counter()
        lock = FileLock(tmp_path / "lock", deadline_s=5.0)

        def handle(_number: int, _frame: object) -> None:
            try:
                with FileLock(tmp_path / "lock", deadline_s=5.0):
                    heard["ok"] += 1
            except GuardrailsError as error:
                heard[type(error).__name__] += 1

        signal.signal(signal.SIGUSR1, handle)
        for nth in count(1):
            say(f"line {nth}")
            strike = Strike(nth, lambda: signal.raise_signal(signal.SIGUSR1))
            sys.settrace(strike)
            with lock:
                pass
            sys.settrace(None)
            idle = lock._seat._idle
            assert len(set(map(id, idle))) == len(idle), f"two would get one pair of descriptors, after line {nth}"
            assert lock.held is None
            if not strike.struck:
                break
        say("over")
        return heard

    heard = outcome(Child(run))
    assert heard["ok"]
    assert heard["LockInterruptedError"]
    assert set(heard) <= TOLD


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    sys.settrace(None)


def _find(found: list[seats.Seat], path: str) -> None:
    found.append(seats.seat_for(path))


def test_one_path_has_one_seat_whatever_comes_in_between(folder: Path) -> None:
    for nth in count(1):
        path = str(folder / str(nth))
        found: list[seats.Seat] = []
        strike = Strike(nth, partial(_find, found, path))
        sys.settrace(strike)
        seat = seats.seat_for(path)
        sys.settrace(None)
        if not strike.struck:
            break
        assert found == [seat]
    assert nth > 5


def test_two_leases_that_one_thread_acquires_in_each_other_do_not_get_one_token(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = Lease(folder / "lease", ttl_s=60.0), Lease(folder / "lease", ttl_s=60.0)

    def write_interrupted(*arguments: Any, **named: Any) -> None:
        monkeypatch.setattr(lease, "write_atomic", write_atomic)
        with pytest.raises(LockInterruptedError, match="set a flag"):
            other.acquire()
        write_atomic(*arguments, **named)

    monkeypatch.setattr(lease, "write_atomic", write_interrupted)
    assert mine.acquire() == 1
    mine.check()
    mine.release()
    assert other.acquire() == 2


def test_no_other_token_is_let_in_by_a_handler_either(folder: Path) -> None:
    fence = Fence(folder / "fence")
    with fence.guard(1):
        with fence.guard(1):
            pass
        with pytest.raises(LockInterruptedError), Fence(folder / "fence").guard(2):
            pytest.fail("two tokens write at once")
    with fence.guard(2):
        pass


@pytest.mark.parametrize("kind", ["sqlite", "json"])
def test_a_store_is_not_used_by_who_is_in_the_middle_of_its_clean_up(
    folder: Path, kind: BackendKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(folder / "store", backend=kind, settings=SETTINGS) as store:
        store.put("key", 1)
        refused: list[str] = []
        attempts: list[Callable[[], object]] = [
            lambda: store.put("key", 2),
            store.prune,
            lambda: open_store(folder / "store", backend=kind),
        ]

        def interrupted(self: FileLock, note: str) -> bool:
            if note == "prune":
                for attempt in attempts:
                    with pytest.raises(TransactionError, match="sets a flag"):
                        attempt()
                    refused.append(note)
                assert store.get("key") == 1
            return sign(self, note)

        sign = FileLock.sign
        monkeypatch.setattr(FileLock, "sign", interrupted)
        store.prune()
        assert len(refused) == 3
        store.put("key", 3)
        assert StateStore(store.backend).get("key") == 3
