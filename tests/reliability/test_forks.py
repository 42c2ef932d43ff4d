"""A child that is forked while threads of its parent are in the middle of something does not wait for them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from pytest_guardrails.reliability.breakers import Breaker, MemoryKeeper
from pytest_guardrails.reliability.durability.forking import HasMutex
from pytest_guardrails.reliability.loops import RecoveryManager, recovery
from pytest_guardrails.reliability.state import BackendKind, StateStore, open_store, sqlite_connections
from pytest_guardrails.reliability.state.json_file import JsonBackend
from tests.reliability.processes import Child


@pytest.fixture(params=["sqlite", "json"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateStore]:
    kind: BackendKind = request.param
    with open_store(tmp_path / "store", backend=kind) as opened:
        opened.put("key", 1)
        yield opened


def child_does(work: Callable[[], object]) -> str:
    """What a child says when it is through; fails when it is not in time."""

    def run(say: Callable[[str], None]) -> None:
        say(str(work()))

    child = Child(run)
    try:
        return child.line()
    finally:
        child.kill()


@contextmanager
def held_by_a_thread(owner: HasMutex) -> Iterator[None]:
    """By another one: this thread, and so its child, could take it again."""
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with owner._mutex:
            held.set()
            let_go.wait(30.0)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(20.0)
        yield
    finally:
        let_go.set()
        thread.join()


def test_a_store_can_be_read_and_written(store: StateStore) -> None:
    owners = [store.backend] if isinstance(store.backend, JsonBackend) else []
    with ExitStack() as held:
        for owner in owners:
            held.enter_context(held_by_a_thread(owner))
        assert child_does(lambda: store.update("key", lambda value: value + 1) + store.get("key")) == "4"
    assert store.get("key") == 2


def test_a_breaker_can_be_used() -> None:
    keeper = MemoryKeeper("service")
    breaker = Breaker(keeper)

    def fail_and_ask() -> str:
        with pytest.raises(ZeroDivisionError):
            breaker.call(lambda: 1 // 0)
        return str(breaker.call(len, "answer"))

    with held_by_a_thread(keeper):
        assert child_does(fail_and_ask) == "6"


def test_an_item_can_be_recovered(store: StateStore) -> None:
    with recovery._mutex:
        assert child_does(lambda: _recovered(store)) == "done"


def _recovered(store: StateStore) -> object:
    failures = iter([ConnectionResetError("by peer")])

    def act() -> str:
        for error in failures:
            raise error
        return "done"

    return RecoveryManager(store).run("item", act)


def test_connections_that_came_over_a_fork_are_not_closed_when_the_child_ends(tmp_path: Path) -> None:
    def end() -> bool:
        with open_store(tmp_path / "other"):
            connections = next(iter(sqlite_connections._open))
            sqlite_connections._disown()  # as after a fork in the middle of another thread's transaction
            sqlite_connections._close_idle()  # as when the interpreter ends
            return connections.closed

    assert child_does(end) == "False"
