"""Processes that write once each, and leave without closing, or are killed: what they leave behind is swept up."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pytest_guardrails.reliability.state import BackendSettings, StateStore, open_store
from pytest_guardrails.reliability.state.salvage import version_of
from tests.reliability.processes import Child

SETTINGS = BackendSettings(durability="process", keep_versions=2)
WRITERS = 120
CLOSES = 8  # every so many of them: as a hook does when the log has grown


def opened(path: Path) -> StateStore:
    return open_store(path, settings=SETTINGS, cache=False)


def write_once(path: Path, number: int) -> None:
    def work(_say: Callable[[str], None]) -> None:
        store = opened(path)
        store.put("count", number)
        if number % CLOSES == 0:
            store.close()

    Child(work).result()


def rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        found: int = connection.execute("SELECT count(*) FROM change").fetchone()[0]
        return found


@pytest.mark.slow
def test_writers_of_one_commit_each_leave_few_rows_and_a_fresh_good_generation(tmp_path: Path) -> None:
    path = tmp_path / "a #%20? b" / "state.db"
    with opened(path) as store:
        store.put("count", 0)
    for number in range(1, WRITERS + 1):
        write_once(path, number)
    with opened(path) as store:
        assert store.get("count") == WRITERS
        newest = store.version()
    assert newest - version_of(f"{path}.good") <= 64 + CLOSES
    assert rows(path) <= 2 + 64 + CLOSES


@pytest.mark.slow
def test_what_such_writers_committed_survives_damage_to_the_main_file(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    for number in range(WRITERS):
        write_once(path, number)
    with opened(path):
        pass
    for name in ("state.db", "state.db-wal", "state.db-shm"):
        if os.path.exists(tmp_path / name):
            (tmp_path / name).write_bytes(b"torn" * 5000)
    with opened(path) as store:
        assert WRITERS - 64 - CLOSES <= store.get("count") < WRITERS
        assert len(store.incidents()) == 1
