"""A store that is written to often makes room in SQLite's log, which changes nothing that is read from it."""

import os
import resource
import shutil
from pathlib import Path

import pytest

from pytest_guardrails.reliability.state import StateStore, open_store
from tests.reliability.processes import Child

OFTEN = 40


def _count(store: StateStore, commits: int) -> None:
    for number in range(1, commits + 1):
        store.put("count", number)


def _log(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _as_after_a_kill(path: Path, to: Path, log_bytes: int | None = None) -> Path:
    """What a killed writer leaves: its files as they are, without closing; the log cut to a length."""
    to.mkdir()
    for file in path.parent.iterdir():
        if file.is_file() and not file.name.endswith("-shm"):
            shutil.copy(file, to / file.name)
    if log_bytes is not None:
        os.truncate(_log(to / path.name), log_bytes)
    return to / path.name


def test_a_store_that_is_written_to_seldom_keeps_its_log_short(tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store:
        _count(store, 5)
        assert _log(tmp_path / "store").stat().st_size < 1 << 20


def test_room_in_the_log_holds_the_next_commits(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with open_store(path) as store:
        _count(store, OFTEN)
        size = _log(path).stat().st_size
        _count(store, OFTEN)
        assert _log(path).stat().st_size == size > 4_000_000


@pytest.mark.parametrize("cut", [0, 1, 4096, 100_000, 3_000_000])
def test_a_killed_writer_s_log_with_room_opens_on_the_last_commit(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "first" / "store"
    path.parent.mkdir()
    with open_store(path) as store:
        _count(store, OFTEN)
        left = _as_after_a_kill(path, tmp_path / "left", _log(path).stat().st_size - cut)
    with open_store(left) as store:
        assert store.get("count") == OFTEN
        assert store.incidents() == []


def test_where_there_is_no_room_it_is_taken_back_and_commits_go_on(tmp_path: Path) -> None:
    path = tmp_path / "store"

    def work(_: object) -> tuple[int, int]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 2 << 20))  # less than the room wanted
        with open_store(path) as store:
            _count(store, OFTEN)
            return store.get("count"), _log(path).stat().st_size

    count, log_bytes = Child(work).result()
    assert (count, log_bytes < 1 << 20) == (OFTEN, True)
