"""What is called after a commit can't make the commit look refused, nor keep others from being called."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_guardrails.reliability.state import BackendKind, StateStore, TransactionStatus, open_store


@pytest.fixture(params=["sqlite", "json"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateStore]:
    kind: BackendKind = request.param
    with open_store(tmp_path / "store", backend=kind) as opened:
        yield opened


def put(store: StateStore) -> None:
    store.put("key", 1)


def put_in_a_block(store: StateStore) -> None:
    with store.transaction() as transaction:
        transaction.put("key", 1)


def raising(error: BaseException) -> Callable[[StateStore], None]:
    def call(_store: StateStore) -> None:
        raise error

    return call


@pytest.mark.parametrize("write", [put, put_in_a_block])
def test_an_error_after_the_commit_is_told_apart_from_it(
    store: StateStore, write: Callable[[StateStore], None], caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[object] = []
    calls = [raising(OSError("no mirror")), raising(ValueError("no view"))]
    store.after_commit += [*calls, lambda told: seen.append(told.get("key"))]
    with caplog.at_level(logging.ERROR, "pytest_guardrails"):
        write(store)
    assert seen == [1]
    assert store.after_commit_failures == 2
    assert [record.exc_info and str(record.exc_info[1]) for record in caplog.records] == ["no mirror", "no view"]
    assert all("the commit holds" in record.getMessage() for record in caplog.records)
    assert [line.status for line in store.transactions()] == [TransactionStatus.COMMITTED]


@pytest.mark.parametrize("write", [put, put_in_a_block])
def test_an_interruption_after_the_commit_comes_out_when_all_were_called(
    store: StateStore, write: Callable[[StateStore], None]
) -> None:
    seen: list[object] = []
    store.after_commit += [raising(KeyboardInterrupt()), lambda told: seen.append(told.get("key"))]
    with pytest.raises(KeyboardInterrupt):
        write(store)
    assert seen == [1]
    assert store.after_commit_failures == 0
    assert [line.status for line in store.transactions()] == [TransactionStatus.COMMITTED]


def test_who_was_called_can_take_itself_out(store: StateStore) -> None:
    called: list[str] = []

    def once(told: StateStore) -> None:
        told.after_commit.remove(once)
        called.append("once")

    store.after_commit += [once, lambda _: called.append("each")]
    put(store)
    put(store)
    assert called == ["once", "each", "each"]
