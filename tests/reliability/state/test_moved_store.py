"""A store whose folder is moved, swapped for a backup, or removed while programs have it open."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_guardrails.errors import StorageError
from pytest_guardrails.reliability.state import BackendKind, StateStore, StoreCorruptedError, open_store
from tests.reliability.processes import Child

Say = Callable[[str], None]
ROUNDS = 10


@pytest.fixture(params=["sqlite", "json"])
def kind(request: pytest.FixtureRequest) -> BackendKind:
    found: BackendKind = request.param
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


def increment(store: StateStore) -> int:
    try:
        return int(store.update("count", lambda count: count + 1, default=0))
    except StoreCorruptedError:  # an older store stands here: told once
        return int(store.update("count", lambda count: count + 1, default=0))


def test_a_program_that_had_it_open_goes_on_with_the_backup_and_with_all_others(
    folder: Path, kind: BackendKind, tmp_path: Path
) -> None:
    with open_store(folder / "store", backend=kind) as store:
        store.put("count", 0)
    shutil.copytree(folder, tmp_path / "backup")
    store = open_store(folder / "store", backend=kind)
    increment(store)
    folder.rename(tmp_path / "old")
    (tmp_path / "backup").rename(folder)

    turns, give_turn = os.pipe()

    def count_in_turn(say: Say) -> None:
        with open_store(folder / "store", backend=kind) as own:
            for _ in range(ROUNDS):
                os.read(turns, 1)
                say(str(increment(own)))

    other = Child(count_in_turn)
    seen = []
    for _ in range(ROUNDS):
        seen.append(increment(store))
        os.write(give_turn, b".")
        seen.append(int(other.line()))
    other.result()
    assert seen == list(range(1, 2 * ROUNDS + 1))
    assert len(store.incidents()) == 1
    store.close()
    with open_store(folder / "store", backend=kind) as again:
        assert again.get("count") == 2 * ROUNDS
    os.close(turns)
    os.close(give_turn)


def test_the_store_that_was_moved_away_is_left_as_it_was(folder: Path, kind: BackendKind, tmp_path: Path) -> None:
    with open_store(folder / "store", backend=kind) as store:
        increment(store)
        folder.rename(tmp_path / "old")
        folder.mkdir()
        with open_store(folder / "store", backend=kind) as fresh:
            fresh.put("other", 1)
        increment(store)
        increment(store)
    with open_store(tmp_path / "old" / "store", backend=kind) as old:
        assert (old.get("count"), old.version(), old.incidents()) == (1, 1, [])


def test_a_store_that_was_taken_away_is_no_new_store(folder: Path, kind: BackendKind) -> None:
    with open_store(folder / "store", backend=kind) as store:
        increment(store)
        for file in list(folder.iterdir()):
            file.unlink()
        for _ in range(2):
            with pytest.raises(StoreCorruptedError, match="no good generation"):
                store.update("count", lambda count: count + 1, default=0)


def test_a_folder_that_is_not_there_is_not_made_again(folder: Path, kind: BackendKind, tmp_path: Path) -> None:
    store = open_store(folder / "store", backend=kind)
    increment(store)
    folder.rename(tmp_path / "old")
    with pytest.raises(StorageError, match="No such file"):
        increment(store)
    assert not folder.exists()
    (tmp_path / "old").rename(folder)
    assert increment(store) == 2
    store.close()
