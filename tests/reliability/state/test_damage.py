"""Damaged files: the store opens on a good generation and says so, or refuses and names the quarantine; never empty.

Bytes of every file are flipped, files are cut, and each is replaced by foreign bytes; a state is laid out by copying
bytes, so that thousands of openings stay quick. With CHAOS_EXHAUSTIVE set every byte and every length is tried; in a
usual run every third of the JSON file's, every 211th of SQLite's.
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pytest_guardrails.errors import CorruptionError, NewerFormatError
from pytest_guardrails.reliability.state import (
    BackendSettings,
    Incident,
    JsonBackend,
    SqliteBackend,
    StateStore,
    StoreCorruptedError,
    json_document,
)
from tests.reliability.processes import Child

KINDS = {"sqlite": SqliteBackend, "json": JsonBackend}
WRITES = 4
JSON_STEP = 1 if "CHAOS_EXHAUSTIVE" in os.environ else 3
SQLITE_STEP = 1 if "CHAOS_EXHAUSTIVE" in os.environ else 211  # a prime: over page borders it reaches all fields


@pytest.fixture
def folder(memory_path: Path) -> Path:
    path = memory_path / "s"
    path.mkdir()
    return path


def fill(kind: Any, path: Path) -> list[dict[str, Any]]:
    """A store that was closed once, used again and then killed; returns its states after each commit."""
    states: list[dict[str, Any]] = [{}]

    def use(say: Callable[[str], None]) -> None:
        store = StateStore(kind(path))
        store.put("disabled", [True, "x" * 40])
        store.put("count", 0)
        store.close()
        for number in range(1, WRITES):
            store.put("count", number)
        say("done")
        os.read(os.pipe()[0], 1)

    child = Child(use)
    child.line()
    child.kill()
    states.append({"disabled": [True, "x" * 40]})
    states.extend({"disabled": [True, "x" * 40], "count": number} for number in range(WRITES))
    return states


class Laid:
    """A folder whose files are put back before each trial."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    def lay(self, **changed: bytes) -> None:
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in self.files:
                path.unlink()
        for name, content in self.files.items():
            path = self.folder / name
            wanted = changed.get(name, content)
            path.write_bytes(wanted)


def judge(kind: Any, path: Path, states: list[dict[str, Any]]) -> str:
    """Open and look; returns what came of it, and fails on anything that must not be."""
    told: list[Incident] = []
    try:
        backend = kind(path, BackendSettings(durability="process", listener=told.append))
    except StoreCorruptedError as error:
        refusal = error
    else:
        return look(StateStore(backend), states, told)
    assert os.path.isdir(refusal.incident.quarantine), refusal
    assert refusal.incident.quarantine in str(refusal)
    return "refused"


def read(store: StateStore) -> dict[str, Any]:
    keys = store.keys()
    return {key: store.get(key) for key in keys}


def look(opened: StateStore, states: list[dict[str, Any]], told: list[Incident]) -> str:
    with opened as store:
        try:
            found = read(store)
        except StoreCorruptedError:
            found = read(store)
        assert found in states, found
        if found == states[-1] and not told:
            return "whole"
        assert found == states[-1] or told, "commits are missing, and nobody was told"
        assert store.incidents(), "an incident was told and not kept"
        assert found, "the store is empty"
        store.put("count", 99)
        assert store.version("count") >= len(states)
        return "restored"


def damages(content: bytes, step: int) -> Iterator[bytes]:
    for position in range(0, len(content), step):
        yield content[:position] + bytes([content[position] ^ 0x55]) + content[position + 1 :]
    for length in range(0, len(content), step):
        yield content[:length]
    yield b"foreign bytes " * 300
    yield b"\0" * len(content)


@pytest.mark.slow
def test_any_damage_to_a_json_store_is_noticed(folder: Path) -> None:
    path = folder / "state.json"
    states = fill(JsonBackend, path)
    laid = Laid(path.parent)
    outcomes = set()
    for name, content in laid.files.items():
        for damaged in damages(content, JSON_STEP if name == "state.json" else 7):
            laid.lay(**{name: damaged})
            outcome = judge(JsonBackend, path, states)
            outcomes.add(outcome)
            if name == "state.json":
                assert outcome == "restored"
    assert outcomes >= {"whole", "restored"}


@pytest.mark.slow
def test_any_damage_to_a_sqlite_store_is_noticed(folder: Path) -> None:
    path = folder / "state.db"
    states = fill(SqliteBackend, path)
    laid = Laid(path.parent)
    assert {"state.db", "state.db-wal", "state.db.good", "state.db.witness"} <= set(laid.files)
    outcomes = set()
    for name, content in laid.files.items():
        for damaged in damages(content, 1 if len(content) < 200 else SQLITE_STEP):
            if damaged == content:
                continue
            laid.lay(**{name: damaged})
            outcomes.add((name, judge(SqliteBackend, path, states)))
    assert ("state.db", "restored") in outcomes
    assert ("state.db-wal", "restored") in outcomes
    assert ("state.db.good", "whole") in outcomes


@pytest.mark.parametrize("kind", KINDS.values())
def test_without_a_good_generation_the_store_each_start_is_refused(folder: Path, kind: Any) -> None:
    path = folder / "state"
    with StateStore(kind(path)) as store:
        store.put("key", 1)
    for name in ("state.good", "state.previous"):
        (folder / name).unlink(missing_ok=True)
    path.write_bytes(b"foreign")
    for _ in range(3):
        with pytest.raises(StoreCorruptedError, match="no good generation"):
            kind(path)
    assert [entry.name for entry in (folder / "state.quarantine").iterdir()] == ["0001"]
    assert (folder / "state.quarantine" / "0001" / "state").read_bytes() == b"foreign"


@pytest.mark.parametrize("kind", KINDS.values())
def test_a_removed_store_is_not_taken_for_a_new_one(folder: Path, kind: Any) -> None:
    path = folder / "state"
    with StateStore(kind(path)) as store:
        store.put("key", 1)
        store.put("key", 2)
    path.unlink()
    with StateStore(kind(path)) as store:
        assert store.get("key") is not None
        assert store.incidents()[0].witnessed_version == 2


@pytest.mark.parametrize("kind", KINDS.values())
def test_a_file_that_never_was_a_store_is_left_alone(folder: Path, kind: Any) -> None:
    path = folder / "letter.txt"
    path.write_bytes(b"Dear Sir or Madam, " * 100)
    with pytest.raises(CorruptionError, match="left alone"):
        kind(path)
    assert path.read_bytes() == b"Dear Sir or Madam, " * 100


def test_another_programs_database_is_left_alone(folder: Path) -> None:
    path = folder / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (x)")
    with pytest.raises(CorruptionError, match="another program"):
        SqliteBackend(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]


def test_a_newer_sqlite_store_is_refused_and_left_alone(folder: Path) -> None:
    path = folder / "state.db"
    SqliteBackend(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {2 * 0x01010101}")
    with pytest.raises(NewerFormatError, match="format 2"):
        SqliteBackend(path)
    assert not (folder / "state.db.quarantine").exists()


def test_a_newer_json_store_is_refused_and_left_alone(folder: Path) -> None:
    path = folder / "state.json"
    JsonBackend(path).close()
    path.write_bytes(json_document.serialise({**json_document.empty(), "format_version": 2}))
    with pytest.raises(NewerFormatError, match="format 2"):
        JsonBackend(path)
    assert not (folder / "state.json.quarantine").exists()


def test_unknown_fields_of_a_json_store_survive(folder: Path) -> None:
    path = folder / "state.json"
    with StateStore(JsonBackend(path)) as store:
        store.put("key", 1)
    document = json.loads(path.read_bytes())
    document["future"] = {"a": [1]}
    document["entries"]["key"]["colour"] = "blue"
    path.write_bytes(json_document.serialise(document))
    with StateStore(JsonBackend(path)) as store:
        store.put("key", 2)
    document = json.loads(path.read_bytes())
    assert (document["future"], document["entries"]["key"]["colour"]) == ({"a": [1]}, "blue")


def test_damage_while_the_store_is_open_is_told_once_and_then_mended(folder: Path) -> None:
    kind, path = JsonBackend, folder / "state"  # SQLite keeps pages in memory: it sees such damage at the next opening
    told: list[Incident] = []
    store = StateStore(kind(path, BackendSettings(listener=told.append)), cache=False)
    store.put("key", "x" * 100)
    store.put("other", 1)
    store.close()
    store.get("key")
    path.write_bytes(path.read_bytes().replace(b"x" * 100, b"y" * 100))
    with pytest.raises(StoreCorruptedError, match="try again"):
        store.get("key")
    assert store.get("key") == "x" * 100
    assert [incident.reason for incident in store.incidents()] == [incident.reason for incident in told]
    assert len(told) == 1
    store.close()


@pytest.mark.parametrize("kind", KINDS.values())
def test_other_processes_go_on_with_the_restored_store(folder: Path, kind: Any) -> None:
    path = folder / "state"
    store = StateStore(kind(path))
    store.put("key", 1)
    store.close()
    store.put("key", 2)
    files = path.read_bytes()

    def damage(say: object) -> None:
        path.write_bytes(b"foreign" + files[7:])
        with StateStore(kind(path)) as other:
            other.put("key", 3)

    Child(damage).result()
    assert store.get("key") == 3
    store.put("key", 4)
    store.close()
    with StateStore(kind(path)) as again:
        assert again.get("key") == 4


@pytest.mark.parametrize(("kind", "newest_left"), [(SqliteBackend, 70), (JsonBackend, 69)])
def test_an_older_copy_in_the_stores_place_is_noticed_and_the_newest_generation_stands(
    folder: Path, kind: Any, newest_left: int
) -> None:
    path = folder / "state"
    store = StateStore(kind(path, BackendSettings(durability="process")))
    store.put("count", 0)
    store.close()
    old = path.read_bytes()
    for number in range(1, 71):
        store.put("count", number)
    store.close()
    path.write_bytes(old)
    with StateStore(kind(path)) as again:
        assert again.get("count") == newest_left
        assert [incident.reason for incident in again.incidents()] == [
            "an older copy stood in its place" if kind is SqliteBackend else "an older generation stood in its place"
        ]
        assert again.put("count", 0) > 71


def test_changes_after_the_last_good_generation_are_salvaged(folder: Path) -> None:
    path = folder / "state"
    store = StateStore(SqliteBackend(path, BackendSettings(durability="process")))
    store.put("first", 0)
    store.close()
    for number in range(30):  # more than are remembered of a key, but too few for a new copy
        store.put("count", number)
        store.put("other", number)
    store.delete("first")
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE entry SET change = 1 WHERE key = 'count'")
        connection.commit()
    with StateStore(SqliteBackend(path)) as again:
        assert {key: again.get(key) for key in again.keys("")} == {"count": 29, "other": 29}
        assert [incident.lost_commits for incident in again.incidents()] == [0]


def test_a_gap_in_later_changes_ends_what_is_salvaged(folder: Path) -> None:
    path = folder / "state"
    store = StateStore(SqliteBackend(path, BackendSettings(durability="process")))
    store.put("first", 0)
    store.close()
    for number in range(6):
        store.put("count", number)
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE entry SET change = 1 WHERE key = 'count'")
        connection.execute("UPDATE change SET text = '77' WHERE text = '4'")
        connection.commit()
    with StateStore(SqliteBackend(path)) as again:
        assert {key: again.get(key) for key in again.keys("")} == {"first": 0, "count": 3}
        assert [incident.lost_commits for incident in again.incidents()] == [2]


def test_a_row_that_is_gone_without_a_trace_is_missed(folder: Path) -> None:
    path = folder / "state"
    with StateStore(SqliteBackend(path)) as store:
        store.put("kept", 1)
        store.put("gone", 2)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM entry WHERE key = 'gone'")
        connection.commit()
    with StateStore(SqliteBackend(path)) as again:
        assert again.get("gone") == 2
        assert len(again.incidents()) == 1


def test_a_value_that_changes_while_the_store_is_open_is_never_given_out(folder: Path) -> None:
    path = folder / "state"
    with StateStore(SqliteBackend(path)) as store:
        store.put("disabled", True)
        store.close()
        assert store.get("disabled") is True
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE change SET text = 'false'")
            connection.commit()
        with pytest.raises(StoreCorruptedError, match="does not fit its checksum"):
            store.get("disabled")
        assert store.get("disabled") is True
