"""What the permissions of a store's files refuse is told as that; it is no damage, and nothing is changed by it."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_guardrails.errors import GuardrailsError, StorageError
from pytest_guardrails.reliability.state import BackendKind, BackendSettings, open_store, sqlite_connections
from tests.reliability.processes import Child, obey_permissions

Say = Callable[[str], None]


def made(folder: Path, kind: BackendKind) -> Path:
    with open_store(folder / "store", backend=kind) as store:
        store.put("key", "value")
    return folder / "store"


def told(path: Path, kind: BackendKind) -> str:
    """What a program says that may not pass by the modes of files, and writes to the store."""

    def write(say: Say) -> str:
        obey_permissions()
        try:
            with open_store(path, backend=kind) as store:
                store.put("key", "new")
        except GuardrailsError as error:
            return f"{type(error).__name__}: {error}"
        return "written"

    return str(Child(write).result())


@pytest.mark.parametrize("kind", ["sqlite", "json"])
def test_a_folder_that_may_not_be_written_is_no_damage(tmp_path: Path, kind: BackendKind) -> None:
    path = made(tmp_path, kind)
    tmp_path.chmod(0o555)
    try:
        said = told(path, kind)
    finally:
        tmp_path.chmod(0o755)
    assert said.startswith("StorageError")
    assert "damaged" not in said
    with open_store(path, backend=kind) as store:
        assert (store.get("key"), store.incidents()) == ("value", [])


@pytest.mark.parametrize("kind", ["sqlite", "json"])
def test_a_file_that_may_not_be_read_is_told_by_its_name(tmp_path: Path, kind: BackendKind) -> None:
    path = made(tmp_path, kind)
    path.chmod(0)
    assert told(path, kind).startswith(f"StorageError: {path} can't be ")


def test_a_change_that_another_program_keeps_from_beginning_does_not_make_the_store_forget_how_far_it_was(
    tmp_path: Path,
) -> None:
    settings = BackendSettings(deadline_s=0.1)
    with open_store(tmp_path / "store", settings=settings) as store:
        for number in range(5):
            store.put("key", number)
        shutil.copytree(tmp_path, tmp_path / "older", ignore=shutil.ignore_patterns("*.lock", "*.turn"))
        store.put("key", 5)
        other = sqlite3.connect(tmp_path / "store", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="database is locked"):
            store.put("key", 6)
        other.execute("ROLLBACK")
        other.close()
    for name in ("store", "store-wal", "store-shm"):
        (tmp_path / name).unlink(missing_ok=True)
        if (tmp_path / "older" / name).exists():
            (tmp_path / "older" / name).replace(tmp_path / name)
    with open_store(tmp_path / "store") as store:
        assert store.get("key") == 5
        assert [incident.reason for incident in store.incidents()] == ["an older copy stood in its place"]


class WithoutLog(sqlite3.Connection):
    """As on a file system that offers no shared memory: SQLite says that it keeps its journal, and goes on."""

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        return super().execute(sql.replace("journal_mode = WAL", "journal_mode = DELETE"), *arguments)


def test_a_database_that_can_have_no_log_is_not_used_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(path: str, busy_s: float) -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=busy_s, isolation_level=None, factory=WithoutLog)

    monkeypatch.setattr(sqlite_connections, "_connect", connect)
    with pytest.raises(StorageError, match=r"SQLite keeps no log \(WAL\) there, but a journal \(delete\)"):
        open_store(tmp_path / "store")


def test_a_database_that_may_only_be_read_refuses_a_change_and_knows_that_nothing_came_of_it(tmp_path: Path) -> None:
    path = made(tmp_path, "sqlite")
    path.chmod(0o444)
    assert told(path, "sqlite").startswith("StorageError: ")
    with open_store(path) as store:
        assert store.get("key") == "value"


def test_a_folder_in_the_place_of_a_json_store_is_told(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with pytest.raises(StorageError, match="store can't be read: Is a directory"):
        open_store(tmp_path / "store", backend="json")
