"""What can't work is refused in the project's own words, on every backend, and never comes out as a bare error."""

import math
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_guardrails.errors import ConfigurationError, StorageError
from pytest_guardrails.reliability.durability import Fence, FileLock, Lease, safe_name, write_atomic
from pytest_guardrails.reliability.state import (
    BackendKind,
    Checkpoints,
    Effects,
    StateStore,
    TransactionStatus,
    open_store,
)
from tests.reliability.processes import Child


@pytest.fixture(params=["sqlite", "json"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateStore]:
    kind: BackendKind = request.param
    with open_store(tmp_path / "folder" / "store", backend=kind) as opened:
        opened.put("key", 1)
        yield opened


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b", ""])
@pytest.mark.parametrize(
    "use",
    [
        open_store,
        lambda path: open_store(path, backend="json"),
        FileLock,
        FileLock.beside,
        Fence,
        lambda path: Lease(path, ttl_s=1),
    ],
    ids=["sqlite", "json", "lock", "beside", "fence", "lease"],
)
def test_a_name_that_no_file_can_have_is_refused(use: Callable[[str], object], name: str) -> None:
    with pytest.raises(ConfigurationError, match="name of a file"):
        use(name)


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
def test_no_file_is_written_to_a_name_that_none_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="name of a file"):
        write_atomic(f"{tmp_path}/{name}", b"x")


@pytest.mark.parametrize("name", ["\u5b57" * 85, "\u00e9" * 127, "x" * 255, "\U0001f600" * 63])
def test_a_file_of_the_longest_name_is_written(tmp_path: Path, name: str) -> None:
    write_atomic(tmp_path / name, b"x")
    assert (tmp_path / name).read_bytes() == b"x"


@pytest.mark.parametrize("name", ["", None, 5])
def test_what_is_no_name_is_refused(store: StateStore, name: Any) -> None:
    for use in (
        lambda: safe_name(name),
        lambda: Effects(store, name),
        lambda: Effects(store, "run").begin(name, 0),
        lambda: Checkpoints(store).load(name),
    ):
        with pytest.raises(ConfigurationError, match="at least one character"):
            use()


def test_no_key_begins_with_what_is_no_text(store: StateStore) -> None:
    assert store.keys("\ud800") == []
    with store.transaction() as transaction:
        assert transaction.keys("\ud800") == []


@pytest.mark.parametrize("prefix", [None, 1, b"key"])
def test_a_prefix_that_is_no_text_is_refused(store: StateStore, prefix: Any) -> None:
    with pytest.raises(ConfigurationError, match="prefix"):
        store.keys(prefix)
    with store.transaction() as transaction, pytest.raises(ConfigurationError, match="prefix"):
        transaction.keys(prefix)


@pytest.mark.parametrize("policy", ["last writer wins", None, 7])
def test_a_policy_that_is_none_is_refused_before_it_is_needed(store: StateStore, policy: Any) -> None:
    with pytest.raises(ConfigurationError, match="on_conflict"):
        store.put("key", 2, expected_version=1, on_conflict=policy)


@pytest.mark.parametrize("limit", [-1, 1.5, math.nan, True])
def test_a_limit_that_is_none_is_refused(store: StateStore, limit: Any) -> None:
    with pytest.raises(ConfigurationError, match="limit"):
        store.transactions(limit)
    assert len(store.transactions(10**30)) == 1


def leads_to_itself(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [os.mkfifo, leads_to_itself, os.mkdir])
@pytest.mark.parametrize("kind", ["sqlite", "json"])
def test_what_is_no_file_is_refused_and_not_waited_for(
    kind: BackendKind, make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / "store")

    def refused(_say: Callable[[str], None]) -> bool:
        signal.alarm(20)  # opening a named pipe can't be interrupted but by the process's end
        with pytest.raises(StorageError):
            open_store(tmp_path / "store", backend=kind)
        return True

    assert Child(refused).result() is True


def test_a_folder_that_became_a_file_is_told(store: StateStore, tmp_path: Path) -> None:
    (tmp_path / "folder").rename(tmp_path / "elsewhere")
    (tmp_path / "folder").write_text("")
    for use in (lambda: store.get("key"), store.keys, store.transactions, lambda: store.put("key", 2)):
        with pytest.raises(StorageError):
            use()
    assert store.incidents() == []
    (tmp_path / "folder").unlink()
    (tmp_path / "elsewhere").rename(tmp_path / "folder")
    assert store.get("key") == 1


class _SpeechlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("error", [_SpeechlessError(), ValueError("not text: \udc80")], ids=["speechless", "bytes"])
def test_an_error_of_whatever_words_comes_out_unchanged(store: StateStore, error: Exception) -> None:
    def fail(_value: object) -> object:
        raise error

    with pytest.raises(type(error)) as caught, store.transaction():
        raise error
    assert caught.value is error
    with pytest.raises(type(error)) as caught:
        store.update("key", fail)
    assert caught.value is error
    assert [line.status for line in store.transactions(2)] == [TransactionStatus.ROLLED_BACK] * 2
