"""No more files can be opened, from any moment of a commit on: it holds, or it raises and the old state stands."""

import errno
import os
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pytest_guardrails.errors import StorageError
from pytest_guardrails.reliability.durability import write_atomic
from pytest_guardrails.reliability.state import BackendKind, open_store
from pytest_guardrails.reliability.state import sqlite as sqlite_backend

_open = os.open


class Refusing:
    """Opens files as `os.open` does, but for the nth and, if for good, those after it."""

    def __init__(self, nth: int, *, for_good: bool) -> None:
        self._nth, self._for_good, self._count = nth, for_good, 0

    def __call__(self, *arguments: Any, **named: Any) -> int:
        self._count += 1
        if self._count == self._nth or (self._for_good and self._count > self._nth):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return _open(*arguments, **named)

    @property
    def refused(self) -> bool:
        return self._count >= self._nth


@pytest.mark.parametrize("for_good", [False, True])
@pytest.mark.parametrize("kind", ["sqlite", "json"])
def test_a_commit_holds_or_raises_whatever_file_can_not_be_opened(
    tmp_path: Path, kind: BackendKind, for_good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for nth in count(1):
        path = tmp_path / str(nth)
        with open_store(path, backend=kind) as store:
            store.put("key", "old")
            refusing = Refusing(nth, for_good=for_good)
            with monkeypatch.context() as patch:
                patch.setattr(os, "open", refusing)
                try:
                    store.put("key", "new")
                    said = "new"
                except StorageError:
                    said = "old"
            with open_store(path, backend=kind) as fresh:
                assert (fresh.get("key"), fresh.incidents()) == (said, []), f"opening {nth}"
            assert store.get("key") == said
        if not refusing.refused:
            break


def test_a_file_is_not_replaced_where_its_directory_can_not_be_opened_for_the_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    for nth in count(1):
        refusing = Refusing(nth, for_good=True)
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", refusing)
            said = ""
            try:
                write_atomic(path, b"new")
            except StorageError as error:
                said = str(error)
        if not refusing.refused:
            break
        assert "is as before" in said
        assert path.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["file"]
    assert nth > 2
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [StorageError("no room"), OSError(errno.EIO, "Input/output error")])
def test_a_commit_holds_where_no_copy_of_the_store_can_be_kept(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_named: object) -> None:
        raise error

    with open_store(tmp_path / "store") as store:
        store.put("key", "old")
        monkeypatch.setattr(sqlite_backend, "_GOOD_COMMITS", 1)
        monkeypatch.setattr(sqlite_backend, "write_atomic", refuse)
        store.put("key", "new")
        with store.transaction() as transaction:
            transaction.put("key", "newer")
        assert store.get("key") == "newer"
    with open_store(tmp_path / "store") as store:
        assert (store.get("key"), store.incidents()) == ("newer", [])
