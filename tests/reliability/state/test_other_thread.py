"""A block that is left in another thread than it was entered in, as thread pools do with generators."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from pytest_guardrails.reliability.durability import FileLock
from pytest_guardrails.reliability.state import BackendKind, StateStore, Transaction, TransactionError, open_store
from tests.reliability.durability.test_locks import Thread, enter
from tests.reliability.processes import Child


@contextmanager
def request(store: StateStore) -> Iterator[Transaction]:
    """What such a framework is given: one transaction for each request."""
    with store.transaction() as transaction:
        yield transaction


@pytest.mark.parametrize("kind", ["sqlite", "json"])
def test_a_transaction_may_be_used_and_ended_by_other_threads(tmp_path: Path, kind: BackendKind) -> None:
    with open_store(tmp_path / "store", backend=kind) as store:
        block = request(store)
        transaction = block.__enter__()
        Thread(lambda: transaction.put("key", 1)).done()
        Thread(lambda: block.__exit__(None, None, None)).done()
        store.put("key", 2)  # here, where it was begun
        Thread(lambda: store.put("key", 3)).done()
        assert [entry.value for entry in store.history("key")] == [1, 2, 3]


@pytest.mark.parametrize("kind", ["sqlite", "json"])
def test_and_rolled_back_by_another_thread(tmp_path: Path, kind: BackendKind) -> None:
    with open_store(tmp_path / "store", backend=kind) as store:
        block = request(store)
        block.__enter__().put("key", 1)
        error = ValueError("no")
        assert not Thread(lambda: block.__exit__(ValueError, error, None)).done()  # it comes out
        assert store.get("key") is None
        store.put("key", 2)


def test_the_thread_that_began_it_is_inside_until_then(tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store:
        block = request(store)
        block.__enter__()
        with pytest.raises(TransactionError):
            store.put("key", 1)
        Thread(lambda: block.__exit__(None, None, None)).done()
        store.put("key", 1)


def test_a_block_of_a_lock_may_be_left_in_another_thread(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    for mode in (lock.exclusive, lock.shared):
        block = mode()
        block.__enter__()
        Thread(partial(block.__exit__, None, None, None)).done()
        assert lock.held is None
        Thread(lambda: enter(lock, "exclusive")).done()
        enter(lock, "exclusive")


def test_the_lock_is_kept_by_what_else_the_first_thread_has_of_it(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    lock.acquire()
    block = lock.exclusive()
    block.__enter__()
    Thread(lambda: block.__exit__(None, None, None)).done()
    assert lock.held == "exclusive"
    assert not Thread(lambda: _is_free(lock)).done()
    lock.release()
    assert Thread(lambda: _is_free(lock)).done()


def test_threads_that_leave_each_others_blocks_never_share_the_lock(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    inside: list[int] = []
    left = threading.Semaphore(0)
    blocks: list[object] = []

    def work() -> None:
        for _ in range(100):
            block = lock.exclusive()
            block.__enter__()
            inside.append(1)
            assert len(inside) == 1
            with lock:  # again, while another thread may be about to leave the block
                blocks.append(block)
                left.release()
            while lock.held:
                pass

    def leave() -> None:
        for _ in range(200):
            assert left.acquire(timeout=20)
            inside.pop()
            blocks.pop().__exit__(None, None, None)  # type: ignore[attr-defined]

    threads = [Thread(work), Thread(work), Thread(leave)]
    for thread in threads:
        thread.done()


def test_a_child_forked_inside_leaves_its_parents_block_alone(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    block = lock.exclusive()
    block.__enter__()
    Child(lambda say: block.__exit__(None, None, None)).result()
    assert lock.held == "exclusive"
    assert not Thread(lambda: _is_free(lock)).done()
    block.__exit__(None, None, None)
    assert Thread(lambda: _is_free(lock)).done()


def _is_free(lock: FileLock) -> bool:
    try:
        lock.acquire(deadline_s=0)
    except TimeoutError:
        return False
    lock.release()
    return True
