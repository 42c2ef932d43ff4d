"""What a process remembers of the store from its last commit counts only while nobody else has written since."""

import os
import resource
import signal
from pathlib import Path

import pytest

from pytest_guardrails.errors import StorageError
from pytest_guardrails.reliability.state import BackendSettings, SqliteBackend, StateStore


def opened(path: Path) -> StateStore:
    return StateStore(SqliteBackend(path, BackendSettings(keep_versions=10)))


def values(store: StateStore, key: str) -> list[int]:
    return [entry.value for entry in store.history(key)]


def test_those_who_write_in_turn_remember_each_others_values(tmp_path: Path) -> None:
    one, other = opened(tmp_path / "store"), opened(tmp_path / "store")
    for number, store in enumerate([one, other, other, one, one, other]):
        store.put("k", number)
    assert values(one, "k") == values(other, "k") == [0, 1, 2, 3, 4, 5]
    for store in (one, other):
        store.close()
    assert opened(tmp_path / "store").get("k") == 5  # all digests together are right, or this would raise


def test_what_another_one_forgot_stays_forgotten(tmp_path: Path) -> None:
    one, other = opened(tmp_path / "store"), opened(tmp_path / "store")
    for number in range(3):
        one.put("k", number)
    other.prune(keep_versions=1)
    one.put("k", 3)
    assert values(one, "k") == [2, 3]


def test_what_was_refused_is_not_remembered(tmp_path: Path) -> None:
    store = opened(tmp_path / "store")
    store.put("k", 0)
    with pytest.raises(ZeroDivisionError), store.transaction() as transaction:
        transaction.put("k", 1 // 0)
    with pytest.raises(KeyError), store.backend.session("a" * 24) as session:
        session.stage([store._values.draft("k", 1)], "a" * 24)
        raise KeyError
    with store.backend.session("b" * 24) as session:
        session.stage([store._values.draft("k", 1)], "b" * 24)  # and not flushed
    store.put("k", 2)
    assert values(store, "k") == [0, 2]
    store.close()
    assert opened(tmp_path / "store").get("k") == 2


def test_who_can_not_sign_changes_nothing(tmp_path: Path) -> None:
    """Others go by the signature: after an unsigned change they would go on from where the store was before it."""
    store = opened(tmp_path / "store")
    store.put("k", 0)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            mine = opened(tmp_path / "store")
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            with pytest.raises(StorageError, match=r"store\.lock can't be written"):
                mine.put("k", 1)
            with pytest.raises(StorageError, match=r"store\.lock can't be written"):
                mine.prune(keep_versions=1)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    store.put("k", 2)
    assert values(store, "k") == [0, 2]
