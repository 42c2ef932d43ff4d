"""A second session inside a session of the same thread, and a child that is forked inside one, get nowhere."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.state import (
    BackendKind,
    BackendSettings,
    StateStore,
    TransactionError,
    TransactionStatus,
    open_store,
)
from tests.reliability.clocks import MovedClock
from tests.reliability.processes import Child

Say = Callable[[str], None]


@pytest.fixture(params=["sqlite", "json"])
def kind(request: pytest.FixtureRequest) -> BackendKind:
    found: BackendKind = request.param
    return found


@pytest.fixture
def store(tmp_path: Path, kind: BackendKind) -> Iterator[StateStore]:
    with open_store(tmp_path / "store", backend=kind) as opened:
        opened.put("key", 0)
        yield opened


def test_a_transaction_inside_one_of_another_object_is_refused(
    store: StateStore, tmp_path: Path, kind: BackendKind
) -> None:
    with open_store(tmp_path / "store", backend=kind) as other, store.transaction() as transaction:
        transaction.put("key", 1)
        with pytest.raises(TransactionError, match="do not nest"):
            other.put("other", 1)
        with pytest.raises(TransactionError, match="do not nest"), other.transaction():
            pass
        assert other.get("key") == 0
    assert (store.get("key"), store.get("other")) == (1, None)


def test_nobody_writes_inside_a_snapshot(store: StateStore) -> None:
    with store.snapshot() as entries:
        with pytest.raises(TransactionError, match="snapshot"):
            store.put("key", 1)
        with pytest.raises(TransactionError, match="snapshot"):
            store.prune()
        assert entries["key"][1] == store.get("key") == 0


def test_a_store_is_not_closed_in_the_middle_of_its_transaction(tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store:
        with store.transaction() as transaction:
            transaction.put("key", 1)
            with pytest.raises(TransactionError, match="do not nest"):
                store.close()
        assert store.get("key") == 1


def test_who_interrupts_a_thread_while_it_commits_can_not_write(tmp_path: Path, kind: BackendKind) -> None:
    refused: list[str] = []
    opened: list[StateStore] = []

    class Interrupting(MovedClock):
        """Asked for the time by a commit, it does what a signal handler would do."""

        def wall(self) -> float:
            for mine in opened:
                with pytest.raises(TransactionError) as caught:
                    mine.update("key", lambda value: value + 10)
                refused.append(str(caught.value))
            return super().wall()

    settings = BackendSettings(clock=Interrupting())
    with open_store(tmp_path / "store", backend=kind, settings=settings) as mine:
        mine.put("key", 0)
        opened.append(mine)
        with mine.transaction() as transaction:
            transaction.put("key", transaction.get("key") + 1)
        mine.update("key", lambda value: value + 1)
        opened.clear()
        assert mine.get("key") == 2
    with open_store(tmp_path / "store", backend=kind) as mine:
        assert (mine.get("key"), mine.incidents()) == (2, [])
    assert len(refused) >= 2


def test_a_child_that_leaves_the_block_it_was_forked_in_commits_nothing(store: StateStore) -> None:
    block = store.transaction()
    transaction = block.__enter__()
    transaction.put("key", 1)

    def leave(say: Say) -> str:
        with pytest.raises(ConfigurationError) as caught:
            transaction.put("child", 1)
            block.__exit__(None, None, None)
        return str(caught.value)

    assert "open the store anew" in Child(leave).result()
    block.__exit__(None, None, None)
    assert (store.get("key"), store.get("child")) == (1, None)


def test_an_exception_in_a_child_that_was_forked_in_a_block_waits_for_nobody(store: StateStore) -> None:
    block = store.transaction()
    block.__enter__().put("key", 1)

    def leave(say: Say) -> None:
        error = KeyError("mine")
        with suppress(KeyError):
            block.__exit__(KeyError, error, None)
        say("left")

    assert Child(leave).line() == "left"
    block.__exit__(None, None, None)
    assert store.get("key") == 1
    assert TransactionStatus.ROLLED_BACK not in {line.status for line in store.transactions()}


def test_a_child_that_was_forked_in_a_block_may_open_the_store_anew_and_is_told_at_once_if_it_can_not_write(
    store: StateStore, tmp_path: Path, kind: BackendKind
) -> None:
    with store.transaction() as transaction:
        transaction.put("key", 1)

        def use(say: Say) -> object:
            say("forked")
            with open_store(tmp_path / "store", backend=kind) as anew:
                say(str(anew.get("key")))
                try:
                    return anew.update("key", lambda value: value + 1)
                except ConfigurationError as error:
                    return str(error)

        child = Child(use)
        assert child.line() == "forked"
    assert child.line() == "1"
    outcome = child.result()
    assert "spawn the process" in outcome if kind == "sqlite" else outcome == 2
    assert store.get("key") == (1 if kind == "sqlite" else 2)
